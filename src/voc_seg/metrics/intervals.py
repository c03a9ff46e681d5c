"""95 % confidence intervals of scores, over the images of a split.

The standard error of a score is that of the jackknife, from the scores without one image each (Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 11),

    se = sqrt((n - 1) / n * sum_i (score_without_i - mean)^2),

and the interval is Student's on the logit scale, so that it stays between 0 and 1: with z = logit(score),

    z +- t(0.975, n - 1) * se / (score (1 - score)).

For the IoU of a class, n counts the images in which the class is true or predicted. The bootstrap over images gives too
narrow intervals where classes are rare, because a class that is in few images is in none of many resamples: simulations
are in docs/confidence.md.

Images of one group, as frames of one video, vary together. Where groups are known, each score is without one group,
and n counts groups: an image without one is a group of its own (delete-a-group jackknife; Kott, "The Delete-a-Group
Jackknife", Journal of Official Statistics 17, 2001).

The interval is about the images alone: a network trained again, with another seed, has another score.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.special import expit, logit, stdtrit

from voc_seg.system.names import counted

from .counts import Counts

LEVEL = 0.95
FEW_IMAGES = 20
_RARE = 3
_RARE_SHARE = 0.25

SCORES: Mapping[str, Callable[[Counts], np.ndarray]] = {
    "miou": Counts.miou,
    "pixel_accuracy": Counts.pixel_accuracy,
    "mean_class_accuracy": Counts.mean_class_accuracy,
    "frequency_weighted_iou": Counts.frequency_weighted_iou,
}
"""The scores of ``metrics.json`` that have an interval."""


def jackknife_interval(
    estimate: np.ndarray, without_one: np.ndarray, images: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the intervals of scores, ``float64 (...)``.

    Args:
        estimate: The scores, ``float64 (...)``.
        without_one: The scores without one image each, ``float64 (images, ...)``; NaN where they do not exist.
        images: Images that say something about the score, ``(...)``.

    Returns:
        Low and high ends; NaN for scores that do not exist, are 0 or 1, or are known from fewer than two images.
    """
    count = np.asarray(images, dtype=float)
    present = ~np.isnan(without_one)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, without_one, 0.0).sum(0) / present.sum(0)
        squares = np.where(present, (without_one - mean) ** 2, 0.0).sum(0)
        error = np.sqrt(squares * (count - 1) / count) / (estimate * (1 - estimate))
        margin = stdtrit(count - 1, (1 + LEVEL) / 2) * error
        exists = (estimate > 0) & (estimate < 1) & (count > 1) & present.all(0)
        low, high = (np.where(exists, expit(logit(estimate) + end), np.nan) for end in (-margin, margin))
    return low, high


def score_intervals(
    counts: Counts, scores: Mapping[str, Callable[[Counts], np.ndarray]] = SCORES
) -> dict[str, float | None]:
    """The ends of the interval of each score of a split, as ``miou_low``, ``miou_high`` and so on; None for none."""
    ends: dict[str, float | None] = {}
    parts = counts.by_group()
    total, without_one, images = parts.total(), parts.leave_one_out(), with_pixels(parts)
    for name, score in scores.items():
        interval = jackknife_interval(score(total), score(without_one), images)
        for end, value in zip(("low", "high"), interval):
            ends[f"{name}_{end}"] = None if np.isnan(value) else float(value)
    return ends


def with_pixels(counts: Counts) -> int:
    """How many images have a pixel that counts."""
    return int(((counts.truth + counts.predicted).sum(-1) > 0).sum())


def class_intervals(counts: Counts) -> pd.DataFrame:
    """The ends of the interval of each class's IoU: columns iou_low and iou_high; NaN for none."""
    parts = counts.by_group()
    images = ((parts.truth + parts.predicted) > 0).sum(0)
    low, high = jackknife_interval(parts.total().iou(), parts.leave_one_out().iou(), images)
    return pd.DataFrame({"iou_low": low, "iou_high": high})


def unreliable_because(counts: Counts) -> str:
    """Why the interval of the mIoU is not to be relied on; empty if it is."""
    parts = counts.by_group()
    of_images = "" if parts is counts else " of images"
    noun = "group" if of_images else "image"
    if (labelled := with_pixels(parts)) < FEW_IMAGES:
        return f"there {'is' if labelled == 1 else 'are'} only {counted(labelled, noun)}{of_images}"
    images = (parts.truth > 0).sum(0)
    rare, present = int(((images > 0) & (images < _RARE)).sum()), int((images > 0).sum())
    if rare > _RARE_SHARE * present:
        return f"{rare} of {present} classes are in fewer than {_RARE} {noun}s{of_images}"
    return ""
