"""The learning-rate range test: rates, smoothing and suggestion by hand, and when it stops."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from voc_seg.config import LrFinderConfig
from voc_seg.engine import lr_finder
from voc_seg.engine.lr_finder import range_test, rates, smooth, suggestion_text, summarise
from voc_seg.reporting.lr_finder import plot_range_test
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

CONFIG = LrFinderConfig(steps=21, start=1e-4, end=1.0)


def _curve(loss: Callable[[float], float]) -> list[tuple[float, float]]:
    """Rates from 1e-4 to 1, five a decade, and the loss at their logarithms."""
    return [(rate, loss(math.log10(rate))) for rate in rates(CONFIG)]


def test_rates_rise_exponentially() -> None:
    found = rates(CONFIG)
    assert len(found) == 21
    assert found[0] == pytest.approx(1e-4)
    assert found[5] == pytest.approx(1e-3)
    assert found[-1] == pytest.approx(1.0)


def test_smoothing_keeps_constants_and_minima() -> None:
    np.testing.assert_allclose(smooth(np.full(9, 2.5)), 2.5)
    valley = np.abs(np.arange(31) - 12.0)
    assert smooth(valley).argmin() == 12
    # Two steps: weights 1 and exp(-1 / 18) of a Gaussian three steps wide.
    near = math.exp(-1 / 18)
    np.testing.assert_allclose(smooth(np.array([0.0, 1.0])), [near / (1 + near), 1 / (1 + near)])


def test_the_suggestion_is_half_of_the_rate_with_the_lowest_loss() -> None:
    found = summarise(_curve(lambda exponent: 1 + (exponent + 2) ** 2), stopped_early=False)
    assert found.metrics["lowest_at"] == pytest.approx(1e-2)
    assert found.metrics["learning_rate"] == pytest.approx(5e-3)
    assert 1e-4 < found.metrics["steepest_at"] < 1e-2
    assert [row["step"] for row in found.history] == list(range(1, 22))
    text = suggestion_text(found.metrics, CONFIG)
    assert "lowest at a learning rate of 0.01" in text
    assert "0.005" in text
    plot_range_test(pd.DataFrame(found.history), found.metrics).canvas.draw()


@pytest.mark.parametrize(
    ("loss", "advice"),
    [
        (lambda exponent: 3 + exponent / 10, "did not fall at any rate"),
        (lambda exponent: -exponent, "still falling at the last step"),
    ],
)
def test_there_is_no_suggestion_without_a_valley(loss: Callable[[float], float], advice: str) -> None:
    found = summarise(_curve(loss), stopped_early=False)
    assert found.metrics["learning_rate"] is None
    assert advice in suggestion_text(found.metrics, CONFIG)
    plot_range_test(pd.DataFrame(found.history), found.metrics).canvas.draw()


def test_a_loss_that_is_never_finite_has_no_suggestion() -> None:
    found = summarise([], stopped_early=True)
    assert found.metrics["learning_rate"] is None
    assert "did not fall" in suggestion_text(found.metrics, CONFIG)
    plot_range_test(pd.DataFrame(found.history, columns=["step", "learning_rate", "loss", "smoothed"]), found.metrics)


def test_losses_above_the_axis_are_marked() -> None:
    found = summarise(
        _curve(lambda exponent: 900.0 if exponent > -0.1 else 3 + (exponent + 2) ** 2), stopped_early=False
    )
    (axes,) = plot_range_test(pd.DataFrame(found.history), found.metrics).axes
    assert [line.get_label() for line in axes.lines if line.get_marker() == "^"] == ["above the axis: 1"]


@pytest.mark.usefixtures("narrow_encoder")
class TestRangeTest:
    @pytest.fixture
    def find(self, train_store: SampleStore, make_parameters: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
        def find(losses: list[float] | None = None, **training: Any) -> Any:
            if losses:
                upcoming = iter(losses)
                monkeypatch.setattr(lr_finder, "train_step", lambda *given: torch.tensor(next(upcoming)))
            settings = {"steps": 20, "start": 1e-4, "end": 1.0}
            parameters = make_parameters(training={"epochs": 1, **training}, lr_finder=settings)
            return range_test(train_store, CLASS_NAMES, parameters)

        return find

    def test_it_trains_with_rising_rates_beyond_the_epochs_of_training(self, find: Callable) -> None:
        """Four scenes in batches of three."""
        found = find(batch_size=3, optimizer={"name": "adamw", "encoder_factor": 0.1})
        assert [row["learning_rate"] for row in found.history] == pytest.approx(
            rates(LrFinderConfig(steps=20, start=1e-4))[: len(found.history)]
        )
        losses = [row["loss"] for row in found.history]
        assert len(losses) > 8
        assert min(losses) < losses[0]

    def test_it_stops_where_the_loss_diverges(self, find: Callable) -> None:
        """The mean of 1, 1, ... and one 100 is far above twice the lowest."""
        found = find([1.0] * 12 + [100.0] * 8)
        assert len(found.history) == 13
        assert found.metrics["diverged"]

    def test_it_stops_at_a_loss_that_is_not_finite(self, find: Callable) -> None:
        found = find([3.0] * 6 + [2.0] * 6 + [math.nan])
        assert len(found.history) == 12
        assert found.metrics["learning_rate"] is not None


@pytest.mark.parametrize("end", [0.5, 5.0, 20.0])
def test_the_end_that_it_advises_is_one_that_is_allowed(end: float) -> None:
    metrics = {"learning_rate": None, "lowest_at": end}
    text = suggestion_text(metrics, LrFinderConfig(end=end))
    _, advised, number = text.rpartition(" or lr_finder.end=")
    if not advised:
        assert end == 20.0, "the highest rate cannot be raised"
        return
    assert LrFinderConfig(end=float(number.rstrip("."))).end > end
