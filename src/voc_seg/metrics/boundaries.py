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

from .counts import Counts, groups_of, sum_cells
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


def count_boundaries(truth: np.ndarray, prediction: np.ndarray, classes: int) -> BoundaryCounts:
    """Count the pixels of an image near boundaries; the arguments are those of :func:`count_pixels`."""
    return count_pixels(truth, prediction, classes)[1]


def count_pixels(
    truth: np.ndarray, prediction: np.ndarray, classes: int, trimap: np.ndarray | None = None
) -> tuple[np.ndarray, BoundaryCounts]:
    """Count the pixels of an image, all of them and those near boundaries, in one pass.

    Args:
        truth: ``uint8 (H, W)``, class index or void.
        prediction: ``uint8 (H, W)``, class index.
        classes: Number of classes.
        trimap: :func:`trimap_of` the truth, if it is known.

    Returns:
        The confusion matrix ``int64 (classes, classes)``, rows truth and columns prediction; and the other counts.
    """
    distance = boundary_distance(truth.shape)
    prediction = np.maximum(prediction, (truth == VOID) * np.uint8(VOID))  # VOID is the largest label
    true_boundary, found_boundary = (near_other_label(labels, distance, edge=True) for labels in (truth, prediction))
    trimap = trimap_of(truth) if trimap is None else trimap
    sides = classes + 1  # the last one for void
    counts = np.zeros(sides * sides * 8, dtype=np.int64)
    rows = max(1, _STRIP // truth.shape[1])
    for start in range(0, len(truth), rows):  # in strips, as codes need several bytes a pixel
        part = slice(start, start + rows)
        # One code for each pixel, of its labels and where it is, so that all counts come from a single pass.
        limit = np.full(truth[part].shape, classes, dtype=np.uint8)  # numpy is far faster with two arrays
        code = np.minimum(truth[part], limit).astype(np.uint16 if counts.size < 2**16 else np.uint32)
        code *= sides
        code += np.minimum(prediction[part], limit)
        for place in (true_boundary, found_boundary, trimap):
            code *= 2
            code += place[part]
        # In runs of pixels alike: counting every pixel takes longer.
        code = code.ravel()
        starts = np.concatenate([[0], np.flatnonzero(code[1:] != code[:-1]) + 1])
        counts += np.bincount(code[starts], np.diff(starts, append=code.size), counts.size).astype(np.int64)
    by = counts.reshape(sides, sides, 2, 2, 2)  # by true and predicted label, true and predicted boundary, trimap
    true, predicted, both = by[:, :, 1].sum((2, 3)), by[:, :, :, 1].sum((2, 3)), by[:, :, 1, 1].sum(2)
    near_other = by[..., 1].sum((2, 3))
    found = BoundaryCounts(
        *(
            Counts(hits.diagonal()[:classes], of_truth.sum(1)[:classes], of_prediction.sum(0)[:classes])
            for hits, of_truth, of_prediction in ((both, true, predicted), (near_other, near_other, near_other))
        )
    )
    return by.sum((2, 3, 4))[:classes, :classes], found


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

    def counts(kind: str) -> Counts:
        hits, truth, predicted = (
            sum_cells(table, ["outline_classes"], f"{kind}_{field}", classes)
            for field in ("hits", "truth", "predicted")
        )
        return Counts(hits, truth, predicted, groups_of(table))

    return BoundaryCounts(counts("boundary"), counts("trimap"))


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
    height, width = labels.shape
    # A square has one label if no pixel of it differs from the next one in its row, and none of its middle column from
    # the next one in that column. Along columns, eight pixels are combined at once, as bits.
    rows, column = (
        np.packbits(differs, axis=1) for differs in (labels[:, :-1] != labels[:, 1:], labels[:-1] != labels[1:])
    )
    rows = np.unpackbits(_any_within(rows, distance, distance, height, 0), axis=1, count=width - 1)
    found = _any_within(rows, distance, distance - 1, width, 1)
    found |= np.unpackbits(_any_within(column, distance, distance - 1, height, 0), axis=1, count=width)
    if edge:
        found[:distance] = found[-distance:] = found[:, :distance] = found[:, -distance:] = True
    return found.view(bool)


def _any_within(flags: np.ndarray, before: int, after: int, length: int, axis: int) -> np.ndarray:
    """The bits of ``uint8 (H, W)`` that are set somewhere from so many places before to so many after, along an axis.

    The result has this length along the axis; nothing is set outside of ``flags``.
    """
    size, covered = before + after + 1, 1
    shape = [*flags.shape]
    shape[axis] = length + size - 1
    padded = np.zeros(shape, dtype=np.uint8)
    inside = [slice(places) for places in flags.shape]
    inside[axis] = slice(before, before + flags.shape[axis])
    padded[tuple(inside)] = flags
    # In one row: a window that begins in the result ends in the padding, so that none reaches into another row.
    found, step = padded.ravel(), padded.strides[axis]
    while 2 * covered <= size:  # windows of 1, 2, 4 ... places, each from two of half its size
        found = found[: -covered * step] | found[covered * step :]
        covered *= 2
    if covered < size:
        found = found[: -(size - covered) * step] | found[(size - covered) * step :]
    padded.ravel()[: len(found)] = found
    shape[axis] = length
    return padded[: shape[0], : shape[1]]


def summarise(boundaries: BoundaryCounts) -> dict[str, float | None]:
    """Boundary IoU and trimap mIoU of a split with their intervals, as in ``metrics.json``."""
    found: dict[str, float | None] = {}
    for name, counts in (("boundary_iou", boundaries.boundary), ("trimap_miou", boundaries.trimap)):
        found |= {name: float(counts.total().miou())} | score_intervals(counts, {name: Counts.miou})
    return found
