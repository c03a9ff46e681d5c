"""Random training crops: the window is cut out of the packed image first, and only the window is resized.

The result equals resizing the whole image and cropping afterwards, within interpolation error, at a fraction of
the cost.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.config import AugmentationConfig
from voc_seg.config.model_input import MEAN
from voc_seg.voc.classes import VOID
from voc_seg.voc.pairs import nearest_indices

from .store import Sample


@dataclass(frozen=True)
class Crop:
    """The random choices for one crop, in pixels. The source window is resized to the target rectangle."""

    top: int
    left: int
    window: tuple[int, int]
    target: tuple[int, int]
    offset: tuple[int, int]
    flip: bool


def draw_crop(height: int, width: int, config: AugmentationConfig, rng: np.random.Generator) -> Crop:
    """Draw scale, position and flip for an image of ``height`` x ``width`` pixels.

    The scale is log-uniform, so halving is as likely as doubling. Along an axis where the scaled image is
    smaller than the crop, the whole axis is used and the image gets a random offset within the crop.
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
    return Crop(start[0], start[1], (window[0], window[1]), (target[0], target[1]), (offset[0], offset[1]), flip)


def augment(
    sample: Sample, config: AugmentationConfig, rng: np.random.Generator, mean: tuple[float, ...] = MEAN
) -> tuple[Tensor, Tensor]:
    """A random square crop of a sample.

    Args:
        sample: The packed sample.
        config: Crop size, scale range, flip and jitter.
        rng: Source of every random choice; seed it by (seed, epoch, index) to make a crop repeatable.
        mean: Of each channel in [0, 1]; the colour outside the image.

    Returns:
        image ``uint8 (C, crop, crop)``, channels-last in memory, and mask ``uint8 (crop, crop)``. Mask values are
        values of the sample's mask, or 255 outside the image (there the crop has the mean colour).
    """
    height, width = sample.mask.shape
    crop = draw_crop(height, width, config, rng)
    image, mask = _resize(sample, slice(crop.top, crop.top + crop.window[0]),
                          slice(crop.left, crop.left + crop.window[1]), crop.target)  # fmt: skip
    if crop.flip:  # the resized window: torch flips fifteen times faster than NumPy copies backwards
        image, mask = image.flip(-1), mask.flip(-1)
    if config.colour_jitter:
        image = jitter_colours(image, config.colour_jitter, rng)
    return _pad(image, mask, crop, config.crop_size, mean)


def resize(sample: Sample, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A whole sample at another size: image ``uint8 (C, *size)``, mask ``uint8 size`` with its own values only."""
    return _resize(sample, slice(0, sample.mask.shape[0]), slice(0, sample.mask.shape[1]), size)


def _resize(sample: Sample, rows: slice, columns: slice, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A window of a sample at another size, copied out of the read-only store."""
    # Channels-last memory all the way to the network: the resizing kernel is fastest there, and nothing is transposed.
    image = torch.from_numpy(sample.image[rows, columns].copy())[None].permute(0, 3, 1, 2)
    if image.shape[-2:] != size:
        image = functional.interpolate(image, size, mode="bilinear", antialias=True)
    down, right = (
        window.start + nearest_indices(window.stop - window.start, length)
        for window, length in zip((rows, columns), size)
    )
    return image[0], torch.from_numpy(sample.mask.take(down, 0).take(right, 1))


def jitter_colours(image: Tensor, amount: float, rng: np.random.Generator) -> Tensor:
    """Random brightness, saturation and contrast, each a factor in [1 - amount, 1 + amount].

    Saturation changes the first three channels, and only where there are three.

    Args:
        image: ``uint8 (C, H, W)``.
        amount: Largest relative change.
        rng: Source of the three factors.

    Returns:
        ``uint8 (C, H, W)``.
    """
    brightness, saturation, contrast = (float(rng.uniform(1 - amount, 1 + amount)) for _ in range(3))
    values = image.float() * brightness
    if len(values) >= 3:
        colours = values[:3]
        saturated = torch.lerp(colours.mean(0, keepdim=True), colours, saturation)
        values = saturated if len(values) == 3 else torch.cat([saturated, values[3:]])
    values = torch.lerp(values.mean(), values, contrast)
    return values.round_().clamp_(0, 255).to(torch.uint8)


@lru_cache
def _colour(mean: tuple[float, ...]) -> Tensor:
    return torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)


def _pad(image: Tensor, mask: Tensor, crop: Crop, size: int, mean: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    if crop.target == (size, size):
        return image, mask
    rows = slice(crop.offset[0], crop.offset[0] + crop.target[0])
    columns = slice(crop.offset[1], crop.offset[1] + crop.target[1])
    padded_image = _colour(mean).repeat(size, size, 1).permute(2, 0, 1)
    padded_mask = torch.full((size, size), VOID, dtype=torch.uint8)
    padded_image[:, rows, columns] = image
    padded_mask[rows, columns] = mask
    return padded_image, padded_mask
