"""The figure of the confidence, and the points of the report's charts."""

import numpy as np
import pytest

from voc_seg.metrics.calibration import BINS, FINE, Calibration
from voc_seg.reporting.confidence import confidence_charts, plot_confidence


@pytest.fixture
def found() -> Calibration:
    """A thousand pixels of confidence 0.95, 900 of them right, and 100 near boundaries of 0.5, 60 of them right."""
    top = np.zeros((2, FINE, 3))
    top[0, int(0.95 * FINE)], top[1, FINE // 2] = [1000, 950, 900], [100, 50, 60]
    return Calibration(top, np.zeros((3, BINS, 3)))


def test_bars_are_accuracies_and_what_the_network_is_too_sure_by(found: Calibration) -> None:
    figure = plot_confidence(found)
    diagram, curve = figure.axes
    bars = sorted((bar.get_x(), bar.get_y(), bar.get_height()) for bar in diagram.patches)
    # Of confidence 0.5 more are right than it says, so nothing is on top.
    expected = [(7 / 15, 0, 0.6), (7 / 15, 0.6, 0), (14 / 15, 0, 0.9), (14 / 15, 0.9, 0.05)]
    np.testing.assert_allclose(bars, expected, atol=1e-9)
    assert [text.get_text() for text in diagram.texts] == ["9 %", "91 %"]
    assert [line.get_label() for line in curve.lines] == ["all pixels", "without boundaries"]
    coverage, risk = curve.lines[0].get_data()
    assert (coverage[-1], risk[-1]) == pytest.approx((100, 100 * 140 / 1100))


def test_the_charts_have_the_same_numbers(found: Calibration) -> None:
    charts = confidence_charts(found)
    assert len(charts["reliability"]) == BINS
    assert charts["reliability"][14]["accuracy"] == 0.9
    assert charts["risk"][0] == pytest.approx([0, 0.1])
    assert charts["risk"][-1] == pytest.approx([1, 140 / 1100], abs=1e-5)


def test_nothing_is_labelled(found: Calibration) -> None:
    nothing = Calibration(found.top * 0, found.classes)
    assert "no confidences: evaluate again" in [text.get_text() for text in plot_confidence(nothing).axes[0].texts]
