"""A figure of the scores of all folds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from voc_seg.system.names import counted, shortened

from .folds import Pooled
from .style import BLUE, GREY, INK, ORANGE, SMALL, literal, new_figure, set_title, tidy

_LETTERS = 36


def plot_folds(pooled: dict[str, Pooled], table: pd.DataFrame, classes: pd.DataFrame) -> Figure:
    """Pooled mIoU of each group of settings, and the pooled IoU of the classes of the best; dots are the folds.

    Args:
        pooled: By name of the group.
        table: Rows of `voc_seg.reporting.folds.fold_table`.
        classes: Rows of `voc_seg.reporting.folds.fold_class_table`.
    """
    whole = table[table["run"] == ""].sort_values("miou", ascending=False, kind="stable")
    best = whole["settings"].iloc[0]
    ensembles = table[(table["run"] != "") & ~table["scored_on"].str.startswith("fold ")]
    of_best = classes[classes["settings"] == best].sort_values("iou", ascending=False, kind="stable")
    above, below = len(whole) + len(ensembles), len(of_best)
    figure = new_figure(9.5, 2.6 + 0.3 * (above + below))
    scores, by_class = figure.subplots(2, 1, height_ratios=[above + 1.2, below + 1.2], sharex=True)
    folds = table[table["scored_on"].str.startswith("fold ")]
    _intervals(scores, whole[["miou", "miou_low", "miou_high"]].to_numpy(float), BLUE)
    for position, group in enumerate(whole["settings"]):
        _dots(scores, folds.loc[folds["settings"] == group, "miou"].tolist(), position)
    _intervals(scores, ensembles[["miou", "miou_low", "miou_high"]].to_numpy(float), ORANGE, first=len(whole))
    labels = [f"{name}, pooled" for name in whole["settings"]]
    _rows(scores, labels + [f"{row.run}, on {row.scored_on}" for row in ensembles.itertuples(index=False)])
    tidy(scores, "mIoU", grid="x")
    _intervals(by_class, of_best[["iou", "iou_low", "iou_high"]].to_numpy(float), BLUE)
    names = list(pooled[best].runs[0].class_names)
    ious = np.array([run.scored.counts.total().iou() for run in pooled[best].runs])
    for position, name in enumerate(of_best["class_name"]):
        _dots(by_class, ious[:, names.index(name)].tolist(), position)
    _rows(by_class, of_best["class_name"].tolist())
    tidy(by_class, f"IoU by class{f', {best}' if len(whole) > 1 else ''}", grid="x")
    by_class.set_xlim(0, 1)
    shown = "orange: the ensemble, on other images" if len(ensembles) else ""
    images = int(whole["images"].iloc[0])
    note = "; ".join(["bars: pooled, with 95 % intervals; dots: single folds", *([shown] if shown else [])])
    set_title(figure, f"Folds of train, {counted(images, 'image')}", note)
    return figure


def _intervals(axes: Axes, values: np.ndarray, colour: str, first: int = 0) -> None:
    """Draw scores, ``(rows, 3)`` with score, low and high end, as bars with whiskers, from a row on."""
    positions = first + np.arange(len(values))
    axes.barh(positions, np.nan_to_num(values[:, 0]), 0.62, color=colour, alpha=0.85)
    for position, (value, low, high) in zip(positions, values):
        if not np.isnan(low):
            axes.plot([low, high], [position, position], color=INK, linewidth=1.1)
            axes.plot([low, high], [position, position], "|", color=INK, markersize=6, markeredgewidth=1.1)
        end = value if np.isnan(high) else high
        axes.annotate(
            "absent" if np.isnan(value) else f"{value:.3f}", (1.01, position), xycoords=("axes fraction", "data"),
            va="center", fontsize=SMALL, color=GREY if np.isnan(end) else INK, annotation_clip=False,
        )  # fmt: skip


def _dots(axes: Axes, values: Sequence[float], position: int) -> None:
    rows = [position] * len(values)
    axes.plot(values, rows, "o", color="white", markeredgecolor=INK, markersize=4.5, clip_on=False, zorder=3)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [literal(shortened(name, _LETTERS)) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
