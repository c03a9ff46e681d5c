"""The score table fits a console and says what the numbers are worth."""

import numpy as np
import pandas as pd
import pytest

from voc_seg.reporting.tables import score_table, score_warnings
from voc_seg.voc.classes import CLASS_NAMES

METRICS = {
    "split": "val",
    "images": 1449,
    "miou": 0.5123,
    "pixel_accuracy": 0.871,
    "mean_class_accuracy": 0.61,
    "frequency_weighted_iou": 0.78,
    "classes_present": 19,
    "all_background_miou": 0.035,
    "checkpoint_epoch": 12,
    "images_per_second": 23.44,
}


@pytest.fixture
def scores() -> pd.DataFrame:
    iou = np.full(21, 0.5)
    iou[[0, 1, 2, 3]] = [1.0, np.nan, 0.0, 0.6]
    true_pixels = np.full(21, 10)
    true_pixels[[0, 1, 2, 3]] = [734, 0, 0, 96]  # with 17 times 10: a thousand
    table = {"class_index": range(21), "class_name": CLASS_NAMES, "iou": iou, "precision": iou, "recall": iou}
    table["recall"] = np.where(true_pixels == 0, np.nan, iou)
    return pd.DataFrame({**table, "true_pixels": true_pixels, "predicted_pixels": 10})


def row(table: str, name: str) -> list[str]:
    return next(line for line in table.splitlines() if line.startswith(name)).split()


def test_fits_the_console_beside_time_and_level_even_with_a_perfect_score_and_a_long_name(scores):
    scores.loc[0, "class_name"] = "an uncommonly long class name"
    lines = score_table(scores, METRICS).splitlines()
    assert max(map(len, lines)) <= 62
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)


def test_rows_hold_iou_precision_recall_and_share_in_per_cent(scores):
    table = score_table(scores, METRICS)
    assert row(table, "background") == ["background", "100.0", "-", "100.0", "100.0", "73.4"]
    assert row(table, "bird") == ["bird", "60.0", "-", "60.0", "60.0", "9.6"]


def test_intervals_are_beside_the_scores(scores):
    ends = {"miou_low": 0.49, "miou_high": 0.5312, "pixel_accuracy_low": 0.86, "pixel_accuracy_high": 0.88}
    table = score_table(scores.assign(iou_low=0.41, iou_high=1.0), METRICS | ends)
    assert row(table, "bird") == ["bird", "60.0", "41.0", "to", "100.0", "60.0", "60.0", "9.6"]
    assert "95 % intervals: mIoU 0.490 to 0.531, accuracy 0.860 to 0.880\n" in table
    assert max(map(len, table.splitlines())) <= 62
    assert "intervals" not in score_table(scores, METRICS)
    assert "intervals" not in score_table(scores, METRICS | dict.fromkeys(ends))


def test_absent_is_not_zero(scores):
    table = score_table(scores, METRICS)
    assert row(table, "aeroplane") == ["aeroplane", "absent", "-", "-", "-", "0.0"]
    assert row(table, "bicycle") == ["bicycle", "0.0", "-", "0.0", "-", "0.0"]


def test_footer_shows_the_baseline_beside_the_score(scores):
    table = score_table(scores, METRICS)
    assert "mIoU 0.512 (all background: 0.035), mean over 19 of 21 classes" in table
    # The background's share of the labelled pixels is that baseline.
    assert "pixel accuracy 0.871 (all background: 0.734)" in table
    assert "mean class accuracy 0.610\nfrequency-weighted IoU 0.780\n" in table
    assert table.endswith("images 1449, checkpoint epoch 12, 23.4 images/s")


def test_the_baseline_of_data_without_a_background_has_the_name_of_the_first_class(scores):
    scores.loc[0, "class_name"] = "road"
    assert "(all road: 0.035)" in score_table(scores, METRICS)
    (warning,) = score_warnings(scores.assign(iou=0.5), {**METRICS, "miou": 0.0351})
    assert "the baseline, road everywhere (0.035)" in warning
    scores.loc[0, "class_name"] = "an uncommonly long class name"
    assert "(all class 0: 0.035)" in score_table(scores, METRICS)


def test_a_split_without_labelled_pixels(scores):
    nothing = {key: None if "miou" in key or "acc" in key else value for key, value in METRICS.items()}
    table = score_table(scores.assign(iou=None, precision=None, recall=None, true_pixels=0), nothing)
    assert "mIoU absent (all background: absent)" in table
    assert "pixel accuracy absent (all background: absent)" in table


def test_a_score_that_is_only_the_baseline_is_called_so(scores):
    complete = scores.assign(iou=0.5)
    assert score_warnings(complete, METRICS) == []
    (warning,) = score_warnings(complete, {**METRICS, "miou": 0.0351})
    assert warning == "mIoU 0.035 on val is no better than the baseline, background everywhere (0.035)."


def test_a_score_over_fewer_classes_than_declared_names_them(scores):
    (warning,) = score_warnings(scores, {**METRICS, "classes_present": 20})
    assert "mean over 20 of 21 declared classes" in warning
    assert warning.endswith("predicted there: aeroplane.")
    many = scores.assign(iou=[0.9, *[np.nan] * 20])
    assert score_warnings(many, METRICS)[0].endswith("aeroplane, bicycle, bird, boat, bottle and 15 more.")


def test_scores_that_are_not_at_the_images_own_size_say_so(scores):
    assert "stored size" not in score_table(scores, METRICS)
    lines = score_table(scores, METRICS | {"longer_side": 8192}).splitlines()
    assert lines[-1] == "at the stored size: longer side 8192 (data.longer_side)"
    assert max(map(len, lines)) <= 62


@pytest.mark.parametrize(("trained", "scored", "said"), [(None, 64, ("null", "64")), (512, None, ("512", "null"))])
def test_a_score_at_another_stored_size_than_that_of_the_training_is_warned_of(scores, trained, scored, said):
    metrics = METRICS | {"trained_longer_side": trained} | ({"longer_side": scored} if scored else {})
    (warning,) = score_warnings(scores.assign(iou=0.5), metrics)
    assert (
        f"trained at data.longer_side={said[0]}, but these images were stored at data.longer_side={said[1]}" in warning
    )
