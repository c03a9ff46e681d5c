"""The rare classes of a training split: which they are, how often to show them, and which samples hold them."""

import math
from dataclasses import dataclass

import numpy as np

from voc_seg.voc.classes import VOID

from .class_pixels import class_pixels
from .store import SampleStore

_LARGEST_WEIGHT = 10.0
"""Of a class, relative to one with an equal share: a single mislabelled pixel must not draw most crops."""
_PIXELS_TO_SEARCH = 2**16
"""Labels of an image that are searched for rare classes; smaller regions than their grid may be missed."""


@dataclass(frozen=True)
class RareClasses:
    """The classes with less than an equal share of the labelled pixels of train.

    | field   | shape  | dtype   | meaning                                                                  |
    |---------|--------|---------|--------------------------------------------------------------------------|
    | weights | (255,) | float64 | relative probability of drawing the class, 0 unless it is rare           |
    | holders |        | dict    | by rare class the indices of the samples that show it, ``int64``, sorted |

    A weight is the inverse square root of the class's share, as in repeat factor sampling (Gupta et al., LVIS, 2019).
    """

    weights: np.ndarray
    holders: dict[int, np.ndarray]

    def draw_class(self, rng: np.random.Generator) -> int | None:
        """Draw a rare class; None if there is none."""
        return _draw(self.weights, rng)

    def draw_sample(self, value: int, rng: np.random.Generator) -> int:
        """Draw the index of a sample that shows a rare class."""
        indices = self.holders[value]
        return int(indices[rng.integers(len(indices))])

    def draw_pixel(
        self, mask: np.ndarray, rng: np.random.Generator, value: int | None = None
    ) -> tuple[int, int] | None:
        """Draw row and column of a pixel of a rare class in ``uint8 (H, W)``; None if the mask has none.

        ``value`` is the class; without it, one of the rare classes of the mask is drawn.
        """
        labels, step = thinned(mask, _PIXELS_TO_SEARCH)
        if value is None:
            value = _draw(self.weights * (np.bincount(labels.ravel(), minlength=256)[:VOID] > 0), rng)
            if value is None:
                return None
        found = np.flatnonzero(labels == value)
        if not len(found):
            labels, step = mask, 1  # a region between the points of the grid
            found = np.flatnonzero(labels == value)
            if not len(found):
                return None
        row, column = divmod(int(found[rng.integers(len(found))]), labels.shape[1])
        return row * step, column * step


def find_rare_classes(samples: SampleStore) -> RareClasses:
    """Find the rare classes of a split: from its index where there is one, else from every mask. Both give the same."""
    pixels = np.zeros(VOID, np.int64)
    shown: list[tuple[int, int]] = []
    for index, counts in enumerate(class_pixels(samples)):
        pixels[: len(counts)] += counts
        shown += [(value, index) for value in np.flatnonzero(counts).tolist()]
    present = int((pixels > 0).sum())
    share = pixels / max(pixels.sum(), 1)
    equal = 1 / max(present, 1)
    rare = (pixels > 0) & (share < equal)
    weights = np.zeros(VOID)
    weights[rare] = 1 / np.sqrt(np.maximum(share[rare], equal / _LARGEST_WEIGHT**2))
    pairs = np.array(shown, np.int64).reshape(-1, 2)
    return RareClasses(weights, {value: pairs[pairs[:, 0] == value, 1] for value in np.flatnonzero(rare).tolist()})


def thinned(labels: np.ndarray, pixels: int) -> tuple[np.ndarray, int]:
    """A view of every n-th row and column of ``uint8 (H, W)``, of about this many pixels, and n."""
    step = max(1, round(math.sqrt(labels.size / pixels)))
    return labels[::step, ::step], step


def _draw(weights: np.ndarray, rng: np.random.Generator) -> int | None:
    """Draw an index with these relative probabilities; None if all are 0."""
    ends = np.cumsum(weights)
    if not ends[-1]:
        return None
    return int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
