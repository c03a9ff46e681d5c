"""Whether one run is better than another, or just lucky.

Runs scored on the same images are compared image by image, so what makes an image hard for every network cancels out:
the standard error of a difference of two mIoU is that of the jackknife (see `voc_seg.metrics.intervals`), from the
difference without one image each. Groups of runs that differ only in their seed are compared by their means; the seeds
are then a second source of chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from .counts import Counts
from .intervals import LEVEL, with_pixels

Name = TypeVar("Name")


@dataclass(frozen=True)
class RunScores:
    """What a comparison needs of a run, ``float64``: few numbers even for many images and classes."""

    miou: float
    without_one: np.ndarray  # mIoU without each image, or each group of images
    by_image: np.ndarray  # (images,), mIoU of each image; NaN for an image of void
    parts: int  # images, or groups of images, with a labelled pixel

    @classmethod
    def of(cls, counts: Counts) -> "RunScores":
        """The scores of the images of a run."""
        parts = counts.by_group()
        return cls(float(counts.total().miou()), parts.leave_one_out().miou(), counts.miou(), with_pixels(parts))


@dataclass(frozen=True)
class Difference:
    """How much higher the mIoU of one run, or the mean mIoU of a group of runs, is than that of another."""

    miou: float  # the difference, positive where the first is better
    low: float  # ends of its 95 % interval
    high: float
    p_value: float  # two-sided
    wins: int  # images that the first predicts better, by the mIoU of the image
    ties: int
    losses: int

    @property
    def is_distinguishable(self) -> bool:
        """Whether chance alone would rarely give such a difference."""
        return self.p_value < 1 - LEVEL


def compare_groups(first: Sequence[RunScores], second: Sequence[RunScores]) -> Difference:
    """Compare two groups of runs by their mean mIoU; a group may have a single run.

    The interval and the p-value are Student's. If a group has several runs, the variance of the seeds, pooled over both
    groups, is added to that of the images, with the degrees of freedom of Welch and Satterthwaite; a single run then
    counts as one of many seeds, too. Two single runs are compared as the networks they are.

    Args:
        first: The runs, all scored on the same images in the same order and in the same groups.
        second: Of the group to compare with.
    """
    difference = float(np.mean([run.miou for run in first]) - np.mean([run.miou for run in second]))
    without = np.mean([run.without_one for run in first], axis=0) - np.mean([run.without_one for run in second], axis=0)
    without = without[~np.isnan(without)]
    informative = min(first[0].parts, second[0].parts)
    parts: list[tuple[float, int]] = []
    if informative > 1:
        spread = float(((without - without.mean()) ** 2).sum())
        parts.append(((informative - 1) / informative * spread, informative - 1))
    if degrees := len(first) + len(second) - 2:
        squares = sum(float(np.var([run.miou for run in group])) * len(group) for group in (first, second))
        parts.append((squares / degrees * (1 / len(first) + 1 / len(second)), degrees))
    low, high, p_value = _student(difference, parts)
    return Difference(difference, low, high, p_value, *_by_image(first, second))


def _student(difference: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float, float]:
    """Ends of the interval, and p-value, of a difference whose variance has these parts (variance, degrees)."""
    variance = sum(part for part, _ in parts)
    if difference == 0 and variance == 0:
        return 0.0, 0.0, 1.0
    if variance == 0:  # nothing is known about chance, as with a single image
        return math.nan, math.nan, 1.0
    degrees = variance**2 / sum(part**2 / own for part, own in parts)
    error = math.sqrt(variance)
    margin = error * float(stdtrit(degrees, (1 + LEVEL) / 2))
    return difference - margin, difference + margin, 2 * float(stdtr(degrees, -abs(difference) / error))


def _by_image(first: Sequence[RunScores], second: Sequence[RunScores]) -> tuple[int, int, int]:
    """Images whose mean mIoU is higher in the first group, equal, and lower."""
    one, other = (np.mean([run.by_image for run in group], axis=0) for group in (first, second))
    scored = ~np.isnan(one) & ~np.isnan(other)  # an image may have only void
    one, other = one[scored], other[scored]
    ties = np.isclose(one, other, rtol=0, atol=1e-12)
    return int(((one > other) & ~ties).sum()), int(ties.sum()), int(((one < other) & ~ties).sum())


def holm(differences: Mapping[Name, Difference]) -> dict[Name, Difference]:
    """The differences with p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979)."""
    adjusted, largest = dict(differences), 0.0
    for position, name in enumerate(sorted(differences, key=lambda key: differences[key].p_value)):
        largest = max(largest, min(1.0, (len(differences) - position) * differences[name].p_value))
        adjusted[name] = replace(differences[name], p_value=largest)
    return adjusted


def compare_with_best(groups: Mapping[str, Sequence[RunScores]]) -> tuple[str, dict[str, Difference]]:
    """The group with the highest mean mIoU, and how far it is ahead of each of the others.

    The best was chosen by the same scores, so Holm's correction is for all pairs of groups, not only for those with it.
    """
    best = max(groups, key=lambda name: float(np.mean([run.miou for run in groups[name]])))
    ordered = [best, *(name for name in groups if name != best)]
    pairs = {
        (one, other): compare_groups(groups[one], groups[other])
        for position, one in enumerate(ordered)
        for other in ordered[position + 1 :]
    }
    return best, {other: found for (one, other), found in holm(pairs).items() if one == best}
