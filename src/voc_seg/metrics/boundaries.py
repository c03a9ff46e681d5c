"""Scores of boundaries: boundary IoU, and the IoU of pixels near a boundary (trimap).

Boundary IoU (Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021) is the
IoU of the pixels of a class that are within d pixels of its boundary, with d 2 % of the image's diagonal. As in the
authors' code, the distance is that of erosion with a 3x3 square, so of rows or columns, whichever is larger, and the
edge of the image is a boundary. Like every score of a split here, it is computed from pixels counted over all images.

The trimap (Kohli et al., "Robust higher order potentials", IJCV 2009; Chen et al., "DeepLab", TPAMI 2018) is the
labelled pixels that are within 8 pixels of another class or of void; its IoU shows how coarse the boundaries are.

Void is cut out of the prediction, too, so that a perfect prediction scores 1 whatever it predicts in void.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from voc_seg.voc.classes import VOID

from .counts import Counts, sum_cells
from .intervals import score_intervals

DIAGONAL_SHARE = 0.02
TRIMAP_WIDTH = 8
"""Pixels; VOC's outlines are void of about 5 pixels."""
_STRIP = 2**20
"""Pixels that are counted at once."""


@dataclass(frozen=True)
class BoundaryCounts:
    """The pixels near boundaries by class: of one image ``(classes,)``, or of several ``(images, classes)``."""

    boundary: Counts
    trimap: Counts


def trimap_of(truth: np.ndarray) -> np.ndarray:
    """The trimap of an image, ``bool (H, W)``, with the void pixels in it; truth is ``uint8 (H, W)``."""
    return near_other_label(truth, TRIMAP_WIDTH, edge=False)


def count_boundaries(
    truth: np.ndarray, prediction: np.ndarray, classes: int, trimap: np.ndarray | None = None
) -> BoundaryCounts:
    """Count the pixels of an image.

    Args:
        truth: ``uint8 (H, W)``, class index or void.
        prediction: ``uint8 (H, W)``, class index.
        classes: Number of classes.
        trimap: :func:`trimap_of` the truth, if it is known.
    """
    distance = boundary_distance(truth.shape)
    prediction = np.where(truth == VOID, np.uint8(VOID), prediction)
    true_boundary, found_boundary = (near_other_label(labels, distance, edge=True) for labels in (truth, prediction))
    trimap = trimap_of(truth) if trimap is None else trimap
    true, found = np.zeros((2, 2, 2, 2, 2, 256), dtype=np.int64)  # by equal, trimap, both boundaries, and label
    rows = max(1, _STRIP // truth.shape[1])
    for start in range(0, len(truth), rows):  # in strips, as counting needs 8 bytes a pixel
        part = slice(start, start + rows)
        near = np.flatnonzero(true_boundary[part] | found_boundary[part] | trimap[part])
        flags = (one[part].ravel()[near] for one in (true_boundary, found_boundary, trimap))
        labels = [one[part].ravel()[near] for one in (truth, prediction)]
        # A code for each pixel, of its label and where it is, so that all counts come from one pass for each mask.
        place = sum((flag.astype(np.uint16) << 8 + bit for bit, flag in enumerate((*flags, labels[0] == labels[1]))))
        for counts, label in zip((true, found), labels):
            counts += np.bincount(place | label, minlength=counts.size).reshape(counts.shape)
    true, found = true[..., :classes], found[..., :classes]
    return BoundaryCounts(
        Counts(true[1, :, 1, 1].sum(0), true[:, :, :, 1].sum((0, 1, 2)), found[:, :, 1].sum((0, 1, 2))),
        Counts(true[1, 1].sum((0, 1)), true[:, 1].sum((0, 1, 2)), found[:, 1].sum((0, 1, 2))),
    )


_FIELDS = [(kind, field) for kind in ("boundary", "trimap") for field in ("hits", "truth", "predicted")]


def to_columns(images: Iterable[BoundaryCounts]) -> pd.DataFrame:
    """One row an image: ``outline_classes``, the classes that have such pixels, and lists of as many pixels."""
    rows = []
    for image in images:
        counts = {f"{kind}_{field}": getattr(getattr(image, kind), field) for kind, field in _FIELDS}
        occurring = np.flatnonzero(sum(counts.values()))
        rows.append({"outline_classes": occurring} | {name: values[occurring] for name, values in counts.items()})
    return pd.DataFrame(rows, columns=["outline_classes", *(f"{kind}_{field}" for kind, field in _FIELDS)])


def from_columns(table: pd.DataFrame, classes: int) -> BoundaryCounts:
    """The counts ``float64 (images, classes)`` of the columns of :func:`to_columns`.

    Raises:
        VocSegError: A row has a class that does not exist, or lists of different lengths.
    """
    counts = {
        kind: Counts(
            *(
                sum_cells(table, ["outline_classes"], f"{kind}_{field}", classes)
                for field in ("hits", "truth", "predicted")
            )
        )
        for kind in ("boundary", "trimap")
    }
    return BoundaryCounts(counts["boundary"], counts["trimap"])


def boundary_distance(shape: tuple[int, int]) -> int:
    """The distance d of an image ``(H, W)``, at least 1 pixel."""
    return max(1, round(DIAGONAL_SHARE * math.hypot(*shape)))


def near_other_label(labels: np.ndarray, distance: int, *, edge: bool) -> np.ndarray:
    """The pixels with another label within this distance, ``bool (H, W)``.

    Args:
        labels: ``uint8 (H, W)``.
        distance: In rows or columns, whichever is larger; at least 1.
        edge: Whether the outside of the image counts as another label.
    """
    padded = labels if edge else np.pad(labels, distance, mode="edge")
    found = np.ones(labels.shape, dtype=bool)
    height, width = (length - 2 * distance for length in padded.shape)
    if height > 0 and width > 0:
        uniform = _windows(padded, distance, np.minimum) == _windows(padded, distance, np.maximum)
        inside = slice(distance, -distance) if edge else slice(None)
        found[inside, inside] = ~uniform
    return found


def _windows(labels: np.ndarray, distance: int, reduce: np.ufunc) -> np.ndarray:
    """The minimum or maximum of each square of ``2 * distance + 1`` pixels inside the image."""
    size = 2 * distance + 1
    for axis in (0, 1):
        labels, covered = np.moveaxis(labels, axis, 0), 1
        while 2 * covered <= size:  # windows of 1, 2, 4 ... pixels, each from two of half its size
            labels = reduce(labels[:-covered], labels[covered:])
            covered *= 2
        if covered < size:
            labels = reduce(labels[: len(labels) - (size - covered)], labels[size - covered :])
        labels = np.moveaxis(labels, 0, axis)
    return labels


def summarise(boundaries: BoundaryCounts) -> dict[str, float | None]:
    """Boundary IoU and trimap mIoU of a split with their intervals, as in ``metrics.json``."""
    found: dict[str, float | None] = {}
    for name, counts in (("boundary_iou", boundaries.boundary), ("trimap_miou", boundaries.trimap)):
        found |= {name: float(counts.total().miou())} | score_intervals(counts, {name: Counts.miou})
    return found
