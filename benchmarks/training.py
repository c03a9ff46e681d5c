"""Images per second of a training step: this project's loop against the bare step, the usual script and Lightning.

    python benchmarks/training.py --voc-root PATH [--batch 4 8 16] [--rounds 5] [--without lightning]

ResNet-18, crops of 224, scale 0.9 to 1.1. Each round gives every side the same number of images, one side after the
other; the first round is not counted.

    ours       the loop of `voc_seg.engine.training.fit`, validation and checkpoints aside: packed store, crop before
               resize, loss read every step
    bare       the same model, precision and memory setting on one fixed batch: no data, no loss read
    unkept     ours with runtime.keep_memory=false
    2 workers  ours with runtime.workers=2
    usual      the same network as most scripts train it: contiguous fp32, JPEG and PNG decoded by Pillow, whole image
               resized, cropped, normalised one by one, DataLoader with two workers, .item() every step
    lightning  segmentation_models_pytorch's Unet with ResNet-18 in a pytorch-lightning Trainer on the usual loader,
               defaults of both (32-true); "lightning bf16" the same in bf16-mixed
"""

import argparse
import logging
import math
import random
import resource
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
from voc_seg.engine.optimisation import build_optimizer, set_learning_rate
from voc_seg.engine.runtime import Runtime, choose_runtime
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.augment import MEAN, STD
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.samples.usable import UsableSamples
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split

CROP, CLASSES = 224, 21
AUGMENTATION = AugmentationConfig(crop_size=CROP, scale=(0.9, 1.1))


class UsualDataset(Dataset):
    """Decode, resize the whole image, crop at random, flip, normalise: what most training scripts do."""

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


def ours(store: SampleStore, batch: int, steps: int, runtime: Runtime, workers: int = 0) -> Callable[[], None]:
    model, optimizer = _model_and_optimizer(runtime)
    batches = training_batches(store, AUGMENTATION, batch, 0, range(10**6), workers)

    def run() -> None:
        with runtime.memory_kept():
            done = 0
            while done < steps:
                group = [next(batches)]
                if len(group[0].ids) == batch:  # the last of an epoch is smaller
                    loss = train_step(model, optimizer, group, runtime)
                    assert math.isfinite(loss)
                    done += 1

    return run


def bare(store: SampleStore, batch: int, steps: int, runtime: Runtime) -> Callable[[], None]:
    model, optimizer = _model_and_optimizer(runtime)
    fixed = next(training_batches(store, AUGMENTATION, batch, 0, range(1)))
    images = ((fixed.images / 255 - 0.45) / 0.225).to(runtime.device, memory_format=torch.channels_last)
    targets = fixed.targets.long().to(runtime.device)

    def run() -> None:
        with runtime.memory_kept():
            for _ in range(steps):
                optimizer.zero_grad(set_to_none=True)
                with runtime.autocast():
                    logits = model(images)
                functional.cross_entropy(logits.float(), targets, ignore_index=255).backward()
                optimizer.step()

    return run


def _model_and_optimizer(runtime: Runtime) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = build_model(ModelConfig(), CLASSES).to(runtime.device).train()
    optimizer = build_optimizer(model, OptimizerConfig())
    set_learning_rate(optimizer, 0.006)
    return model, optimizer


def usual(split: VOCSplit, batch: int, steps: int) -> Callable[[], None]:
    model = build_model(ModelConfig(), CLASSES).to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.006, momentum=0.9, weight_decay=1e-4)
    batches = endless(usual_loader(split, batch))

    def run() -> None:
        for _ in range(steps):
            images, masks = next(batches)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), masks, ignore_index=255)
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def lightning(split: VOCSplit, batch: int, steps: int, precision: str) -> Callable[[], None]:
    import pytorch_lightning as pl
    import segmentation_models_pytorch as smp

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)

        def training_step(self, pair: tuple[Tensor, Tensor]) -> Tensor:
            loss = functional.cross_entropy(self.network(pair[0]), pair[1], ignore_index=255)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.006, momentum=0.9, weight_decay=1e-4)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    module, loader = Module(), usual_loader(split, batch)
    seconds: list[float] = []

    class Clock(pl.Callback):
        """The time of the steps alone: a Trainer takes a while to start and end."""

        def on_train_batch_start(self, trainer: pl.Trainer, module: Module, batch: object, number: int) -> None:
            if number == 1:
                self.started = time.perf_counter()

        def on_train_end(self, trainer: pl.Trainer, module: Module) -> None:
            seconds.append((time.perf_counter() - self.started) / steps)

    def run() -> None:
        pl.Trainer(
            max_steps=steps + 1, precision=precision, logger=False, enable_checkpointing=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, callbacks=[Clock()],
        ).fit(module, loader)  # fmt: skip

    run.seconds = seconds
    return run


def gflop(model: nn.Module) -> float:
    """Floating-point operations of forward and backward, one image."""
    images = torch.zeros(2, 3, CROP, CROP)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return counter.get_total_flops() / 2e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32, help="images a side and round")
    parser.add_argument("--packed", type=Path, default=Path("data/05_model_input/benchmark.arrow"))
    parser.add_argument("--without", nargs="*", default=[], help="sides to leave out, such as lightning")
    arguments = parser.parse_args()
    split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "train")
    write_store(arguments.packed, UsableSamples(split, split.ids))
    store = SampleStore(arguments.packed)
    runtime = choose_runtime(RuntimeConfig())
    describe_machine()
    rows = []
    for batch in arguments.batch:
        steps = max(1, arguments.images // batch)
        unkept = Runtime(runtime.device, runtime.dtype, keep_memory=False)
        sides: dict[str, Callable[[], None]] = {
            "ours": ours(store, batch, steps, runtime),
            "bare": bare(store, batch, steps, runtime),
            "unkept": ours(store, batch, steps, unkept),
            "2 workers": ours(store, batch, steps, runtime, workers=2),
            "usual": usual(split, batch, steps),
        }
        if "lightning" not in arguments.without:
            sides["lightning"] = lightning(split, batch, steps, "32-true")
            if "bf16" not in arguments.without:
                sides["lightning bf16"] = lightning(split, batch, steps, "bf16-mixed")
        sides = {name: side for name, side in sides.items() if name not in arguments.without}
        seconds = alternate(sides, arguments.rounds)
        for name, found in seconds.items():
            per_step = sides[name].seconds[1:] if hasattr(sides[name], "seconds") else [s / steps for s in found]
            seconds[name] = per_step
        for name, found in seconds.items():
            rows.append([batch, name, batch / sorted(found)[len(found) // 2], ratio(seconds["ours"], found)])
    print_table("Training", ["batch", "side", "images/s", "ours is quicker by"], rows)
    networks = {"SegmentationNet-resnet18": build_model(ModelConfig(), CLASSES)}
    if "lightning" not in arguments.without:
        import segmentation_models_pytorch as smp

        networks["smp Unet-resnet18"] = smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)
    for name, model in networks.items():
        console.print(f"{name}: {gflop(model):.1f} GFLOP an image, forward and backward", highlight=False)
    console.print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, all sides together")
    arguments.packed.unlink()


if __name__ == "__main__":
    main()
