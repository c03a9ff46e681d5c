"""Calibration: by hand, and against torchmetrics and a sorted list of pixels."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from voc_seg.metrics.calibration import (
    BINS,
    FINE,
    STEP,
    Calibration,
    aurc,
    calibration_sums,
    expected_error,
    from_rows,
    reliability,
    risk_coverage,
    sample_pixels,
    summarise,
    to_rows,
)
from voc_seg.system.errors import VocSegError

CLASSES = 5


def images(count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Scores that are overconfident, their truth with void, and pixels near boundaries."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        truth = torch.randint(0, CLASSES, (1, 310, 400), generator=generator)
        scores = 2 * torch.randn(1, CLASSES, 310, 400, generator=generator)
        scores.scatter_add_(1, truth[:, None], torch.full((1, 1, 310, 400), 1.5))
        truth[torch.rand(truth.shape, generator=generator) < 0.1] = 255
        found.append((scores, truth.byte(), torch.rand(truth.shape, generator=generator) < 0.3))
    return found


@pytest.fixture(scope="module")
def found() -> Calibration:
    one, *others = (sample_pixels(*image) for image in images())
    return calibration_sums([one]) + calibration_sums(others)


@pytest.fixture(scope="module")
def pixels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same pixels in a list: probabilities, truth, near."""
    rows = []
    for scores, truth, near in images():
        kept = [
            one[..., ::STEP, ::STEP] for one in (scores.softmax(1).movedim(1, -1)[0].movedim(-1, 0), truth[0], near[0])
        ]
        labelled = kept[1] != 255
        rows.append((kept[0][:, labelled].T, kept[1][labelled].long(), kept[2][labelled]))
    return tuple(torch.cat(column) for column in zip(*rows))


def test_the_expected_error_is_that_of_torchmetrics(found: Calibration, pixels: tuple[torch.Tensor, ...]) -> None:
    probabilities, truth, near = pixels
    scores = summarise(found)
    for name, chosen in (("ece", near >= 0), ("ece_inside", ~near), ("ece_outline", near)):
        metric = MulticlassCalibrationError(CLASSES, n_bins=BINS, norm="l1")
        expected = float(metric(probabilities[chosen], truth[chosen]))
        assert scores[name] == pytest.approx(expected, abs=1e-6)
        assert expected > 0.05


def test_the_class_wise_error_is_that_of_a_loop(found: Calibration, pixels: tuple[torch.Tensor, ...]) -> None:
    probabilities, truth, _ = (one.numpy() for one in pixels)
    errors = []
    for index in range(CLASSES):
        p, is_class = probabilities[:, index].astype(float), truth == index
        bins = np.minimum((p * BINS).astype(int), BINS - 1)
        errors.append(sum(abs(is_class[bins == one].sum() - p[bins == one].sum()) for one in range(BINS)) / len(p))
    assert summarise(found)["class_ece"] == pytest.approx(np.mean(errors), abs=1e-6)


def test_aurc_is_the_mean_share_of_errors_among_the_most_confident(
    found: Calibration, pixels: tuple[torch.Tensor, ...]
) -> None:
    probabilities, truth, _ = pixels
    confidence, prediction = probabilities.max(1)
    wrong = (prediction != truth)[confidence.argsort(descending=True)].double()
    expected = float((wrong.cumsum(0) / torch.arange(1, len(wrong) + 1)).mean())
    assert summarise(found)["aurc"] == pytest.approx(expected, abs=1e-3)


def test_parts_of_an_image_give_the_sums_of_the_whole(found: Calibration) -> None:
    scores, truth, near = images(1)[0]
    whole = calibration_sums([sample_pixels(scores, truth, near)])
    cuts = [(slice(0, 5), slice(0, 400)), (slice(5, 150), slice(0, 131)), (slice(5, 150), slice(131, 400)),
            (slice(150, 310), slice(0, 400))]  # fmt: skip
    sums = [
        calibration_sums([sample_pixels(scores[:, :, rows, columns], truth[:, rows, columns], near[:, rows, columns],
                                        (rows.start, columns.start))])
        for rows, columns in cuts
    ]  # fmt: skip
    np.testing.assert_allclose(sum(one.top for one in sums), whole.top, rtol=1e-5)
    np.testing.assert_allclose(sum(one.classes for one in sums), whole.classes, rtol=1e-5)


def test_aurc_of_a_saturated_network() -> None:
    """Most of its confidences are between 0.99 and 1, and the errors are among the lowest of these."""
    generator = torch.Generator().manual_seed(0)
    margin = 12 * torch.rand(1, 900, 900, generator=generator)
    truth = (torch.rand(margin.shape, generator=generator) > torch.exp(-margin)).byte()
    scores = torch.stack([torch.zeros_like(margin), margin], 1)
    found = summarise(calibration_sums([sample_pixels(scores, truth, truth > 2)]))["aurc"]
    kept = [one[0, ::STEP, ::STEP].flatten() for one in (margin, truth)]
    wrong = (kept[1] == 0)[kept[0].argsort(descending=True)].double()
    expected = float((wrong.cumsum(0) / torch.arange(1, len(wrong) + 1)).mean())
    assert found == pytest.approx(expected, rel=0.02)


def test_bins_of_another_evaluation_are_refused(found: Calibration) -> None:
    with pytest.raises(VocSegError, match=r"unknown class e.*kedro run --pipelines evaluation"):
        from_rows(to_rows(found, list("abcde")), list("abcdf"))


def test_by_hand() -> None:
    """Two pixels of confidence 0.9, one right, and two of 0.6, both right."""
    top = np.zeros((FINE, 3))
    top[int(0.9 * FINE)], top[int(0.6 * FINE)] = [2, 1.8, 1], [2, 1.2, 2]
    table = reliability(top)
    assert table["pixels"].sum() == 4
    assert table.loc[table["pixels"] > 0, ["confidence", "accuracy"]].to_numpy().tolist() == pytest.approx(
        np.array([[0.6, 1.0], [0.9, 0.5]])
    )
    assert expected_error(top.reshape(BINS, -1, 3).sum(1)) == pytest.approx((0.4 * 2 + 0.4 * 2) / 4)
    coverage, risk = risk_coverage(top)
    assert (coverage[-1], risk[-1]) == (1, 0.25)
    # Half of the first two pixels are wrong; then the share of errors falls to a quarter.
    assert aurc(top) == pytest.approx(0.5 * 0.5 + 0.5 * (0.5 + 0.25) / 2)


def test_a_confident_and_right_network_has_no_error() -> None:
    truth = torch.randint(0, CLASSES, (1, 40, 40), dtype=torch.uint8)
    scores = 50 * torch.nn.functional.one_hot(truth.long(), CLASSES).movedim(-1, 1).float()
    scores_found = summarise(
        calibration_sums([sample_pixels(scores, truth, torch.zeros_like(truth, dtype=torch.bool))])
    )
    assert np.isnan(scores_found.pop("ece_outline"))
    assert scores_found == pytest.approx(dict.fromkeys(scores_found, 0.0), abs=1e-6)


def test_nothing_is_labelled() -> None:
    truth = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    found = calibration_sums([sample_pixels(torch.randn(1, CLASSES, 8, 8), truth, truth == 0)])
    assert found.top.sum() == found.classes.sum() == 0
    assert all(np.isnan(value) for value in summarise(found).values())


def test_the_rows_give_the_same_sums(found: Calibration) -> None:
    names = ["inside", "outline", "NA", "", "e"]  # a class may be called like a region
    file = io.BytesIO()
    to_rows(found, names).to_parquet(file, index=False)
    read = from_rows(pd.read_parquet(file), names)
    np.testing.assert_array_equal(read.top, found.top)
    np.testing.assert_array_equal(read.classes, found.classes)
    nothing = from_rows(pd.DataFrame(), names)
    assert nothing.top.sum() == nothing.classes.sum() == 0
