"""Random training crops: the window is cut out of the packed image first, and only the window is resized.

That gives the crop of resizing the whole image and cutting afterwards, within interpolation error, for a
fraction of the work.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.config import AugmentationConfig
from voc_seg.voc.classes import VOID

from .store import Sample

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's RGB values in [0, 1], as torchvision's weights expect them."""

_MEAN_COLOUR = torch.tensor([round(255 * value) for value in MEAN], dtype=torch.uint8)


@dataclass(frozen=True)
class Crop:
    """The random choices for one crop; pixels. The source window ends up as the target rectangle."""

    top: int
    left: int
    window: tuple[int, int]
    target: tuple[int, int]
    offset: tuple[int, int]
    flip: bool


def draw_crop(height: int, width: int, config: AugmentationConfig, rng: np.random.Generator) -> Crop:
    """Draw scale, position and flip for an image of ``height`` x ``width`` pixels.

    The scale is log-uniform, so halving is as likely as doubling. Along an axis where the scaled image is
    smaller than the crop, the whole axis is used and the image is put at a random place of the crop.
    """
    low, high = config.scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    start, window, target, offset = [], [], [], []
    for axis, length in enumerate((height, width)):
        factor = scale * (config.image_size[axis] / length if config.image_size else 1.0)
        source = min(length, max(1, round(config.crop_size / factor)))
        size = config.crop_size if source < length else min(config.crop_size, max(1, round(length * factor)))
        start.append(int(rng.integers(length - source + 1)))
        offset.append(int(rng.integers(config.crop_size - size + 1)))
        window.append(source)
        target.append(size)
    flip = bool(rng.random() < config.flip)
    return Crop(start[0], start[1], tuple(window), tuple(target), tuple(offset), flip)


def augment(sample: Sample, config: AugmentationConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A random square crop of a sample.

    Args:
        sample: The packed sample.
        config: Crop size, scale range, flip and jitter.
        rng: Source of every random choice; seed it by (seed, epoch, index) to make a crop repeatable.

    Returns:
        image ``uint8 (3, crop, crop)`` and mask ``uint8 (crop, crop)``. Mask values are values of the
        sample's mask, or 255 where the crop reaches past the image (image: ImageNet's mean colour).
    """
    crop = draw_crop(*sample.mask.shape, config, rng)
    rows = slice(crop.top, crop.top + crop.window[0])
    columns = slice(crop.left, crop.left + crop.window[1])
    step = -1 if crop.flip else 1
    # The copy leaves the read-only store; torch takes no negative strides either.
    image = torch.from_numpy(sample.image[rows, columns][:, ::step].copy()).permute(2, 0, 1)
    mask = torch.from_numpy(sample.mask[rows, columns][:, ::step].copy())
    image, mask = _resize(image, mask, crop.target)
    if config.colour_jitter:
        image = jitter_colours(image, config.colour_jitter, rng)
    return _pad(image, mask, crop, config.crop_size)


def resize(sample: Sample, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A whole sample at another size: image ``uint8 (3, *size)``, mask ``uint8 size`` with its own values only."""
    image = torch.from_numpy(np.array(sample.image)).permute(2, 0, 1)
    return _resize(image, torch.from_numpy(np.array(sample.mask)), size)


def _resize(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    if mask.shape == size:
        return image, mask
    image = functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    return image, functional.interpolate(mask[None, None], size, mode="nearest-exact")[0, 0]


def jitter_colours(image: Tensor, amount: float, rng: np.random.Generator) -> Tensor:
    """Random brightness, saturation and contrast, each a factor in [1 - amount, 1 + amount].

    Args:
        image: ``uint8 (3, H, W)``.
        amount: Largest relative change.
        rng: Source of the three factors.

    Returns:
        ``uint8 (3, H, W)``.
    """
    brightness, saturation, contrast = (float(rng.uniform(1 - amount, 1 + amount)) for _ in range(3))
    values = image.float() * brightness
    grey = values.mean(0, keepdim=True)
    values = torch.lerp(grey, values, saturation)
    values = torch.lerp(values.mean(), values, contrast)
    return values.round_().clamp_(0, 255).to(torch.uint8)


def _pad(image: Tensor, mask: Tensor, crop: Crop, size: int) -> tuple[Tensor, Tensor]:
    if crop.target == (size, size):
        return image, mask
    rows = slice(crop.offset[0], crop.offset[0] + crop.target[0])
    columns = slice(crop.offset[1], crop.offset[1] + crop.target[1])
    padded_image = _MEAN_COLOUR[:, None, None].repeat(1, size, size)
    padded_mask = torch.full((size, size), VOID, dtype=torch.uint8)
    padded_image[:, rows, columns] = image
    padded_mask[rows, columns] = mask
    return padded_image, padded_mask
