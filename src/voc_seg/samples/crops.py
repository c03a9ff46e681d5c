"""Where a training crop is cut from an image, and the cutting: only the window is read and resized.

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
from voc_seg.voc.classes import VOID
from voc_seg.voc.pairs import nearest_indices

from .rare_classes import RareClasses, thinned
from .sample import Sample

_TRIES = 10
"""Windows to try for ``max_class_share``, as in mmsegmentation's ``RandomCrop``."""
_PIXELS_TO_JUDGE = 2**10
"""Labels that decide whether one class dominates a window."""


@dataclass(frozen=True)
class Crop:
    """The random choices for one crop, in pixels. The source window is resized to the target rectangle."""

    top: int
    left: int
    window: tuple[int, int]
    target: tuple[int, int]
    offset: tuple[int, int]
    flip: bool

    @property
    def rows(self) -> slice:
        """Rows of the source window."""
        return slice(self.top, self.top + self.window[0])

    @property
    def columns(self) -> slice:
        """Columns of the source window."""
        return slice(self.left, self.left + self.window[1])


def draw_crop(
    height: int, width: int, config: AugmentationConfig, rng: np.random.Generator, pixel: tuple[int, int] | None = None
) -> Crop:
    """Draw scale, position and flip for an image of ``height`` x ``width`` pixels.

    The scale is log-uniform, so halving is as likely as doubling. Along an axis where the scaled image is
    smaller than the crop, the whole axis is used and the image gets a random offset within the crop.

    Args:
        height: Of the image.
        width: Of the image.
        config: Crop size, scale range and probability of a flip.
        rng: Source of the random choices.
        pixel: Row and column of a pixel to show in the middle half of the crop, as far as the image allows; None shows
            any part of the image.
    """
    low, high = config.scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    start, window, target, offset = [], [], [], []
    for axis, length in enumerate((height, width)):
        factor = scale * (config.image_size[axis] / length if config.image_size else 1.0)
        source = min(length, max(1, round(config.crop_size / factor)))
        size = config.crop_size if source < length else min(config.crop_size, max(1, round(length * factor)))
        if pixel is None:
            start.append(int(rng.integers(length - source + 1)))
        else:
            first = pixel[axis] - int(rng.integers(source // 4, source - source // 4))
            start.append(min(max(first, 0), length - source))
        offset.append(int(rng.integers(config.crop_size - size + 1)))
        window.append(source)
        target.append(size)
    flip = bool(rng.random() < config.flip)
    return Crop(start[0], start[1], (window[0], window[1]), (target[0], target[1]), (offset[0], offset[1]), flip)


def choose_crop(
    mask: np.ndarray, config: AugmentationConfig, rng: np.random.Generator, rare: RareClasses | None = None
) -> Crop:
    """Draw a crop; ``rare_crops`` and ``max_class_share`` prefer windows with rare or several classes.

    Args:
        mask: ``uint8 (H, W)``.
        config: As for `draw_crop`.
        rng: Source of the random choices.
        rare: The rare classes; without them ``rare_crops`` has no effect.
    """
    height, width = mask.shape
    if rare and config.rare_crops and rng.random() < config.rare_crops and (pixel := rare.draw_pixel(mask, rng)):
        return draw_crop(height, width, config, rng, pixel)
    crop = draw_crop(height, width, config, rng)
    if config.max_class_share == 1:
        return crop
    best, least = crop, largest_share(mask[crop.rows, crop.columns])
    for _ in range(_TRIES - 1):
        if least <= config.max_class_share:
            break
        crop = draw_crop(height, width, config, rng)
        share = largest_share(mask[crop.rows, crop.columns])
        if share < least:
            best, least = crop, share
    return best


def largest_share(labels: np.ndarray) -> float:
    """Share of the most frequent class among the labelled pixels of ``uint8 (H, W)``; 1 if all are void."""
    counts = np.bincount(thinned(labels, _PIXELS_TO_JUDGE)[0].ravel(), minlength=256)[:VOID]
    total = counts.sum()
    return float(counts.max() / total) if total else 1.0


def cut(sample: Sample, crop: Crop) -> tuple[Tensor, Tensor]:
    """Cut the window out of a sample, resized and flipped: image ``uint8 (C, *target)``, mask ``uint8 target``."""
    image, mask = _resize(sample, crop.rows, crop.columns, crop.target)
    if crop.flip:  # the resized window: torch flips fifteen times faster than NumPy copies backwards
        return image.flip(-1), mask.flip(-1)
    return image, mask


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


@lru_cache
def mean_colour(mean: tuple[float, ...]) -> Tensor:
    """The colour outside the image, ``uint8 (C,)``, from the mean of each channel in [0, 1]."""
    return torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)


def pad(image: Tensor, mask: Tensor, crop: Crop, size: int, mean: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Place a window within a crop of ``size``; around it the crop has the mean colour and is void."""
    if crop.target == (size, size):
        return image, mask
    rows = slice(crop.offset[0], crop.offset[0] + crop.target[0])
    columns = slice(crop.offset[1], crop.offset[1] + crop.target[1])
    padded_image = mean_colour(mean).repeat(size, size, 1).permute(2, 0, 1)
    padded_mask = torch.full((size, size), VOID, dtype=torch.uint8)
    padded_image[:, rows, columns] = image
    padded_mask[rows, columns] = mask
    return padded_image, padded_mask
