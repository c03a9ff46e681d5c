"""The temperature of a network's probabilities."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from voc_seg.metrics.temperature import (
    ScoredPixels,
    cross_entropy,
    cross_fitted_error,
    fit_temperature,
    top_label_error,
)
from voc_seg.system.errors import VocSegError


def _drawn(temperature: float, pixels: int = 60_000, classes: int = 5, seed: int = 0) -> ScoredPixels:
    """Pixels whose classes are drawn from the probabilities of their scores at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(pixels, classes, generator=generator)
    truth = (scores / temperature).softmax(1).multinomial(1, generator=generator)[:, 0]
    return ScoredPixels(scores, truth, torch.arange(pixels) % 10)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.3])
def test_the_temperature_that_drew_the_classes_is_found(temperature: float) -> None:
    pixels = _drawn(temperature)
    assert fit_temperature(pixels) == pytest.approx(temperature, rel=0.03)
    after = top_label_error(pixels, fit_temperature(pixels))
    assert after < 0.01
    assert temperature == 1.0 or top_label_error(pixels, 1.0) > 0.05
    assert cross_fitted_error(pixels) == pytest.approx(after, abs=0.01)


def test_two_pixels_by_hand() -> None:
    """Three of four pixels with the scores (s, 0) are right: the best probability is 3/4, of s / ln 3."""
    pixels = ScoredPixels(torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]), torch.arange(4))
    assert fit_temperature(pixels) == pytest.approx(2 / math.log(3), rel=5e-3)
    assert top_label_error(pixels, 1.0) == pytest.approx(1 / (1 + math.exp(-2)) - 0.75)
    assert cross_entropy(pixels, 1.0) == pytest.approx(-math.log(1 / (1 + math.exp(-2))) + 0.25 * 2, rel=1e-6)


def test_scores_are_those_of_torch_and_torchmetrics() -> None:
    pixels = _drawn(1.7, 5000)
    assert cross_entropy(pixels, 2.0) == pytest.approx(float(torch_cross_entropy(pixels.scores / 2, pixels.truth)))
    expected = multiclass_calibration_error((pixels.scores / 2).softmax(1), pixels.truth, 5, n_bins=15, norm="l1")
    assert top_label_error(pixels, 2.0) == pytest.approx(float(expected), abs=1e-6)


def test_no_pixel_is_scored_with_a_temperature_that_it_helped_to_choose() -> None:
    even, odd = _drawn(0.5, 20_000, seed=1), _drawn(2.0, 20_000, seed=2)
    both = ScoredPixels(
        torch.cat([even.scores, odd.scores]), torch.cat([even.truth, odd.truth]),
        torch.cat([torch.zeros(20_000, dtype=torch.long), torch.ones(20_000, dtype=torch.long)]),
    )  # fmt: skip
    assert top_label_error(even, fit_temperature(even)) < 0.02
    assert top_label_error(odd, fit_temperature(odd)) < 0.02
    assert cross_fitted_error(both) > 0.2


@pytest.mark.parametrize("truth", [[0, 0], [1, 1], []])
def test_where_no_temperature_is_best_it_says_so(truth: list[int]) -> None:
    count = len(truth)
    pixels = ScoredPixels(torch.tensor([[5.0, 0.0]] * count).view(count, 2), torch.tensor(truth), torch.zeros(count))
    with pytest.raises(VocSegError, match="temperature"):
        fit_temperature(pixels)
    assert math.isnan(cross_fitted_error(pixels))
