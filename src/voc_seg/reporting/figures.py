"""Charts: the class distribution of the data, the training history and the IoU by class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from voc_seg.system.names import counted

from .fonts import shown_names
from .style import (
    BLUE,
    GREY,
    INK,
    LABEL,
    MUTED,
    ORANGE,
    SMALL,
    legend_beside_title,
    literal,
    new_figure,
    set_title,
    tidy,
)
from .tables import baseline_name, score

_SPLIT_COLOURS = {"train": BLUE, "val": ORANGE, "test": GREY}
# Curves of at most this many points have a dot at each; more dots would only thicken the line.
_DOTS = 30


def plot_class_distribution(statistics: pd.DataFrame) -> Figure:
    """Images per class and pixel share per class of every split, as two panels of bars.

    Classes are ordered by the number of images in the first split, the most frequent first. Background (class 0)
    covers about three quarters of the pixels and would dwarf the other bars, so the subtitle gives its share instead.

    Args:
        statistics: One row a class: class_index, class_name, and for each split ``s`` of train, val and test
            ``s_images`` (images that contain the class) and ``s_pixel_share`` (0..1 of the labelled pixels).
            Missing and empty splits are skipped.
    """
    splits = [
        split for split in _SPLIT_COLOURS if f"{split}_images" in statistics and statistics[f"{split}_images"].sum() > 0
    ]
    objects = statistics[statistics["class_index"] != 0]
    if splits:
        objects = objects.sort_values(f"{splits[0]}_images", ascending=False, kind="stable")
    figure = new_figure(10.5, 1.7 + len(objects) * (0.13 + 0.07 * max(len(splits), 2)))
    images, pixels = figure.subplots(1, 2, sharey=True)
    thickness = 0.8 / max(len(splits), 1)
    positions = np.arange(len(objects))
    for number, split in enumerate(splits):
        offset = positions + (number - (len(splits) - 1) / 2) * thickness
        colour = _SPLIT_COLOURS[split]
        images.barh(offset, objects[f"{split}_images"], thickness * 0.9, color=colour, label=split)
        pixels.barh(offset, 100 * objects[f"{split}_pixel_share"], thickness * 0.9, color=colour, label=split)
    images.set_yticks(positions, _shown_names(objects))
    images.set_ylim(len(objects) - 0.4, -0.6)
    tidy(images, "Images that contain the class", grid="x")
    tidy(pixels, "Share of labelled pixels, %", grid="x")
    if splits:
        legend_beside_title(pixels)
    set_title(figure, "Class distribution", _background_line(statistics, splits))
    return figure


def _shown_names(table: pd.DataFrame) -> list[str]:
    """The displayed name of the class in each row of a table with class_index and class_name."""
    by_index = table.sort_values("class_index")
    shown = dict(zip(by_index["class_index"], shown_names(by_index["class_name"], by_index["class_index"])))
    return [literal(shown[index]) for index in table["class_index"]]


def _background_line(statistics: pd.DataFrame, splits: list[str]) -> str:
    background = statistics[statistics["class_index"] == 0]
    if not splits:
        return "No images in any split"
    if background.empty:
        return ""
    shares = [f"{100 * background[f'{split}_pixel_share'].iloc[0]:.1f} % in {split}" for split in splits]
    return f"Background has no bars: its share of the pixels is {', '.join(shares)}"


def plot_history(history: pd.DataFrame) -> Figure:
    """Curves of loss, validation scores, learning rate and speed by epoch.

    The last epoch with ``is_best`` is marked on the mIoU curve.

    Args:
        history: One row an epoch: epoch, train_loss, val_loss, val_miou, val_pixel_accuracy (0..1), learning_rate,
            images_per_second, is_best. The ``val_`` columns are empty in epochs without validation.
    """
    figure = new_figure(10.5, 5.6)
    (loss, scores), (rate, speed) = figure.subplots(2, 2, sharex=True, height_ratios=[3, 1])
    _curve(loss, history, "train_loss", BLUE, "train")
    _curve(loss, history, "val_loss", ORANGE, "val")
    tidy(loss, "Loss")
    _curve(scores, history, "val_pixel_accuracy", GREY, "pixel accuracy")
    _curve(scores, history, "val_miou", BLUE, "mIoU")
    tidy(scores, "Validation scores")
    # Always 0 to 1, so that two runs can be compared by eye and noise does not fill the panel.
    scores.set_ylim(0, 1)
    _curve(rate, history, "learning_rate", BLUE, "")
    tidy(rate, "Learning rate")
    _curve(speed, history, "images_per_second", BLUE, "")
    tidy(speed, "Training images per second")
    for axes in (loss, rate, speed):
        highest = max((line.get_ydata().max() for line in axes.lines), default=0.0)
        axes.set_ylim(0, 1.08 * highest if highest > 0 else 1)
    rate.yaxis.set_major_formatter("{x:g}")
    for axes in (loss, scores):
        if axes.lines:
            legend_beside_title(axes)
    for axes in (rate, speed):
        axes.set_xlabel("epoch")
        axes.yaxis.get_major_locator().set_params(nbins=3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    first, last = history["epoch"].min(), history["epoch"].max()
    margin = max(0.5, 0.03 * (last - first))
    rate.set_xlim(first - margin, last + margin)
    set_title(figure, "Training", _mark_best(scores, history, (first + last) / 2))
    return figure


def _curve(axes: Axes, history: pd.DataFrame, column: str, colour: str, label: str) -> None:
    """Plot a column over the epochs that have a value."""
    values = pd.to_numeric(history[column])
    known = values.notna()
    if known.any():
        axes.plot(
            history["epoch"][known], values[known], color=colour, label=label, linewidth=1.8,
            marker="o" if known.sum() <= _DOTS else None, markersize=4,
        )  # fmt: skip


def _mark_best(axes: Axes, history: pd.DataFrame, middle: float) -> str:
    """Mark the epoch of the model on the mIoU curve and return a sentence about it."""
    miou = pd.to_numeric(history["val_miou"])
    flagged = history.assign(val_miou=miou)[history["is_best"].eq(True) & miou.notna()]
    if miou.isna().all():
        axes.text(0.5, 0.5, "no validation yet", transform=axes.transAxes, ha="center", color=MUTED, fontsize=LABEL)
    if flagged.empty:
        return f"{int(history['epoch'].max())} epochs, none marked as best"
    epoch, best = int(flagged["epoch"].iloc[-1]), float(flagged["val_miou"].iloc[-1])
    is_best = best >= miou.max()  # otherwise another score chose it, or it is the last (training.monitor, select)
    axes.plot([epoch], [best], "o", markersize=10, mfc="none", mec=INK, mew=1.6)
    axes.annotate(
        f"{'best' if is_best else 'model'} {best:.3f}, epoch {epoch}", (epoch, best),
        xytext=(0, 12 if best < 0.8 else -20), textcoords="offset points",
        ha="left" if epoch < middle else "right" if epoch > middle else "center",
        fontsize=LABEL, color=INK, fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},  # the curve may pass behind
    )  # fmt: skip
    name = "Best validation mIoU" if is_best else "Validation mIoU of the model"
    return f"{name} {best:.3f} in epoch {epoch} of {int(history['epoch'].max())}"


def plot_class_iou(class_scores: pd.DataFrame, metrics: Mapping[str, Any]) -> Figure:
    """One bar per class with its IoU, from best to worst, and lines at the mIoU and at the all-background baseline.

    Absent classes are at the bottom, without a bar. Thin lines are the 95 % intervals.

    Args:
        class_scores: One row a class: class_index, class_name, iou (0..1, empty if the class is absent), true_pixels,
            and iou_low and iou_high if there are intervals.
        metrics: The scores of ``metrics.json``.
    """
    scores = class_scores.assign(iou=pd.to_numeric(class_scores["iou"]))
    scores = scores.sort_values("iou", ascending=False, na_position="last", kind="stable")
    figure = new_figure(9.5, 1.9 + 0.27 * len(scores))
    axes = figure.subplots()
    positions = np.arange(len(scores))
    axes.barh(positions, scores["iou"].fillna(0.0), 0.72, color=BLUE)
    ends = _whiskers(axes, scores)
    for position, end, row in zip(positions, ends, scores.itertuples(index=False), strict=True):
        absent = pd.isna(row.iou)
        note = "absent" if absent else f"{row.iou:.3f}"
        if not absent and row.true_pixels == 0:
            note += "  predicted, never true"
        axes.annotate(
            note, (0.0 if absent else end, position), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=SMALL, color=MUTED if absent else INK, style="italic" if absent else "normal",
            # So that the lines at mIoU and baseline pass behind the numbers.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
        )  # fmt: skip
    axes.set_yticks(positions, _shown_names(scores))
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("IoU")
    tidy(axes, grid="x")
    # At two heights, so that the labels do not overlap when the scores are close.
    _reference(axes, metrics["miou"], "mIoU", ORANGE, 18)
    _reference(axes, metrics["all_background_miou"], baseline_name(class_scores["class_name"].iloc[0]), MUTED, 4)
    set_title(
        figure,
        f"IoU by class, {metrics['split']}, {counted(metrics['images'], 'image')}",
        f"pixel accuracy {score(metrics['pixel_accuracy'])}, mean class accuracy "
        f"{score(metrics['mean_class_accuracy'])}, frequency-weighted IoU "
        f"{score(metrics['frequency_weighted_iou'])}, checkpoint of epoch {metrics['checkpoint_epoch']}"
        f"{'; thin lines: 95 % intervals' if 'iou_low' in scores else ''}",
    )
    return figure


def _whiskers(axes: Axes, scores: pd.DataFrame) -> pd.Series:
    """Draw the interval of each class where there is one; return where the numbers begin, right of bar and whisker."""
    if "iou_low" not in scores:
        return scores["iou"]
    low, high = (pd.to_numeric(scores[name]).to_numpy(dtype=float) for name in ("iou_low", "iou_high"))
    (rows,) = np.nonzero(~np.isnan(low))
    axes.hlines(rows, low[rows], high[rows], color=INK, linewidth=1.1)
    for ends in (low, high):
        axes.plot(ends[rows], rows, "|", color=INK, markersize=6, markeredgewidth=1.1)
    return pd.Series(np.where(np.isnan(high), scores["iou"], high))


def _reference(axes: Axes, value: float | None, name: str, colour: str, height: float) -> None:
    """Draw a dashed line at ``value`` with its label ``height`` points above the axes; nothing for an absent score."""
    if value is None or pd.isna(value):
        return
    axes.axvline(value, color=colour, linewidth=1.6, linestyle=(0, (4, 2)), label=name, zorder=2)
    axes.annotate(
        f"{name} {value:.3f}", (value, 1), xycoords=("data", "axes fraction"), xytext=(0, height),
        textcoords="offset points", ha="left" if value < 0.75 else "right", fontsize=LABEL, fontweight="bold",
        color=colour,
    )  # fmt: skip
