"""Images per second of a training step: this project's loop against the bare step, a typical script and Lightning.

    python benchmarks/training.py --voc-root PATH [--batch 4 8 16] [--rounds 5] [--sides ours bare ...]

On the CPU: ResNet-18, crops of 224, scale 0.9 to 1.1. In each round every variant processes the same number of
images; the first round, and the first step of each turn, are not counted.

    ours       the loop of `voc_seg.engine.training.fit` without validation and checkpoints: packed store, crop before
               resize, loss read every step
    bare       the same model, precision and memory setting on one fixed batch, without reading data or loss
    unkept     ours with runtime.keep_memory=false
    2 workers  ours with runtime.workers=2
    usual      the same network in a typical script: contiguous fp32, JPEG and PNG decoded by Pillow, whole image
               resized, cropped, normalised one by one, DataLoader with two workers, .item() every step
    lightning  segmentation_models_pytorch's Unet with ResNet-18 in a pytorch-lightning Trainer on the usual loader,
               defaults of both (32-true); "lightning bf16" the same in bf16-mixed
"""

import argparse
import logging
import math
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from measuring import alternate, console, describe_machine, print_table, ratio
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from voc_seg.config import AugmentationConfig, ModelConfig, OptimizerConfig, RuntimeConfig
from voc_seg.engine.optimisation import build_optimizer, loss_sum, set_learning_rate
from voc_seg.engine.runtime import Runtime, choose_runtime
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.augment import MEAN, STD
from voc_seg.samples.batches import normalise, training_batches
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.classes import VOID
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split

CROP, CLASSES = 224, 21
Side = Callable[[], float]
"""Run some steps and return the seconds of one."""
AUGMENTATION = AugmentationConfig(crop_size=CROP, scale=(0.9, 1.1))


class UsualDataset(Dataset):
    """Decode, resize the whole image, crop at random, flip, normalise, as in a typical training script."""

    def __init__(self, split: VOCSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from torchvision.transforms import functional as vision

        image_id = self.split.ids[index]
        image = Image.open(self.split.image_path(image_id)).convert("RGB")
        mask = Image.open(self.split.mask_path(image_id))
        scale = random.uniform(0.9, 1.1)
        size = [max(CROP, round(length * scale)) for length in (image.height, image.width)]
        image = vision.resize(image, size, vision.InterpolationMode.BILINEAR)
        mask = vision.resize(mask, size, vision.InterpolationMode.NEAREST)
        top, left = random.randint(0, size[0] - CROP), random.randint(0, size[1] - CROP)
        image, mask = vision.crop(image, top, left, CROP, CROP), vision.crop(mask, top, left, CROP, CROP)
        if random.random() < 0.5:
            image, mask = vision.hflip(image), vision.hflip(mask)
        return vision.normalize(vision.to_tensor(image), MEAN, STD), torch.from_numpy(np.array(mask)).long()


def usual_loader(split: VOCSplit, batch: int) -> DataLoader:
    return DataLoader(UsualDataset(split), batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)


def endless(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def ours(store: SampleStore, batch: int, steps: int, runtime: Runtime, workers: int = 0) -> Side:
    model, optimizer = _model_and_optimizer()
    batches = training_batches(store, AUGMENTATION, batch, 0, range(10**6), workers)

    def step() -> None:
        while len((group := [next(batches)])[0].ids) < batch:
            pass  # the last batch of an epoch is smaller
        assert math.isfinite(train_step(model, optimizer, group, runtime))

    return lambda: _seconds_a_step(step, steps, runtime)


def bare(store: SampleStore, batch: int, steps: int, runtime: Runtime) -> Side:
    model, optimizer = _model_and_optimizer()
    fixed = next(training_batches(store, AUGMENTATION, batch, 0, range(1)))
    images, labelled = normalise(fixed.images), int((fixed.targets != VOID).sum())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            logits = model(images)
        (loss_sum(logits, fixed.targets) / labelled).backward()
        optimizer.step()

    return lambda: _seconds_a_step(step, steps, runtime)


def _seconds_a_step(step: Callable[[], None], steps: int, runtime: Runtime) -> float:
    """Mean of several steps after one untimed step, which leaves caches as a step of this variant does."""
    with runtime.keep_freed_memory():
        step()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - started) / steps


def _model_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = build_model(ModelConfig(), CLASSES).train()
    optimizer = build_optimizer(model, OptimizerConfig())
    set_learning_rate(optimizer, 0.006)
    return model, optimizer


def usual(split: VOCSplit, batch: int, steps: int) -> Side:
    model = build_model(ModelConfig(), CLASSES).to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.006, momentum=0.9, weight_decay=1e-4)
    batches = endless(usual_loader(split, batch))

    def step() -> None:
        images, masks = next(batches)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), masks, ignore_index=VOID)
        loss.backward()
        optimizer.step()
        loss.item()

    return lambda: _seconds_a_step(step, steps, Runtime(torch.device("cpu"), torch.float32, keep_memory=False))


def lightning(split: VOCSplit, batch: int, steps: int, precision: str) -> Side:
    import pytorch_lightning as pl
    import segmentation_models_pytorch as smp

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)

        def training_step(self, pair: tuple[Tensor, Tensor]) -> Tensor:
            loss = functional.cross_entropy(self.network(pair[0]), pair[1], ignore_index=VOID)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.006, momentum=0.9, weight_decay=1e-4)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    module, loader = Module(), usual_loader(split, batch)

    class Clock(pl.Callback):
        """Time the steps only: a Trainer takes a while to start and end."""

        def on_train_batch_start(self, trainer: pl.Trainer, module: Module, batch: object, number: int) -> None:
            if number == 1:  # the first step is not timed, as for all variants
                self.started = time.perf_counter()

        def on_train_end(self, trainer: pl.Trainer, module: Module) -> None:
            self.seconds = (time.perf_counter() - self.started) / steps

    def run() -> float:
        clock = Clock()
        pl.Trainer(
            max_steps=steps + 1, precision=precision, logger=False, enable_checkpointing=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
        ).fit(module, loader)  # fmt: skip
        return clock.seconds

    return run


def gflop(model: nn.Module) -> float:
    """Floating-point operations of forward and backward pass for one image."""
    images = torch.zeros(2, 3, CROP, CROP)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return counter.get_total_flops() / 2e9


SIDES = ("ours", "bare", "unkept", "2 workers", "usual", "lightning", "lightning bf16")


def compare(store: SampleStore, split: VOCSplit, batch: int, arguments: argparse.Namespace) -> list[list[object]]:
    """One row per variant for a batch size."""
    steps = max(2, arguments.images // batch)
    runtime = choose_runtime(RuntimeConfig(device="cpu"))
    unkept = Runtime(runtime.device, runtime.dtype, keep_memory=False)
    make: dict[str, Callable[[], Side]] = {
        "ours": lambda: ours(store, batch, steps, runtime),
        "bare": lambda: bare(store, batch, steps, runtime),
        "unkept": lambda: ours(store, batch, steps, unkept),
        "2 workers": lambda: ours(store, batch, steps, runtime, workers=2),
        "usual": lambda: usual(split, batch, steps),
        "lightning": lambda: lightning(split, batch, steps, "32-true"),
        "lightning bf16": lambda: lightning(split, batch, steps, "bf16-mixed"),
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
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    arguments = parser.parse_args()
    split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "train")
    describe_machine()
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
