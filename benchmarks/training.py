"""Images per second of a training step: this project's loop against the bare step, a typical script and Lightning.

    python benchmarks/training.py --voc-root PATH [--batch 4 8 16] [--rounds 5] [--sides ours bare ...] [--device auto]

ResNet-18, crops of 224, scale 0.9 to 1.1. In each round every variant processes the same number of images; the first
round, and the first step of each turn, are not counted. On a GPU use larger batches and more --images, so that a turn
takes seconds.

    ours       the loop of `voc_seg.engine.training.fit` without validation and checkpoints: packed store, crop before
               resize, runtime.workers=auto, loss read at every step (on a GPU one step late)
    bare       the same model, precision and memory setting on one fixed batch, without reading data or loss
    unkept     ours with runtime.keep_memory=false
    2 workers  ours with runtime.workers=2
    usual      the same network in a typical script: contiguous fp32, JPEG and PNG decoded by Pillow, whole image
               resized, cropped, normalised one by one, DataLoader with two workers, .item() every step,
               cudnn.benchmark as for ours
    lightning  segmentation_models_pytorch's Unet with ResNet-18 in a pytorch-lightning Trainer on the usual loader,
               defaults of both (32-true); "lightning bf16" the same in bf16-mixed
    compiled   ours with training.compile=true, only where --sides names it: compiling takes a minute per batch size
"""

import argparse
import math
import statistics
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import add_device, alternate, console, describe_machine, print_table, ratio, seconds_a_step
from peers import CLASSES, CROP, Side, lightning, usual
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from voc_seg.config import AugmentationConfig, ModelConfig, OptimizerConfig, RuntimeConfig, TrainingConfig
from voc_seg.engine.compiling import compile_network
from voc_seg.engine.delayed import DelayedRead
from voc_seg.engine.losses import loss_sum
from voc_seg.engine.optimisation import build_optimizer, set_learning_rate
from voc_seg.engine.runtime import Runtime, choose_runtime, loader_workers
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import normalise, training_batches
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.classes import VOID
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split

AUGMENTATION = AugmentationConfig(crop_size=CROP, scale=(0.9, 1.1))


def ours(store: SampleStore, batch: int, steps: int, runtime: Runtime, workers: int, compiled: bool = False) -> Side:
    model, optimizer = _model_and_optimizer(runtime)
    network = compile_network(model, TrainingConfig(batch_size=batch, compile=compiled), runtime)
    scaler, unread = runtime.gradient_scaler(), deque()
    batches = training_batches(store, AUGMENTATION, batch, 0, range(10**6), workers, runtime.asynchronous)

    def step() -> None:
        while len((group := [next(batches)])[0].ids) < batch:
            pass  # the last batch of an epoch is smaller
        loss = train_step(network, optimizer, group, runtime, scaler)
        unread.append(DelayedRead(loss, asynchronous=runtime.asynchronous))
        while len(unread) > int(runtime.asynchronous):
            assert math.isfinite(float(*unread.popleft().read()))

    return lambda: seconds_a_step(step, steps, runtime)


def bare(store: SampleStore, batch: int, steps: int, runtime: Runtime) -> Side:
    model, optimizer = _model_and_optimizer(runtime)
    fixed = next(training_batches(store, AUGMENTATION, batch, 0, range(1)))
    images = normalise(fixed.images.to(runtime.device)).contiguous(memory_format=runtime.memory_format)
    targets, labelled = fixed.targets.to(runtime.device), int((fixed.targets != VOID).sum())
    scaler = runtime.gradient_scaler()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            logits = model(images)
        scaler.scale(loss_sum(logits, targets) / labelled).backward()
        scaler.step(optimizer)
        scaler.update()

    return lambda: seconds_a_step(step, steps, runtime)


def _model_and_optimizer(runtime: Runtime) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = runtime.place(build_model(ModelConfig(), CLASSES)).train()
    optimizer = build_optimizer(model, OptimizerConfig())
    set_learning_rate(optimizer, 0.006)
    return model, optimizer


def gflop(model: nn.Module) -> float:
    """Floating-point operations of forward and backward pass for one image."""
    images = torch.zeros(2, 3, CROP, CROP)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return counter.get_total_flops() / 2e9


SIDES = ("ours", "bare", "unkept", "2 workers", "usual", "lightning", "lightning bf16", "compiled")


def compare(store: SampleStore, split: VOCSplit, batch: int, arguments: argparse.Namespace) -> list[list[object]]:
    """One row per variant for a batch size."""
    steps = max(2, arguments.images // batch)
    config = RuntimeConfig(device=arguments.device)
    runtime = choose_runtime(config)
    device, workers = runtime.device, loader_workers(config, runtime.device)
    unkept = Runtime(device, runtime.dtype, keep_memory=False)
    make: dict[str, Callable[[], Side]] = {
        "ours": lambda: ours(store, batch, steps, runtime, workers),
        "bare": lambda: bare(store, batch, steps, runtime),
        "unkept": lambda: ours(store, batch, steps, unkept, workers),
        "2 workers": lambda: ours(store, batch, steps, runtime, 2),
        "usual": lambda: usual(split, batch, steps, device),
        "lightning": lambda: lightning(split, batch, steps, "32-true", device),
        "lightning bf16": lambda: lightning(split, batch, steps, "bf16-mixed", device),
        "compiled": lambda: ours(store, batch, steps, runtime, workers, compiled=True),
    }
    sides = {name: make[name]() for name in dict.fromkeys(["ours", *arguments.sides])}
    seconds = alternate(sides, arguments.rounds)
    return [[batch, name, batch / statistics.median(found), ratio(seconds["ours"], found)]
            for name, found in seconds.items()]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32, help="images per variant and round")
    parser.add_argument("--sides", nargs="+", default=SIDES[:-1], choices=SIDES)
    add_device(parser)
    arguments = parser.parse_args()
    split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "train")
    describe_machine(arguments.device)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as folder:
        path = Path(folder) / "train.arrow"
        write_store(path, DecodedSamples(split, split.ids))
        for batch in arguments.batch:
            rows += compare(SampleStore(path), split, batch, arguments)
    print_table("Training", ["batch", "side", "images/s", "ours is quicker by"], rows)
    networks = {"SegmentationNet-resnet18": build_model(ModelConfig(), CLASSES)}
    if "lightning" in arguments.sides:
        import segmentation_models_pytorch as smp

        networks["smp Unet-resnet18"] = smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)
    for name, model in networks.items():
        console.print(f"{name}: {gflop(model):.1f} GFLOP an image, forward and backward", highlight=False)


if __name__ == "__main__":
    main()
