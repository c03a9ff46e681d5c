"""Regions whose label is in doubt, in masks small enough to count by hand."""

import numpy as np
import pytest

from voc_seg.metrics.label_errors import LabelSums
from voc_seg.metrics.label_regions import Disagreements, find_regions, least_width
from voc_seg.voc.classes import VOID

SHAPE = (60, 80)  # a diagonal of 100 pixels: strips of one or two pixels are no region
SUMS = LabelSums(np.full(4, 1000), np.full(4, 900), np.full(4, 800.0))
"""Every class is known, with a threshold of 0.8."""


def differences(
    given: np.ndarray, predicted: np.ndarray, confidence: float | np.ndarray = 0.9, probability: float = 0.05
) -> Disagreements:
    where = np.flatnonzero((given != predicted) & (given != VOID))
    sure = np.broadcast_to(np.asarray(confidence, np.float16), given.shape).reshape(-1)[where]
    return Disagreements(
        given.shape, where.astype(np.uint32), given.reshape(-1)[where], predicted.reshape(-1)[where], sure,
        np.full(len(where), probability, np.float16),
    )  # fmt: skip


def blank(value: int = 0) -> np.ndarray:
    return np.full(SHAPE, value, dtype=np.uint8)


def test_a_missing_object_by_hand() -> None:
    predicted = blank()
    predicted[10:20, 30:50] = 2
    (region,) = find_regions(differences(blank(), predicted), SUMS)
    assert (region.rows, region.columns) == (slice(10, 20), slice(30, 50))
    assert (region.given, region.suggested, region.pixels) == (0, 2, 200)
    assert region.confidence == pytest.approx(0.9, abs=1e-3)
    assert region.score == pytest.approx(200 * 0.95, rel=1e-3), "the expected number of wrong pixels"


def test_only_confident_pixels_count() -> None:
    predicted, confidence = blank(), np.full(SHAPE, 0.79)
    predicted[10:20, 30:50] = 2
    assert find_regions(differences(blank(), predicted, confidence), SUMS) == []
    confidence[10:20, 30:40] = 0.81
    (region,) = find_regions(differences(blank(), predicted, confidence), SUMS)
    assert region.columns == slice(30, 40)


def test_the_threshold_is_that_of_the_predicted_class() -> None:
    predicted = blank()
    predicted[10:20, 10:20], predicted[10:20, 50:60] = 1, 2
    sums = LabelSums(SUMS.pixels, SUMS.hits, np.array([990.0, 950.0, 400.0, 800.0]))
    found = find_regions(differences(blank(), predicted, 0.6), sums)
    assert [region.suggested for region in found] == [2], "the network is never more confident of this class"


def test_void_is_no_error() -> None:
    given, predicted = blank(), blank()
    given[:30], predicted[:30] = VOID, 3
    assert find_regions(differences(given, predicted), SUMS) == []


def test_strips_along_outlines_are_no_regions() -> None:
    given, predicted = blank(), blank()
    given[20:40, 20:40], predicted[19:41, 19:41] = 1, 1
    assert least_width(SHAPE) == 3
    assert find_regions(differences(given, predicted, 0.99), SUMS) == []


def test_a_strip_at_the_edge_of_the_image_may_go_on_beyond_it() -> None:
    predicted = blank()
    predicted[58:, 20:60] = 1
    (region,) = find_regions(differences(blank(), predicted), SUMS)
    assert (region.rows, region.columns) == (slice(58, 60), slice(20, 60))


def test_regions_of_other_labels_or_predictions_are_separate_and_the_largest_is_first() -> None:
    given, predicted = blank(), blank()
    given[:, 40:] = 1
    predicted[10:20, 30:55] = 2  # over both labels
    predicted[40:50, 10:20], predicted[50:60, 20:30] = 3, 3  # joined at a corner
    found = find_regions(differences(given, predicted), SUMS)
    assert [(region.given, region.suggested, region.pixels) for region in found if region.suggested == 2] == [
        (1, 2, 150), (0, 2, 100),
    ]  # fmt: skip
    assert [region.pixels for region in found if (region.given, region.suggested) == (0, 3)] == [200]
    assert [region.score for region in found] == sorted((region.score for region in found), reverse=True)


def test_a_class_that_the_network_never_predicts_does_not_flood_the_list() -> None:
    given = blank()
    given[10:50, 10:70] = 3
    missed = LabelSums(SUMS.pixels, np.array([900, 900, 900, 0]), np.array([800.0, 800.0, 800.0, 5.0]))
    assert find_regions(differences(given, blank(), 0.99), SUMS)
    assert find_regions(differences(given, blank(), 0.99), missed) == []


def test_an_absent_class_is_never_suggested() -> None:
    predicted = blank()
    predicted[10:20, 30:50] = 3
    absent = LabelSums(np.array([1000, 1000, 1000, 0]), np.array([900, 900, 900, 0]), np.array([800.0] * 3 + [0.0]))
    assert find_regions(differences(blank(), predicted), absent) == []


def test_the_prediction_is_that_of_labelled_pixels() -> None:
    given, predicted = blank(), blank()
    given[:5], predicted[10:20, 30:50] = VOID, 2
    found = differences(given, predicted).prediction(given)
    assert (found[:5] == VOID).all() and (found[10:20, 30:50] == 2).all() and (found == 2).sum() == 200
