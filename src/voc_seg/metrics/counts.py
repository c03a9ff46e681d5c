"""Pixels by class in single images, from which the scores of any selection of the images follow.

The formulas are those of `voc_seg.metrics.confusion`; they act on the last axis, so one call scores one split, every
image of it, or the split without each of its images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from voc_seg.system.errors import VocSegError


@dataclass(frozen=True)
class Counts:
    """Pixels of each class, ``(..., classes)`` of any number type; leading axes may be images.

    Images of one group, as frames of one video, are not independent. ``groups`` has the group of each image, ``object
    (images,)`` of strings, empty for an image on its own; None if every image is.
    """

    hits: np.ndarray  # of this class and predicted so
    truth: np.ndarray  # of this class
    predicted: np.ndarray  # predicted as this class
    groups: np.ndarray | None = None

    @classmethod
    def of(cls, confusion: np.ndarray) -> Counts:
        """The counts of confusion matrices ``(..., classes, classes)``, rows truth and columns prediction."""
        return cls(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2))

    def __len__(self) -> int:
        return len(self.truth)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.truth + other.truth, self.predicted + other.predicted)

    def take(self, images: np.ndarray) -> Counts:
        """The counts of images at these positions, in this order."""
        groups = None if self.groups is None else self.groups[images]
        return Counts(self.hits[images], self.truth[images], self.predicted[images], groups)

    @classmethod
    def concatenate(cls, parts: Sequence[Counts]) -> Counts:
        """The counts of the images of several parts, one after another."""
        grouped = any(part.groups is not None for part in parts)
        keys = [np.full(len(part), "", object) if part.groups is None else part.groups for part in parts]
        hits, truth, predicted = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("hits", "truth", "predicted")
        )
        return cls(hits, truth, predicted, np.concatenate(keys) if grouped else None)

    def by_group(self) -> Counts:
        """The counts of independent parts: of every group, and of every image without one."""
        if self.groups is None:
            return self
        keys: list[object] = [key or index for index, key in enumerate(self.groups)]
        codes, found = pd.factorize(np.array(keys, object))
        summed = []
        for counts in (self.hits, self.truth, self.predicted):
            summed.append(np.zeros((len(found), counts.shape[-1]), counts.dtype))
            np.add.at(summed[-1], codes, counts)
        return Counts(*summed)

    def total(self) -> Counts:
        """The counts of all images together."""
        return Counts(self.hits.sum(0), self.truth.sum(0), self.predicted.sum(0))

    def leave_one_out(self) -> Counts:
        """The counts of all images but one, for each image."""
        total = self.total()
        return Counts(total.hits - self.hits, total.truth - self.truth, total.predicted - self.predicted)

    def iou(self) -> np.ndarray:
        """IoU of each class, ``float64 (..., classes)``; NaN where the class is absent."""
        return _ratio(self.hits, self.truth + self.predicted - self.hits)

    def recall(self) -> np.ndarray:
        """Share of each class's true pixels found, ``float64 (..., classes)``; NaN where it is never true."""
        return _ratio(self.hits, self.truth)

    def precision(self) -> np.ndarray:
        """Share of each class's predicted pixels that are right; NaN where it is never predicted."""
        return _ratio(self.hits, self.predicted)

    def miou(self) -> np.ndarray:
        """Mean IoU over the classes present, ``float64 (...)``; NaN when there is none."""
        return _mean(self.iou())

    def pixel_accuracy(self) -> np.ndarray:
        """Share of labelled pixels predicted right, ``float64 (...)``; NaN when there is none."""
        return _ratio(self.hits.sum(-1), self.truth.sum(-1))

    def mean_class_accuracy(self) -> np.ndarray:
        """Mean recall over the classes that are true somewhere, ``float64 (...)``; NaN when there is none."""
        return _mean(self.recall())

    def frequency_weighted_iou(self) -> np.ndarray:
        """Mean IoU weighted by the true pixels of the classes, ``float64 (...)``; NaN when there is none."""
        weighted = np.nansum(self.truth * self.iou(), axis=-1)
        return _ratio(weighted, self.truth.sum(-1))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.true_divide(numerator, denominator)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis without NaN; NaN where nothing else is there."""
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(-1), present.sum(-1))


def to_table(ids: Sequence[str], confusions: Iterable[np.ndarray]) -> pd.DataFrame:
    """The confusion matrices of images as one row an image, with only the cells that are not 0.

    Returns:
        Columns image_id, and of equal length in each row: truth and predicted (class indices), pixels.
    """
    rows = []
    for image_id, confusion in zip(ids, confusions, strict=True):
        truth, predicted = np.nonzero(confusion)
        rows.append((image_id, truth, predicted, confusion[truth, predicted]))
    return pd.DataFrame(rows, columns=["image_id", "truth", "predicted", "pixels"])


def from_table(table: pd.DataFrame, classes: int) -> Counts:
    """The counts ``float64 (images, classes)`` of a table of :func:`to_table`, in its order; exact below 2**53 pixels.

    Raises:
        VocSegError: A row has a class that does not exist, or lists of different lengths.
    """
    return Counts(
        sum_cells(table, ["truth", "predicted"], "pixels", classes),
        sum_cells(table, ["truth"], "pixels", classes),
        sum_cells(table, ["predicted"], "pixels", classes),
        groups_of(table),
    )


def groups_of(table: pd.DataFrame) -> np.ndarray | None:
    """The column ``group`` of a table of images as the ``groups`` of `Counts`; None without one."""
    return table["group"].fillna("").to_numpy(object) if "group" in table.columns else None


def sum_cells(table: pd.DataFrame, by: Sequence[str], pixels: str, classes: int) -> np.ndarray:
    """Sum a column of lists by image and class, ``float64 (images, classes)``.

    Args:
        table: One row an image.
        by: Columns with the classes of the cells, as lists; a cell with different ones is not counted.
        pixels: The column with the pixels of the cells.
        classes: Number of classes.

    Raises:
        VocSegError: A class does not exist, or lists have different lengths.
    """
    lengths = np.array([[len(cells) for cells in table[name]] for name in (*by, pixels)], dtype=int)
    first, *others, found = (
        np.concatenate([np.empty(0, np.int64), *(np.asarray(cells, np.int64) for cells in table[name])])
        for name in (*by, pixels)
    )
    if (lengths != lengths[0]).any() or any(((one < 0) | (one >= classes)).any() for one in (first, *others)):
        raise VocSegError(
            f"The pixel counts of the images do not fit {classes} classes. Recreate them with: kedro run "
            "--pipelines evaluation"
        )
    counted = np.all([other == first for other in others], axis=0) if others else slice(None)
    cells = np.repeat(np.arange(len(table)), lengths[0]) * classes + first
    return np.bincount(cells[counted], found[counted], len(table) * classes).reshape(len(table), classes)
