"""How far the probabilities of a network can be trusted: a figure, and the data of the report's charts."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from voc_seg.metrics.calibration import Calibration, reliability, risk_coverage, summarise

from .style import BLUE, GREY, INK, LABEL, MUTED, ORANGE, legend_beside_title, new_figure, set_title, tidy
from .tables import score

_POINTS = 101
"""Of the risk-coverage curve in the report."""


def plot_confidence(found: Calibration) -> Figure:
    """Reliability diagram and risk-coverage curve of an evaluation, side by side.

    Args:
        found: The sums over its pixels.
    """
    figure = new_figure(9.5, 4.6)
    diagram, curve = figure.subplots(1, 2)
    _reliability_diagram(diagram, found)
    everywhere = found.top.sum(0)
    for top, colour, name in ((everywhere, BLUE, "all pixels"), (found.top[0], GREY, "without boundaries")):
        coverage, risk = risk_coverage(top)
        curve.plot(100 * coverage, 100 * risk, color=colour, linewidth=1.8, label=name)
    curve.set_xlim(0, 100)
    curve.set_ylim(0, None)
    curve.set_xlabel("pixels kept, the most confident first, %")
    curve.set_ylabel("wrong pixels among them, %")
    tidy(curve, "Risk and coverage")
    legend_beside_title(curve)
    scores = summarise(found)
    set_title(
        figure,
        "Confidence",
        f"expected calibration error {score(scores['ece'])} (near boundaries {score(scores['ece_outline'])}), "
        f"class-wise {score(scores['class_ece'])}; area under the risk-coverage curve {score(scores['aurc'])}",
    )
    return figure


def _reliability_diagram(axes: Axes, found: Calibration) -> None:
    """Accuracy by confidence as bars, with excess confidence on top, and their shares of the pixels."""
    table = reliability(found.top.sum(0))
    used = table[table["pixels"] > 0]
    width = 1 / len(table)
    axes.bar(used["low"], used["accuracy"], 0.92 * width, align="edge", color=BLUE, label="accuracy")
    gap = (used["confidence"] - used["accuracy"]).clip(lower=0)
    axes.bar(
        used["low"], gap, 0.92 * width, used["accuracy"], align="edge", color=ORANGE, alpha=0.45,
        label="overconfident by",
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    for row in used.itertuples(index=False):
        share = 100 * row.pixels / table["pixels"].sum()
        if share >= 1:
            axes.annotate(
                f"{share:.0f} %", ((row.low + row.high) / 2, 0), xytext=(0, 4), textcoords="offset points", ha="center",
                fontsize=7.5, color="white",
            )  # fmt: skip
    if used.empty:
        axes.text(
            0.5, 0.5, "no confidences: evaluate again", transform=axes.transAxes, ha="center", color=MUTED,
            fontsize=LABEL,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence (white: share of the pixels)")
    tidy(axes, "Reliability")
    legend_beside_title(axes)


def confidence_charts(found: Calibration) -> dict[str, Any]:
    """The points of both charts for the report: ``reliability`` (a dict a bin), ``risk`` (share kept, share wrong)."""
    coverage, risk = risk_coverage(found.top.sum(0))
    kept = np.linspace(0, 1, _POINTS)
    return {
        "reliability": reliability(found.top.sum(0)).to_dict("records"),
        "risk": np.column_stack([kept, np.interp(kept, coverage, risk)]).round(5).tolist(),
    }
