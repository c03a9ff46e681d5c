"""Checks that outputs shown together come from one model and one evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from voc_seg.metrics import confusion as scores
from voc_seg.metrics.calibration import Calibration, from_rows
from voc_seg.metrics.calibration import summarise as summarise_calibration
from voc_seg.metrics.counts import Counts, from_table
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted

_AGAIN = "Recreate them with: kedro run --pipelines evaluation"


def is_score_of(metrics: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Whether scores belong to this model: by digest if both have one, else by epoch and mIoU (earlier versions)."""
    if {"model_digest"} <= metrics.keys() & saved.keys() and metrics["model_digest"] != saved["model_digest"]:
        return False
    scored = metrics.get("checkpoint_epoch"), metrics.get("checkpoint_val_miou")
    return scored == (saved["epoch"], saved["val_miou"])


def require_values(values: Mapping[str, Any], name: str) -> None:
    """Refuse an empty entry: it is optional in the catalog, as other pipelines do not need it."""
    if not values:
        raise VocSegError(f"{name} is missing. Create it with: kedro run --pipelines evaluation")


def require_same_model(metrics: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Refuse scores of another model, which part of an evaluation would use after a new training or calibration."""
    require_values(metrics, "metrics")
    same = {"model_digest": "model_digest", "checkpoint_epoch": "epoch", "temperature": "temperature"}
    for key, field in same.items():
        expected = saved.get(field, 1.0 if field == "temperature" else None)
        if (found := metrics.get(key, expected)) != expected:
            raise VocSegError(
                f"metrics.json belongs to another model than best_model.pth: {key} {found}, not {expected}. Score the "
                "current model with: kedro run --pipelines evaluation"
            )


def require_same_counts(
    metrics: Mapping[str, Any], confusion: pd.DataFrame, class_scores: pd.DataFrame | None = None
) -> None:
    """Refuse scores that do not match the confusion matrix, as they are from another evaluation."""
    for key, value in scores.summarise(confusion.to_numpy()).items():
        if key in metrics and not _same(metrics[key], value):
            raise VocSegError(
                f"metrics.json and confusion_matrix.csv are from different evaluations: {key} is {metrics[key]}, but "
                f"{value} by the matrix. {_AGAIN}"
            )
    if class_scores is None:
        return
    names = list(confusion.columns)
    ious = scores.class_iou(confusion.to_numpy())
    if list(class_scores["class_name"]) != names or not all(map(_same, class_scores["iou"], ious)):
        raise VocSegError(f"class_scores.csv and confusion_matrix.csv are from different evaluations. {_AGAIN}")


def counts_of_images(image_confusions: pd.DataFrame, confusion: pd.DataFrame) -> Counts:
    """The counts of single images, in the order of the table; refused if they do not add up to the confusion matrix."""
    counts = from_table(image_confusions, len(confusion))
    total, expected = counts.total(), Counts.of(confusion.to_numpy())
    pairs = ((total.hits, expected.hits), (total.truth, expected.truth), (total.predicted, expected.predicted))
    if not all(np.array_equal(*pair) for pair in pairs):
        raise VocSegError(f"image_confusions.parquet and confusion_matrix.csv are from different evaluations. {_AGAIN}")
    return counts


def calibration_of(bins: pd.DataFrame, metrics: Mapping[str, Any], class_names: Sequence[str]) -> Calibration:
    """The sums of ``confidence_bins.parquet``: refused if not those of the scores, empty if the scores have none."""
    found = from_rows(bins if "ece" in metrics else bins.iloc[:0], class_names)
    if "ece" in metrics and not _same(metrics["ece"], summarise_calibration(found)["ece"]):
        raise VocSegError(f"confidence_bins.parquet and metrics.json are from different evaluations. {_AGAIN}")
    return found


def require_same_images(ids: Iterable[str], predictions: Mapping[str, Any], image_scores: pd.DataFrame) -> None:
    """Refuse masks and scores unless they cover exactly the images of the split."""
    known, scored = set(ids), set(image_scores["image_id"])
    # Checked one by one: some Macs list file names in another Unicode form than the ids.
    masked = {image_id for image_id in known if image_id in predictions}
    for what, lacking in (("image_scores.csv lacks", known - scored), ("predictions lack", known - masked)):
        if lacking:
            raise VocSegError(
                f"{what} {len(lacking)} of the images of evaluation.split, such as {min(lacking)}: they are from "
                f"another evaluation. {_AGAIN}"
            )
    if more := scored - known:
        raise VocSegError(
            f"image_scores.csv has {counted(len(more), 'image')} not in evaluation.split, such as {min(more)}: it is "
            f"from another evaluation. {_AGAIN}"
        )


def require_same_mask(image_id: str, ious: Iterable[float], miou: float | None) -> None:
    """Refuse a mask whose mean IoU differs from ``image_scores.csv``.

    ``ious`` are those of every class in its truth or prediction, ``miou`` is the value of the table, NaN or None if it
    has none.
    """
    found = list(ious)
    mean = float(np.mean(found)) if found else float("nan")
    if not _same(miou, mean, 1e-3):
        raise VocSegError(
            f"predictions and image_scores.csv are from different evaluations: {image_id} has mIoU "
            f"{'none' if miou is None else format(miou, '.4g')} in the table, but {mean:.4g} by its mask. {_AGAIN}"
        )


def require_same_size(image_id: str, truth: np.ndarray, prediction: np.ndarray) -> None:
    """Refuse a predicted mask whose size differs from that of the image."""
    if truth.shape != prediction.shape:
        raise VocSegError(
            f"predictions are of other images: the mask of {image_id} has size {prediction.shape}, the image "
            f"{truth.shape}. {_AGAIN}"
        )


def _same(one: Any, other: Any, tolerance: float = 1e-9) -> bool:
    first, second = (float("nan") if value is None else float(value) for value in (one, other))
    return bool(np.isclose(first, second, rtol=0, atol=tolerance, equal_nan=True))
