"""Figure of the confusion matrix."""

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from .fonts import shown_names
from .style import ABSENT, INK, MUTED, SMALL, literal, new_figure, set_title, tidy

_BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#cfdff0", "#6f9fd0", "#2364aa", "#12355b"])


def plot_confusion(confusion: pd.DataFrame) -> Figure:
    """A heat map of the confusion matrix in per cent of each true class; classes that are never true are grey rows.

    Args:
        confusion: Pixel counts, rows truth and columns prediction, class names as index and columns.
    """
    counts = confusion.to_numpy(dtype=float)  # (classes, classes)
    totals = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    classes = len(counts)
    side = max(3.6, 0.37 * classes)
    figure = new_figure(side + 2.2, side + 2.1, layout="compressed")
    axes = figure.subplots()
    # On a linear scale, the interesting confusions of a few per cent would look white.
    scale = PowerNorm(0.5, vmin=0, vmax=100)
    cells = axes.imshow(np.ma.masked_invalid(percent), cmap=_BLUES.with_extremes(bad=ABSENT), norm=scale)
    for row, column in np.argwhere(np.nan_to_num(percent) >= 1):
        value = percent[row, column]
        axes.text(
            column, row, f"{value:.0f}", ha="center", va="center", fontsize=SMALL,
            color="white" if value > 30 else INK, fontweight="bold" if row == column else "normal",
        )  # fmt: skip
    for row in np.flatnonzero(totals[:, 0] == 0):
        axes.text((classes - 1) / 2, float(row), "never true", ha="center", va="center", fontsize=SMALL, color=MUTED,
            bbox={"facecolor": ABSENT, "edgecolor": "none", "pad": 3})  # fmt: skip
    axes.set_xticks(range(classes), map(literal, shown_names(confusion.columns)), rotation=90)
    axes.set_yticks(range(classes), map(literal, shown_names(confusion.index)))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    tidy(axes, grid="none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(cells, ax=axes, shrink=0.5, aspect=25, pad=0.015, ticks=[0, 1, 5, 10, 25, 50, 100])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, length=0, colors=INK)
    set_title(figure, "Confusion matrix", "Predictions by true class, in % of its pixels (below 1 % not shown)")
    return figure
