"""Whether one run is better than another, or only luckier.

Two runs scored on the same images are compared image by image: the same images are drawn again for both (a paired
bootstrap), so what makes an image hard for every network cancels out. Groups of runs that differ only in their seed are
compared by their means; the seeds are then a second source of chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .counts import Counts
from .intervals import LEVEL

RESAMPLES = 2000
_WEIGHTS = 2**22
"""Weights that are drawn at once, to bound memory (32 MB)."""


def resample(counts: Counts, resamples: int = RESAMPLES, seed: int = 0) -> Counts:
    """The counts of splits of as many images drawn with replacement, ``float64 (resamples, classes)``.

    The same number of images and the same seed give the same images in every resample, so that two runs scored on the
    same images can be paired.
    """
    images = len(counts)
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, rows := max(1, _WEIGHTS // images)):
        count = min(rows, resamples - start)
        drawn = generator.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)
        parts.append(counts.weighted(weights.astype(np.float64)))
    return Counts(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("hits", "truth", "predicted")))


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


def compare_groups(first: Sequence[Counts], second: Sequence[Counts]) -> Difference:
    """Compare two groups of runs by their mean mIoU; a group may have a single run.

    The interval and the p-value are those of 2,000 values of the difference, one for each resample of the images. If a
    group has several runs, each value also gets a random error of the seeds: one of Student's distribution, with the
    standard deviation of a run pooled over both groups, as in Student's test of two means. Two single runs are compared
    as the networks they are, not as two of many that their settings may give.

    The p-value is twice the smaller share of values on either side of 0, each counted with one more (Davison and
    Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2).

    Args:
        first: The counts of the images of each run, images in the same order in all of both groups.
        second: Of the runs to compare with.
    """
    values = np.zeros(RESAMPLES)
    difference = squares = 0.0
    for sign, group in ((1, first), (-1, second)):
        scores = [float(run.total().miou()) for run in group]
        difference += sign * float(np.mean(scores))
        squares += float(np.var(scores)) * len(scores)
        values += sign * np.mean([resample(run).miou() for run in group], axis=0)
    if degrees := len(first) + len(second) - 2:
        error = math.sqrt(squares / degrees * (1 / len(first) + 1 / len(second)))
        values += error * np.random.default_rng(0).standard_t(degrees, RESAMPLES)
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tail = min((values <= 0).sum(), (values >= 0).sum())
    p_value = min(1.0, 2 * (int(tail) + 1) / (RESAMPLES + 1))
    return Difference(difference, float(low), float(high), p_value, *_by_image(first, second))


def _by_image(first: Sequence[Counts], second: Sequence[Counts]) -> tuple[int, int, int]:
    """Images whose mean mIoU is higher in the first group, equal, and lower."""
    one, other = (np.mean([run.miou() for run in group], axis=0) for group in (first, second))
    scored = ~np.isnan(one) & ~np.isnan(other)  # an image may have only void
    one, other = one[scored], other[scored]
    ties = np.isclose(one, other, rtol=0, atol=1e-12)
    return int(((one > other) & ~ties).sum()), int(ties.sum()), int(((one < other) & ~ties).sum())


def holm(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """The differences with p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979)."""
    adjusted, largest = dict(differences), 0.0
    for position, name in enumerate(sorted(differences, key=lambda key: differences[key].p_value)):
        largest = max(largest, min(1.0, (len(differences) - position) * differences[name].p_value))
        adjusted[name] = replace(differences[name], p_value=largest)
    return adjusted
