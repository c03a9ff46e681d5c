"""The confusion matrix of a split, and every score derived from it.

Definitions follow Long et al., "Fully Convolutional Networks for Semantic Segmentation" (CVPR 2015), section
5, and the VOC development kit (``VOCevalseg.m``): with ``n[i, j]`` the pixels of true class i predicted as j,
``t[i] = sum_j n[i, j]`` and ``p[j] = sum_i n[i, j]``,

    IoU[i]                = n[i, i] / (t[i] + p[i] - n[i, i])
    mIoU                  = mean of IoU[i] over the classes with t[i] + p[i] > 0
    pixel accuracy        = sum_i n[i, i] / sum_i t[i]
    mean class accuracy   = mean of n[i, i] / t[i] over the classes with t[i] > 0
    frequency-weighted IoU = sum_i t[i] IoU[i] / sum_i t[i]

A class that is neither true nor predicted anywhere is absent: its IoU is NaN here, an empty cell in tables,
and the mean excludes it. A class that is predicted but never true scores 0 and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .counts import Counts

if TYPE_CHECKING:  # torch takes a second or two, and tables and figures of the data need none
    from torch import Tensor


def confusion_matrix(truth: Tensor, prediction: Tensor, classes: int) -> Tensor:
    """Count pixels by true and predicted class, ``int64 (classes, classes)``: rows truth, columns prediction.

    The result stays on the device of its arguments.

    Args:
        truth: Integer tensor of any shape. Values from ``classes`` up are void (255 in VOC) and not counted.
        prediction: Integer tensor of the same shape, values in {0..classes-1}.
        classes: Number of classes.
    """
    # Void gets a row of its own that is cut off afterwards: cheaper than masking every pixel first.
    rows = truth.flatten().long().clamp(max=classes)
    cells, size = rows * classes + prediction.flatten().long(), (classes + 1) * classes
    if cells.is_cpu:
        counts = cells.bincount(minlength=size)
    else:  # bincount would wait for the device, to learn the largest value
        counts = cells.new_zeros(size).scatter_add_(0, cells, cells.new_ones(1).expand_as(cells))
    return counts.view(classes + 1, classes)[:classes]


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class, ``float64 (classes,)``; NaN where the class is absent."""
    return Counts.of(confusion).iou()


def mean_iou(confusion: np.ndarray) -> float:
    """Mean IoU over the classes present; NaN when there is none."""
    return float(Counts.of(confusion).miou())


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Share of labelled pixels predicted right; NaN when there is none."""
    return float(Counts.of(confusion).pixel_accuracy())


def recall(confusion: np.ndarray) -> np.ndarray:
    """Share of each class's true pixels found, ``float64 (classes,)``; NaN where it is never true."""
    return Counts.of(confusion).recall()


def precision(confusion: np.ndarray) -> np.ndarray:
    """Share of each class's predicted pixels that are right, ``float64 (classes,)``; NaN where never predicted."""
    return Counts.of(confusion).precision()


def all_background(confusion: np.ndarray) -> np.ndarray:
    """The confusion matrix of predicting background (class 0) everywhere on the same pixels."""
    baseline = np.zeros_like(confusion)
    baseline[:, 0] = confusion.sum(1)
    return baseline


def summarise(confusion: np.ndarray) -> dict[str, float | int]:
    """The scores of a split, as in ``metrics.json``."""
    counts = Counts.of(confusion)
    return {
        "miou": float(counts.miou()),
        "pixel_accuracy": float(counts.pixel_accuracy()),
        "mean_class_accuracy": float(counts.mean_class_accuracy()),
        "frequency_weighted_iou": float(counts.frequency_weighted_iou()),
        "classes_present": int((~np.isnan(counts.iou())).sum()),
        "classes_declared": len(confusion),
        "all_background_miou": mean_iou(all_background(confusion)),
    }


def is_baseline(miou: float | None, baseline: float | None) -> bool:
    """Whether a mIoU is no better than the baseline in the three decimals shown; False if either is absent."""
    if miou is None or baseline is None or np.isnan([miou, baseline]).any():
        return False
    return round(miou, 3) <= round(baseline, 3)


def class_scores(confusion: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """One row a class, as in ``class_scores.csv``; NaN (an empty cell) where a score does not exist."""
    return pd.DataFrame({
        "class_index": range(len(class_names)),
        "class_name": list(class_names),
        "iou": class_iou(confusion),
        "precision": precision(confusion),
        "recall": recall(confusion),
        "true_pixels": confusion.sum(1),
        "predicted_pixels": confusion.sum(0),
    })  # fmt: skip
