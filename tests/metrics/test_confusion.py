"""Scores: worked out by hand, and against torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from voc_seg.metrics.confusion import (
    all_background,
    class_iou,
    class_scores,
    confusion_matrix,
    is_baseline,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
    summarise,
)

# Truth and prediction of ten pixels, four classes. Void twice; class 2 is predicted but never true; class 3
# appears in neither.
TRUTH = torch.tensor([[0, 0, 0, 0, 255], [1, 1, 1, 0, 255]], dtype=torch.uint8)
PREDICTION = torch.tensor([[0, 0, 0, 1, 1], [1, 1, 2, 0, 0]], dtype=torch.uint8)
BY_HAND = np.array([
    [4, 1, 0, 0],
    [0, 2, 1, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
])  # fmt: skip
NAN = float("nan")


@pytest.fixture(scope="module")
def random_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Truth with void and without classes 5 and 9; prediction without 9, so that 9 is absent and 5 is not."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 21, (3, 60, 70), generator=generator)
    guess = torch.randint(0, 21, truth.shape, generator=generator)
    prediction = torch.where(torch.rand(truth.shape, generator=generator) < 0.6, truth, guess)
    truth[(truth == 5) | (truth == 9)] = 0
    prediction[prediction == 9] = 1
    truth[torch.rand(truth.shape, generator=generator) < 0.1] = 255
    return truth, prediction


class TestByHand:
    confusion = confusion_matrix(TRUTH, PREDICTION, 4).numpy()

    def test_confusion_has_rows_truth_columns_prediction_and_no_void(self) -> None:
        assert self.confusion.dtype == np.int64
        np.testing.assert_array_equal(self.confusion, BY_HAND)

    def test_iou_of_an_absent_class_is_nan_and_of_a_never_true_one_zero(self) -> None:
        # intersections 4, 2, 0, 0; unions 5 + 4 - 4 = 5, 3 + 3 - 2 = 4, 0 + 1 - 0 = 1, 0
        np.testing.assert_allclose(class_iou(self.confusion), [4 / 5, 2 / 4, 0, NAN])

    def test_mean_counts_the_never_true_class_and_leaves_the_absent_one_out(self) -> None:
        assert mean_iou(self.confusion) == pytest.approx((0.8 + 0.5 + 0) / 3)

    def test_precision_recall_and_accuracy(self) -> None:
        np.testing.assert_allclose(precision(self.confusion), [1, 2 / 3, 0, NAN])
        np.testing.assert_allclose(recall(self.confusion), [4 / 5, 2 / 3, NAN, NAN])
        assert pixel_accuracy(self.confusion) == pytest.approx(6 / 8)

    def test_summary(self) -> None:
        assert summarise(self.confusion) == pytest.approx(
            {
                "miou": 1.3 / 3,
                "pixel_accuracy": 6 / 8,
                "mean_class_accuracy": (4 / 5 + 2 / 3) / 2,
                "frequency_weighted_iou": 5 / 8 * 0.8 + 3 / 8 * 0.5,
                "classes_present": 3,
                "classes_declared": 4,
                "all_background_miou": (5 / 8 + 0) / 2,
            }
        )

    def test_the_summary_holds_plain_numbers(self) -> None:
        assert {type(value) for value in summarise(self.confusion).values()} == {float, int}

    def test_class_table(self) -> None:
        table = class_scores(self.confusion, ["background", "a", "b", "c"])
        assert list(table.columns) == [
            "class_index", "class_name", "iou", "precision", "recall", "true_pixels", "predicted_pixels",
        ]  # fmt: skip
        assert table["class_name"].tolist() == ["background", "a", "b", "c"]
        assert table["true_pixels"].tolist() == [5, 3, 0, 0]
        assert table["predicted_pixels"].tolist() == [4, 3, 1, 0]
        assert table["iou"].isna().tolist() == [False, False, False, True]
        assert table.to_csv(index=False).splitlines()[-1] == "3,c,,,,0,0"


def test_all_background_floor() -> None:
    baseline = all_background(BY_HAND)
    np.testing.assert_array_equal(baseline, [[5, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert pixel_accuracy(baseline) == pytest.approx(5 / 8)
    # Class 0 has 5 of 8 pixels; class 1 is true but never predicted and counts 0; 2 and 3 are absent.
    assert mean_iou(baseline) == pytest.approx((5 / 8 + 0) / 2)


def test_baseline_of_voc_like_shares() -> None:
    # 73 % background and 20 further classes, all missed: 0.73 / 21, the 3.5 % known from VOC.
    confusion = np.diag([7300] + [135] * 20)
    assert summarise(confusion)["all_background_miou"] == pytest.approx(0.73 / 21)


def test_all_void_scores_do_not_exist() -> None:
    confusion = confusion_matrix(torch.full((4, 4), 255), torch.zeros(4, 4, dtype=torch.long), 3).numpy()
    assert confusion.sum() == 0
    assert np.isnan(class_iou(confusion)).all()
    scores = summarise(confusion)
    assert scores.pop("classes_present") == 0
    assert scores.pop("classes_declared") == 3
    assert np.isnan(list(scores.values())).all(), scores


def test_a_perfect_prediction_scores_one() -> None:
    confusion = confusion_matrix(TRUTH, torch.where(TRUTH == 255, 1, TRUTH), 4).numpy()
    assert mean_iou(confusion) == pixel_accuracy(confusion) == 1
    assert summarise(confusion)["classes_present"] == 2


def test_every_value_from_the_class_count_up_is_void() -> None:
    confusion = confusion_matrix(torch.tensor([0, 1, 2, 254, 255]), torch.tensor([1, 1, 0, 0, 1]), 2)
    assert confusion.tolist() == [[0, 1], [0, 1]]


def test_sum_over_images_equals_one_big_image(random_pixels: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth, prediction = random_pixels
    summed = sum(confusion_matrix(t, p, 21) for t, p in zip(truth, prediction))
    assert torch.equal(summed, confusion_matrix(truth, prediction, 21))


def test_agrees_with_torchmetrics(random_pixels: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth, prediction = random_pixels
    confusion = confusion_matrix(truth, prediction, 21).numpy()
    theirs = MulticlassJaccardIndex(num_classes=21, average=None, ignore_index=255)(prediction, truth).numpy()
    ours = class_iou(confusion)
    # torchmetrics reports an absent class as 0; voc_seg as NaN, which the mean ignores.
    assert np.isnan(ours).tolist() == [index == 9 for index in range(21)]
    assert theirs[9] == 0
    assert ours[5] == theirs[5] == 0
    present = ~np.isnan(ours)
    np.testing.assert_allclose(ours[present], theirs[present], rtol=1e-6)
    assert mean_iou(confusion) == pytest.approx(theirs[present].mean(), rel=1e-6)

    micro = MulticlassAccuracy(num_classes=21, average="micro", ignore_index=255)(prediction, truth)
    assert pixel_accuracy(confusion) == pytest.approx(float(micro), rel=1e-6)
    each = MulticlassAccuracy(num_classes=21, average=None, ignore_index=255)(prediction, truth).numpy()
    true = ~np.isnan(recall(confusion))
    np.testing.assert_allclose(recall(confusion)[true], each[true], rtol=1e-6)


def test_agrees_with_scikit_learn(random_pixels: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth, prediction = (pixels.numpy() for pixels in random_pixels)
    truth, prediction = truth[truth != 255], prediction[truth != 255]
    confusion = confusion_matrix(*random_pixels, 21).numpy()
    labels = range(21)
    np.testing.assert_array_equal(confusion, sklearn_metrics.confusion_matrix(truth, prediction, labels=labels))
    theirs = sklearn_metrics.jaccard_score(truth, prediction, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(np.nan_to_num(class_iou(confusion)), theirs)
    weighted = sklearn_metrics.jaccard_score(truth, prediction, labels=labels, average="weighted", zero_division=0)
    assert summarise(confusion)["frequency_weighted_iou"] == pytest.approx(weighted)
    present = np.unique(truth)
    macro = sklearn_metrics.recall_score(truth, prediction, labels=present, average="macro")
    assert summarise(confusion)["mean_class_accuracy"] == pytest.approx(macro)


@pytest.mark.parametrize(
    ("miou", "baseline", "same"),
    [(0.035, 0.035, True), (0.03512, 0.035, True), (0.03, 0.035, True), (0.04, 0.035, False), (1.0, 1.0, True),
     (NAN, NAN, False), (None, None, False)],
)  # fmt: skip
def test_no_better_than_background_everywhere(miou: float | None, baseline: float | None, same: bool) -> None:
    assert is_baseline(miou, baseline) is same
