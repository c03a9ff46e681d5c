"""Val mIoU of the same runs in fp32 and in half precision: same data, seeds, epochs and settings.

    python benchmarks/precision.py [--voc-root PATH] [--weights resnet50.safetensors] [--seeds 0 1 2] [--epochs N] \
        [--device auto]

Without --voc-root it trains ResNet-18 from scratch on the drawn sample; with it, ResNet-50 from --weights on VOC. Half
precision is fp16 where `runtime.precision: auto` is fp16 (T4, RTX 20xx), else bf16. Runs are short, so that three seeds
are feasible on processors without bf16, too, where it is emulated and slow.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from measuring import add_device, console, describe_machine, print_table

from voc_seg.config import Parameters, RuntimeConfig
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import fit
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.scenes.sample import write_scenes
from voc_seg.voc.classes import CLASS_NAMES
from voc_seg.voc.splits import find_voc_folder, read_split

SAMPLE = {
    "augmentation": {"crop_size": 96, "scale": [0.25, 0.4]},
    "training": {"epochs": 10, "validate_every": 100, "optimizer": {"learning_rate": 0.03}},
    "evaluation": {"scale": 0.3},
}
VOC = {
    "augmentation": {"crop_size": 64, "scale": [0.2, 0.35]},
    "training": {
        "epochs": 3, "validate_every": 100, "frozen_stages": 2, "freeze_batch_norm": True,
        "optimizer": {"learning_rate": 0.01, "encoder_factor": 0.05},
    },
    "evaluation": {"scale": 0.25},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int)
    add_device(parser)
    arguments = parser.parse_args()
    if arguments.voc_root and not arguments.weights:
        parser.error("--voc-root needs --weights")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    describe_machine(arguments.device)
    fastest = choose_runtime(RuntimeConfig(device=arguments.device)).precision
    half = "fp16" if fastest == "fp16" else "bf16"
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as temporary:
        if arguments.voc_root:
            folder, settings = find_voc_folder(arguments.voc_root, "2012"), VOC
            model = {"encoder": "resnet50", "weights": str(arguments.weights), "stride_in_1x1": True}
        else:
            folder, settings, model = write_scenes(Path(temporary)), SAMPLE, {}
        stores = []
        for name in ("train", "val"):
            split = read_split(folder, "sample", name)
            write_store(Path(temporary) / f"{name}.arrow", DecodedSamples(split, split.ids))
            stores.append(SampleStore(Path(temporary) / f"{name}.arrow"))
        training = settings["training"] | ({"epochs": arguments.epochs} if arguments.epochs else {})
        rows: list[list[object]] = []
        for seed in arguments.seeds:
            row: list[object] = [seed]
            for precision in ("fp32", half):
                runtime = {"device": arguments.device, "precision": precision}
                parameters = Parameters.model_validate(
                    settings | {"training": training, "model": model, "seed": seed, "runtime": runtime}
                )
                *_, last = fit(*stores, CLASS_NAMES, parameters)
                row += [last.history[-1]["val_miou"], last.history[-1]["train_loss"]]
                console.print(f"seed {seed} {precision}: {row[-2]:.4f}", highlight=False)
            rows.append(row)
        rows.append(["mean", *(statistics.mean(values) for values in list(zip(*rows))[1:])])
        print_table("Precision", ["seed", "fp32 mIoU", "loss", f"{half} mIoU", "loss"], rows)


if __name__ == "__main__":
    main()
