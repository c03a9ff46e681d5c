"""Connected regions whose label a network confidently contradicts: what an annotator should look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .label_errors import LabelSums

LEAST_WIDTH = 0.01
"""Of the image's diagonal: what is narrower is no region, as outlines are neither drawn nor predicted exactly."""
_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Disagreements:
    """Where the prediction differs from the mask of an image: n pixels, in any order.

    | field       | shape | dtype   | meaning                                              |
    |-------------|-------|---------|------------------------------------------------------|
    | shape       | (2,)  | int     | height and width of the image                        |
    | where       | (n,)  | uint32  | positions in the flattened image                     |
    | given       | (n,)  | uint8   | label                                                |
    | predicted   | (n,)  | uint8   | class of the highest probability                     |
    | confidence  | (n,)  | float16 | that probability                                     |
    | probability | (n,)  | float16 | of the label                                         |
    """

    shape: tuple[int, int]
    where: np.ndarray
    given: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    probability: np.ndarray

    def prediction(self, mask: np.ndarray) -> np.ndarray:
        """The predicted class of every labelled pixel, and void elsewhere, ``uint8 (H, W)``; ``mask`` is the given."""
        found = mask.copy()
        found.reshape(-1)[self.where] = self.predicted
        return found


@dataclass(frozen=True)
class ReviewedImage:
    """What a network says about the labels of an image.

    | field       | meaning                                                                     |
    |-------------|-----------------------------------------------------------------------------|
    | id          | image id                                                                    |
    | quality     | softmin of the probabilities of its labels, 0 (worst) to 1; NaN if all void |
    | sums        | over its labelled pixels by class                                           |
    | differences | its labelled pixels that are predicted otherwise, 10 bytes each             |
    """

    id: str
    quality: float
    sums: LabelSums
    differences: Disagreements


@dataclass(frozen=True)
class Region:
    """A connected region of one label that is confidently predicted as another class.

    | field       | meaning                                              |
    |-------------|------------------------------------------------------|
    | rows        | rows of its bounding box                             |
    | columns     | columns of its bounding box                          |
    | inside      | its pixels in the box, ``bool``                      |
    | given       | its label, class index                               |
    | suggested   | the predicted class                                  |
    | confidence  | mean probability of the predicted class              |
    | score       | the larger, the more suspicious: `find_regions`      |
    """

    rows: slice
    columns: slice
    inside: np.ndarray
    given: int
    suggested: int
    confidence: float
    score: float

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return int(self.inside.sum())


def find_regions(found: Disagreements, sums: LabelSums) -> list[Region]:
    """The regions of an image, the most suspicious first.

    Pixels count if their prediction reaches the threshold of its class and their label is of a class that the network
    has learnt (:meth:`LabelSums.judged`). They are opened with a square of :data:`LEAST_WIDTH`, which removes strips
    along outlines, and joined over edges and corners if they have the same label and prediction.

    The score of a region is its expected number of wrong labels: the sum of 1 - p over its pixels, with p the
    probability of the label.
    """
    doubted = sums.judged()[found.given]
    doubted &= found.confidence >= sums.thresholds()[found.predicted].astype(np.float16)
    if not doubted.any():
        return []
    size = least_width(found.shape)
    pair = np.full(found.shape, -1, dtype=np.int32)
    pair.reshape(-1)[found.where[doubted]] = found.given[doubted].astype(np.int32) << 8 | found.predicted[doubted]
    confidence, probability = (np.zeros(found.shape, dtype=np.float16) for _ in range(2))
    confidence.reshape(-1)[found.where] = found.confidence
    probability.reshape(-1)[found.where] = found.probability
    regions = []
    for number in np.unique(pair[pair >= 0]).tolist():
        for rows, columns, inside in _connected(pair == number, size):
            sure = float(confidence[rows, columns][inside].mean(dtype=np.float64))
            wrong = float((1 - probability[rows, columns][inside].astype(np.float64)).sum())
            regions.append(Region(rows, columns, inside, number >> 8, number & 255, sure, wrong))
    return sorted(regions, key=lambda region: -region.score)


def least_width(shape: tuple[int, int]) -> int:
    """The width in pixels, odd, below which a strip of an image ``(H, W)`` is no region."""
    return 2 * int(LEAST_WIDTH * math.hypot(*shape) / 2 + 0.5) + 1


def _connected(flags: np.ndarray, size: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Rows, columns and pixels of each connected region of ``bool (H, W)`` after an opening with a square."""
    (box,) = ndimage.find_objects(flags.view(np.uint8))
    # With a margin, as only the edge of the image may be repeated: what is beyond it may belong to the region.
    top, left = (max(0, side.start - size) for side in box)
    part = flags[top : box[0].stop + size, left : box[1].stop + size].view(np.uint8)
    eroded = ndimage.minimum_filter(part, size, mode="nearest")
    numbers, _ = ndimage.label(ndimage.maximum_filter(eroded, size, mode="nearest"), _NEIGHBOURS)
    for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), start=1):
        yield _moved(rows, top), _moved(columns, left), numbers[rows, columns] == number


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
