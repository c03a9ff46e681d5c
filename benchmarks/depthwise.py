"""Images per second of a training step with the fast gradients of depthwise convolutions, with torch's, and in fp32.

    python benchmarks/depthwise.py [--encoders tf_efficientnet_lite0 ...] [--crop 224] [--batch 8] [--threads 1]

Forward and backward pass of networks of timm with random weights, on a CPU, in turn; medians, and the medians of the
ratios within a round. Only of interest on a processor where ``runtime.precision=auto`` is bf16.
"""

import argparse
import statistics
from contextlib import nullcontext
from unittest import mock

import torch
from measuring import alternate, describe_machine, print_table, ratio

from voc_seg.config import ModelConfig, RuntimeConfig
from voc_seg.engine.losses import loss_sum
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import normalise

CLASSES = 21
ENCODERS = ("tf_efficientnet_lite0", "mobilenetv3_large_100", "convnext_atto")


def compare(encoder: str, crop: int, batch: int, rounds: int) -> list[object]:
    """A row of the table for one encoder."""
    model = build_model(ModelConfig(encoder=f"timm:{encoder}", width=64), CLASSES)
    model = model.train().to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (batch, 3, crop, crop), dtype=torch.uint8)
    images = normalise(images).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, CLASSES, (batch, crop, crop), dtype=torch.uint8)

    def step(precision: str, fast: bool) -> None:
        runtime = choose_runtime(RuntimeConfig(device="cpu", precision=precision))
        plain = mock.patch("voc_seg.models.timm_encoder.fast_depthwise", lambda images: nullcontext())
        with nullcontext() if fast else plain:
            model.zero_grad()
            with runtime.autocast():
                logits = model(images)
            (loss_sum(logits, targets) / targets.numel()).backward()

    sides = {
        "fast": lambda: step("bf16", True),
        "torch": lambda: step("bf16", False),
        "fp32": lambda: step("fp32", False),
    }
    with choose_runtime(RuntimeConfig(device="cpu")).keep_freed_memory():  # as in training
        seconds = alternate(sides, rounds)
    speeds = [batch / statistics.median(seconds[name]) for name in seconds]
    return [encoder, *speeds, ratio(seconds["fast"], seconds["torch"]), ratio(seconds["fast"], seconds["fp32"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    describe_machine("cpu")
    rows = [compare(name, arguments.crop, arguments.batch, arguments.rounds) for name in arguments.encoders]
    columns = ["encoder", "fast, images/s", "torch's", "fp32", "fast to torch's", "fast to fp32"]
    print_table("Training step", columns, rows)


if __name__ == "__main__":
    main()
