"""Figures of images: what the network saw, what it should have said, what it said."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from voc_seg.reporting.overlays import error_map, faint, overlay
from voc_seg.reporting.style import (
    BLUE,
    GREY,
    HEADROOM,
    HEADROOM_ALONE,
    INK,
    LABEL,
    MUTED,
    SMALL,
    new_figure,
    set_title,
    tidy,
)
from voc_seg.reporting.tables import score
from voc_seg.samples.store import Sample
from voc_seg.voc.classes import VOC_CLASSES, VOID, Classes

GALLERY_ROWS = 8

# Inches. Image figures are laid out by hand: the panels keep the image's shape without gaps between them.
_MARGIN = 0.15
_GAP = 0.08
_LEGEND_ROW = 0.25
_LEGEND_ENTRY = 1.25


def plot_prediction(sample: Sample, prediction: np.ndarray, iou: float, classes: Classes = VOC_CLASSES) -> Figure:
    """Image, truth, prediction and errors of one image, side by side.

    Args:
        sample: Image and truth.
        prediction: ``uint8 (H, W)``, class index.
        iou: mIoU of this image, 0..1; NaN when it has no labelled pixel.
        classes: Names and colours by mask value.

    Returns:
        Four panels over a legend of the classes that are true or predicted here.
    """
    height, width = sample.mask.shape
    # Panels of equal area rather than equal width: portrait pictures would tower otherwise.
    panel_width = float(np.clip(np.sqrt(5.2 * width / height), 1.9, 2.65))
    panel_height = min(panel_width * height / width, 4.5)
    figure_width = 2 * _MARGIN + 4 * panel_width + 3 * _GAP
    entries = _legend_entries([sample.mask, prediction], classes)
    legend_height = _legend_height(entries, figure_width)
    top = HEADROOM_ALONE + 0.24
    figure_height = top + panel_height + legend_height
    figure = new_figure(figure_width, figure_height, layout=None)
    for column, (name, picture) in enumerate(_panels(sample, prediction, classes).items()):
        left = _MARGIN + column * (panel_width + _GAP)
        axes = _place(figure, left, top, panel_width, panel_height)
        _show(axes, picture)
        axes.set_title(name, loc="left", fontsize=LABEL, color=MUTED, pad=4)
    _legend(figure, entries)
    set_title(figure, f"{sample.id}   mIoU {score(iou)}")
    return figure


def plot_gallery(items: Sequence[tuple[Sample, np.ndarray, float]], classes: Classes = VOC_CLASSES) -> Figure:
    """A contact sheet: a row of image, truth, prediction and errors for each of up to eight images.

    Args:
        items: Sample, prediction ``uint8 (H, W)`` and mIoU of each image. Only the first eight are shown.
        classes: Names and colours by mask value.

    Returns:
        The rows over one legend of all classes that are true or predicted in them.
    """
    items = list(items)[:GALLERY_ROWS]
    panel_width, tallest, caption = 2.35, 2.35, 0.27
    figure_width = 2 * _MARGIN + 4 * panel_width + 3 * _GAP
    shapes = [sample.mask.shape for sample, _, _ in items]
    heights = [min(tallest, panel_width * height / width) for height, width in shapes]
    masks = [mask for sample, prediction, _ in items for mask in (sample.mask, prediction)]
    entries = _legend_entries(masks, classes)
    legend_height = _legend_height(entries, figure_width)
    figure_height = HEADROOM + sum(heights) + caption * len(items) + legend_height
    figure = new_figure(figure_width, figure_height, layout=None)
    top = HEADROOM
    for (sample, prediction, iou), height in zip(items, heights, strict=True):
        figure.text(
            _MARGIN / figure_width, 1 - (top + 0.2) / figure_height, f"{sample.id}   mIoU {score(iou)}",
            fontsize=SMALL, color=INK, va="baseline",
        )  # fmt: skip
        top += caption
        for column, picture in enumerate(_panels(sample, prediction, classes).values()):
            left = _MARGIN + column * (panel_width + _GAP)
            _show(_place(figure, left, top, panel_width, height), picture)
        top += height
    _legend(figure, entries)
    explanation = "Image, truth, prediction, errors (wrong red, void grey). mIoU here is over an image's own classes"
    set_title(figure, "Predictions", explanation if items else "No images to show")
    return figure


def plot_sanity(
    history: pd.DataFrame,
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    metrics: Mapping[str, Any],
    classes: Classes = VOC_CLASSES,
) -> Figure:
    """The overfit of one image: what it learnt above, how the loss fell below.

    Args:
        history: One row an epoch: epoch, loss, learning_rate.
        image: ``uint8 (H, W, 3)`` RGB.
        truth: ``uint8 (H, W)``, class index or 255 for void.
        prediction: ``uint8 (H, W)``, class index.
        metrics: epochs, final_loss, miou, pixel_accuracy, passed.
        classes: Names and colours by mask value.

    Returns:
        Image, truth and prediction over a legend of their classes and the loss curve.
    """
    height, width = truth.shape
    panel_width = 3.1
    panel_height = min(panel_width * height / width, 3.6)
    figure_width = 2 * _MARGIN + 3 * panel_width + 2 * _GAP
    entries = _legend_entries([truth, prediction], classes)
    legend_height = _legend_height(entries, figure_width)
    top = HEADROOM + 0.3
    curve_height = 1.7
    figure_height = top + panel_height + legend_height + 0.3 + curve_height + 0.55
    figure = new_figure(figure_width, figure_height, layout=None)
    panels = {
        "image": image,
        "truth": _coloured(image, truth, classes),
        "prediction": _coloured(image, prediction, classes),
    }
    for column, (name, picture) in enumerate(panels.items()):
        axes = _place(figure, _MARGIN + column * (panel_width + _GAP), top, panel_width, panel_height)
        _show(axes, picture)
        axes.set_title(name, loc="left", fontsize=LABEL, color=MUTED, pad=4)
    _legend(figure, entries, below=top + panel_height)
    left = 0.75
    curve = _place(figure, left, top + panel_height + legend_height + 0.3, figure_width - left - _MARGIN, curve_height)
    dot = "o" if len(history) == 1 else None
    curve.plot(history["epoch"], history["loss"], color=BLUE, linewidth=1.8, marker=dot)
    lowest, highest = history["loss"].min(), history["loss"].max()
    # An overfit that works falls by orders of magnitude; most of it would lie on the floor of a linear axis.
    if lowest > 0 and highest > 20 * lowest:
        curve.set_yscale("log")
        curve.tick_params(which="minor", length=0)
    else:
        curve.set_ylim(bottom=0)
    curve.yaxis.set_major_formatter("{x:g}")
    curve.margins(x=0.02)
    curve.set_xlabel("epoch")
    curve.xaxis.get_major_locator().set_params(integer=True)
    tidy(curve, "Loss")
    verdict = "passed" if metrics["passed"] else "FAILED"
    set_title(
        figure,
        f"Sanity check {verdict}: mIoU {score(metrics['miou'])} on the image it was trained on",
        f"{metrics['epochs']} epochs, final loss {metrics['final_loss']:.4g}, "
        f"pixel accuracy {score(metrics['pixel_accuracy'])}",
    )
    return figure


def _panels(sample: Sample, prediction: np.ndarray, classes: Classes) -> dict[str, np.ndarray]:
    return {
        "image": sample.image,
        "truth": _coloured(sample.image, sample.mask, classes),
        "prediction": _coloured(sample.image, prediction, classes),
        "errors (void grey)": error_map(sample.image, sample.mask, prediction),
    }


def _coloured(image: np.ndarray, mask: np.ndarray, classes: Classes) -> np.ndarray:
    # On the image itself the tints mix with its own colours: a blue bus turns into another class.
    return overlay(faint(image), mask, 0.75, classes)


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the figure's top left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture)
    # Left-aligned, so that a portrait picture stands under its heading.
    axes.set_anchor("W")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=GREY, linewidth=0.6)


def _legend_entries(masks: Sequence[np.ndarray], classes: Classes) -> dict[str, np.ndarray]:
    """Name and colour (RGB, 0..1) of every class that occurs in the masks, void last."""
    palette = classes.palette() / 255
    values = sorted(set().union(*(np.unique(mask).tolist() for mask in masks)))
    entries = {classes.names[value]: palette[value] for value in values if value != VOID}
    if VOID in values:
        entries["void"] = palette[VOID]
    if 0 in values:
        # Background is not tinted: its swatch shows what is seen there, not VOC's black.
        entries[classes.names[0]] = np.array([0.9, 0.9, 0.9])
    return entries


def _legend_height(entries: Mapping[str, np.ndarray], figure_width: float) -> float:
    rows = -(-len(entries) // int(figure_width / _LEGEND_ENTRY))
    return 0.2 + _LEGEND_ROW * rows


def _legend(figure: Figure, entries: Mapping[str, np.ndarray], below: float | None = None) -> None:
    """A legend in rows, at the foot of the figure or ``below`` inches from its top."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    columns = int(width / _LEGEND_ENTRY)
    patches = [Patch(facecolor=colour, edgecolor=GREY, linewidth=0.6, label=name) for name, colour in entries.items()]
    # A legend fills column by column; readers go by rows, so the entries are dealt accordingly.
    by_rows = [patch for column in range(columns) for patch in patches[column::columns]]
    figure.legend(
        handles=by_rows, ncols=min(columns, len(patches)), frameon=False, fontsize=SMALL, labelcolor=INK,
        loc="lower left" if below is None else "upper left",
        bbox_to_anchor=(0.0, 0.0 if below is None else 1 - below / height),
        handlelength=1.2, handleheight=1.0, columnspacing=1.5, borderaxespad=0.6,
    )  # fmt: skip
