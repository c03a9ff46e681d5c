"""The figure of the learning-rate range test."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .style import BLUE, GREY, INK, LABEL, MUTED, ORANGE, legend_beside_title, new_figure, set_title, tidy


def plot_range_test(history: pd.DataFrame, metrics: Mapping[str, Any]) -> Figure:
    """Loss over the learning rate, on a logarithmic axis, with the suggested rate.

    Args:
        history: One row a step: learning_rate, loss, smoothed.
        metrics: learning_rate (None without a suggestion), lowest_at, diverged.
    """
    figure = new_figure(8.5, 4.8)
    axes = figure.subplots()
    tidy(axes, "Loss")
    axes.set_xlabel("learning rate")
    suggested = metrics["learning_rate"]
    set_title(figure, "Learning-rate range test", _summary(metrics))
    if history.empty:
        axes.text(0.5, 0.5, "no finite loss", transform=axes.transAxes, ha="center", color=MUTED, fontsize=LABEL)
        return figure
    axes.set_xscale("log")
    axes.plot(history["learning_rate"], history["loss"], ".", color=GREY, markersize=5, label="step")
    axes.plot(history["learning_rate"], history["smoothed"], color=BLUE, linewidth=1.8, label="smoothed")
    best = history.loc[history["smoothed"].idxmin()]
    axes.plot([best["learning_rate"]], [best["smoothed"]], "o", markersize=10, mfc="none", mec=INK, mew=1.6)
    if suggested is not None:
        axes.axvline(suggested, color=ORANGE, linewidth=1.8, label=f"suggested: {suggested:g}")
    # A single step that diverges must not flatten the curve.
    top = max(history["smoothed"].max(), history["loss"].quantile(0.9))
    limit = 1.1 * top if top > 0 else 1.0
    axes.set_ylim(0, limit)
    if len(beyond := history[history["loss"] > limit]):
        above = [0.985 * limit] * len(beyond)
        axes.plot(beyond["learning_rate"], above, "^", color=GREY, markersize=6, label=f"above the axis: {len(beyond)}")
    legend_beside_title(axes)
    return figure


def _summary(metrics: Mapping[str, Any]) -> str:
    ended = "the loss diverged" if metrics["diverged"] else "no divergence up to the last rate"
    if metrics["learning_rate"] is None:
        return f"No suggestion; {ended}"
    return f"Lowest loss at {metrics['lowest_at']:.2g}; half of that is a starting point; {ended}"
