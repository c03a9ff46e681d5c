"""Random training crops: which changes are applied to a sample, and in which order.

Every choice is drawn from one generator. What is switched off draws nothing, so a crop does not change with options
that are not in use.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from voc_seg.config import AugmentationConfig
from voc_seg.config.model_input import MEAN

from .colours import change_look, jitter_colours
from .crops import Crop, choose_crop, cut, draw_crop, pad
from .mixing import distort, paste
from .rare_classes import RareClasses
from .sample import Sample
from .strengths import STRENGTHS


class Samples(Protocol):
    """Samples by index."""

    def __getitem__(self, index: int, /) -> Sample: ...


def augment(
    sample: Sample,
    config: AugmentationConfig,
    rng: np.random.Generator,
    mean: tuple[float, ...] = MEAN,
    rare: RareClasses | None = None,
    samples: Samples | Sequence[Sample] | None = None,
) -> tuple[Tensor, Tensor]:
    """A random square crop of a sample.

    Args:
        sample: The packed sample.
        config: Crop size, scale range and what else to change.
        rng: Source of every random choice; seed it by (seed, epoch, index) to make a crop repeatable.
        mean: Of each channel in [0, 1]; the colour outside the image.
        rare: Rare classes of the split; without them ``rare_crops`` and ``copy_paste`` have no effect.
        samples: The split, from which ``copy_paste`` takes a second sample; without it, it has no effect.

    Returns:
        image ``uint8 (C, crop, crop)``, channels-last in memory, and mask ``uint8 (crop, crop)``. Mask values are
        values of the sample's mask (or of the second sample's), or 255 outside the image (there the crop has the mean
        colour).
    """
    image, mask = _finish(sample, choose_crop(sample.mask, config, rng, rare), config, rng, mean)
    if rare and samples is not None and config.copy_paste and rng.random() < config.copy_paste:
        image, mask = _paste_rare(image, mask, config, rng, mean, rare, samples)
    if strength := STRENGTHS.get(config.strength):
        image, mask = distort(image, mask, strength, rng, mean)
    return image, mask


def _finish(
    sample: Sample, crop: Crop, config: AugmentationConfig, rng: np.random.Generator, mean: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """A crop of a sample with its colours changed and padded to full size."""
    image, mask = cut(sample, crop)
    if config.colour_jitter:
        image = jitter_colours(image, config.colour_jitter, rng)
    if strength := STRENGTHS.get(config.strength):
        image = change_look(image, strength, rng)
    return pad(image, mask, crop, config.crop_size, mean)


def _paste_rare(
    image: Tensor,
    mask: Tensor,
    config: AugmentationConfig,
    rng: np.random.Generator,
    mean: tuple[float, ...],
    rare: RareClasses,
    samples: Samples | Sequence[Sample],
) -> tuple[Tensor, Tensor]:
    """Paste a rare class from a crop of another sample; the crop is unchanged if there is no rare class."""
    value = rare.draw_class(rng)
    if value is None:
        return image, mask
    source = samples[rare.draw_sample(value, rng)]
    height, width = source.mask.shape
    crop = draw_crop(height, width, config, rng, rare.draw_pixel(source.mask, rng, value))
    return paste(image, mask, *_finish(source, crop, config, rng, mean), value)
