"""The other sides of training.py: a typical script, and Lightning with segmentation_models_pytorch."""

import logging
import random
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from measuring import finish, seconds_a_step
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from voc_seg.config import ModelConfig
from voc_seg.config.model_input import MEAN, STD
from voc_seg.engine.runtime import Runtime
from voc_seg.models.registry import build_model
from voc_seg.voc.classes import VOID
from voc_seg.voc.splits import VOCSplit

CROP, CLASSES = 224, 21
Side = Callable[[], float]
"""Run some steps and return the seconds of one."""


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


def usual(split: VOCSplit, batch: int, steps: int, device: torch.device) -> Side:
    model = build_model(ModelConfig(), CLASSES).to(device).to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.006, momentum=0.9, weight_decay=1e-4)
    batches = endless(usual_loader(split, batch))

    def step() -> None:
        images, masks = (tensor.to(device) for tensor in next(batches))
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), masks, ignore_index=VOID)
        loss.backward()
        optimizer.step()
        loss.item()

    return lambda: seconds_a_step(step, steps, Runtime(device, torch.float32, keep_memory=False))


def lightning(split: VOCSplit, batch: int, steps: int, precision: str, device: torch.device) -> Side:
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
                finish(device)
                self.started = time.perf_counter()

        def on_train_end(self, trainer: pl.Trainer, module: Module) -> None:
            finish(device)
            self.seconds = (time.perf_counter() - self.started) / steps

    def run() -> float:
        clock = Clock()
        pl.Trainer(
            max_steps=steps + 1, precision=precision, logger=False, enable_checkpointing=False,
            accelerator=device.type, devices=[device.index] if device.type == "cuda" else 1,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
        ).fit(module, loader)  # fmt: skip
        return clock.seconds

    return run
