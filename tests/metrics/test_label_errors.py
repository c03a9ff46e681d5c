"""Label quality and confident thresholds: by hand, and against cleanlab's formulas."""

import math

import numpy as np
import pytest

from voc_seg.metrics.label_errors import TEMPERATURE, LabelSums, softmin, softmin_sums


def probabilities_of(rng: np.random.Generator, pixels: int, classes: int) -> np.ndarray:
    found = np.exp(2 * rng.normal(size=(pixels, classes)))
    return found / found.sum(1, keepdims=True)


def cleanlab_softmin(scores: np.ndarray) -> float:
    """``softmin`` of cleanlab 2.9, ``internal/multilabel_scorer.py``: the inner product with softmax(1 - scores)."""
    exponents = (1 - scores) / TEMPERATURE
    weights = np.exp(exponents - exponents.max())
    return float(scores @ (weights / weights.sum()))


def cleanlab_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """``get_confident_thresholds`` of cleanlab 2.9: the mean self-confidence of each class."""
    return np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])


def test_quality_by_hand() -> None:
    """Two pixels with probabilities 1 and 0.9 of their labels: weights 1 and e."""
    found = softmin(softmin_sums(np.array([1.0, 0.9], dtype=np.float32)))
    assert found == pytest.approx((1 + 0.9 * math.e) / (1 + math.e), rel=1e-6)


def test_a_single_wrong_pixel_outweighs_a_thousand_right_ones() -> None:
    probabilities = np.full(1001, 0.99)
    right = softmin(softmin_sums(probabilities))
    probabilities[0] = 0.0
    assert right == pytest.approx(0.99)
    assert softmin(softmin_sums(probabilities)) < 0.1


def test_quality_is_cleanlabs() -> None:
    rng = np.random.default_rng(0)
    for pixels in (1, 7, 5000):
        scores = rng.random(pixels)
        assert softmin(softmin_sums(scores)) == pytest.approx(cleanlab_softmin(scores), rel=1e-12)


def test_the_parts_of_an_image_add_up() -> None:
    scores = np.random.default_rng(0).random(100)
    parts = softmin_sums(scores[:30]) + softmin_sums(scores[30:]) + softmin_sums(scores[:0])
    assert softmin(parts) == pytest.approx(softmin(softmin_sums(scores)), rel=1e-12)


def test_an_image_without_a_label_has_no_quality() -> None:
    assert math.isnan(softmin(softmin_sums(np.zeros(0))))


def test_thresholds_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    sums = LabelSums.of(labels, predicted, np.array([0.9, 0.8, 0.1, 0.5]), 3)
    assert sums.thresholds()[:2] == pytest.approx([0.6, 0.5])
    assert sums.recall()[:2] == pytest.approx([2 / 3, 1.0])
    assert sums.pixels.tolist() == [3, 1, 0]


def test_thresholds_are_cleanlabs_and_images_add_up() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = probabilities_of(rng, 4000, 4), rng.integers(0, 4, 4000)
    of_label = probabilities[np.arange(4000), labels]
    parts = [LabelSums.of(labels[part], probabilities[part].argmax(1), of_label[part], 4)
             for part in (slice(1000), slice(1000, None))]  # fmt: skip
    assert (parts[0] + parts[1]).thresholds() == pytest.approx(cleanlab_thresholds(labels, probabilities), rel=1e-12)


def test_an_absent_class_has_no_threshold_and_is_not_judged() -> None:
    sums = LabelSums.of(np.array([0, 0]), np.array([0, 1]), np.array([0.9, 0.2]), 2)
    assert math.isnan(sums.thresholds()[1])
    assert not np.float16(0.99) >= sums.thresholds()[1], "so it is never suggested"
    assert sums.judged().tolist() == [True, False]


def test_a_class_that_the_network_never_predicts_is_not_judged() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    sums = LabelSums.of(labels, np.zeros(20, dtype=int), np.where(labels == 0, 0.9, 0.01), 2)
    assert sums.judged().tolist() == [True, False]
