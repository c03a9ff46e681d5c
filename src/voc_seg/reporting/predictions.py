"""Figures of predictions: each shows an image, its ground truth, the prediction and the errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.names import counted
from voc_seg.voc.classes import VOC_CLASSES, Classes
from voc_seg.voc.pixel_format import displayed

from .fonts import shown_classes
from .image_panels import (
    GAP,
    MARGIN,
    add_axes,
    at_panel_size,
    draw_legend,
    legend_entries,
    legend_height,
    mask_over_grey,
    show_image,
)
from .overlays import error_map
from .style import (
    BLUE,
    HEADROOM,
    HEADROOM_ALONE,
    INK,
    LABEL,
    MUTED,
    SMALL,
    literal,
    new_figure,
    set_title,
    tidy,
)
from .tables import score

GALLERY_ROWS = 8


def plot_prediction(sample: Sample, prediction: np.ndarray, iou: float, classes: Classes = VOC_CLASSES) -> Figure:
    """Image, truth, prediction and errors side by side, above a legend of the classes in them.

    Args:
        sample: Image and truth.
        prediction: ``uint8 (H, W)``, class index.
        iou: mIoU of this image, 0..1; NaN if it has no labelled pixel.
        classes: Names and colours by mask value.
    """
    classes = shown_classes(classes)
    height, width = sample.mask.shape
    # Panels of equal area rather than equal width: portrait images would tower otherwise.
    panel_width = float(np.clip(np.sqrt(5.2 * width / height), 1.9, 2.65))
    panel_height = min(panel_width * height / width, 4.5)
    figure_width = 2 * MARGIN + 4 * panel_width + 3 * GAP
    entries = legend_entries([sample.mask, prediction], classes)
    foot = legend_height(entries, figure_width)
    top = HEADROOM_ALONE + 0.24
    figure_height = top + panel_height + foot
    figure = new_figure(figure_width, figure_height, layout=None)
    for column, (name, panel) in enumerate(_panels(sample, prediction, classes).items()):
        left = MARGIN + column * (panel_width + GAP)
        axes = add_axes(figure, left, top, panel_width, panel_height)
        show_image(axes, panel)
        axes.set_title(name, loc="left", fontsize=LABEL, color=MUTED, pad=4)
    draw_legend(figure, entries)
    set_title(figure, f"{sample.id}   mIoU {score(iou)}")
    return figure


def plot_gallery(items: Sequence[tuple[Sample, np.ndarray, float]], classes: Classes = VOC_CLASSES) -> Figure:
    """A contact sheet: image, truth, prediction and errors of up to eight images, one image a row, above one legend.

    Args:
        items: Sample, prediction ``uint8 (H, W)`` and mIoU of each image. Only the first eight are shown.
        classes: Names and colours by mask value.
    """
    items, classes = list(items)[:GALLERY_ROWS], shown_classes(classes)
    panel_width, tallest, caption = 2.35, 2.35, 0.27
    figure_width = 2 * MARGIN + 4 * panel_width + 3 * GAP
    shapes = [sample.mask.shape for sample, _, _ in items]
    heights = [min(tallest, panel_width * height / width) for height, width in shapes]
    masks = [mask for sample, prediction, _ in items for mask in (sample.mask, prediction)]
    entries = legend_entries(masks, classes)
    foot = legend_height(entries, figure_width)
    figure_height = HEADROOM + sum(heights) + caption * len(items) + foot
    figure = new_figure(figure_width, figure_height, layout=None)
    top = HEADROOM
    for (sample, prediction, iou), height in zip(items, heights, strict=True):
        figure.text(
            MARGIN / figure_width, 1 - (top + 0.2) / figure_height, literal(f"{sample.id}   mIoU {score(iou)}"),
            fontsize=SMALL, color=INK, va="baseline",
        )  # fmt: skip
        top += caption
        for column, panel in enumerate(_panels(sample, prediction, classes).values()):
            left = MARGIN + column * (panel_width + GAP)
            show_image(add_axes(figure, left, top, panel_width, height), panel)
        top += height
    draw_legend(figure, entries)
    explanation = "Image, truth, prediction, errors (wrong red, void grey). mIoU of one image: over its own classes"
    set_title(figure, "Predictions", explanation if items else "No images to show")
    return figure


def gallery_items(
    samples: SampleStore, predictions: Mapping[str, np.ndarray], image_scores: pd.DataFrame
) -> list[tuple[Sample, np.ndarray, float]]:
    """Sample, prediction and mIoU of each row of a table, for :func:`plot_gallery`.

    Args:
        samples: The evaluated split.
        predictions: ``uint8 (H, W)``, class index, by image id.
        image_scores: Rows of ``image_scores.csv`` (image_id, miou), in display order.
    """
    positions = samples.positions()
    rows = image_scores.itertuples(index=False)
    return [(samples[positions[row.image_id]], predictions[row.image_id], row.miou) for row in rows]


def plot_mask(title: str, image: np.ndarray, mask: np.ndarray, classes: Classes = VOC_CLASSES) -> Figure:
    """An image beside its predicted mask, above a legend; the subtitle gives the shares of the largest classes.

    Args:
        title: Title of the figure.
        image: ``uint8 (H, W, C)``.
        mask: ``uint8 (H, W)``, class index.
        classes: Names and colours by mask value.
    """
    classes = shown_classes(classes)
    height, width = mask.shape
    panel_width = float(np.clip(np.sqrt(16 * width / height), 2.6, 4.9))
    panel_height = min(panel_width * height / width, 6.0)
    figure_width = 2 * MARGIN + 2 * panel_width + GAP
    entries = legend_entries([mask], classes)
    figure = new_figure(figure_width, HEADROOM + panel_height + legend_height(entries, figure_width), layout=None)
    small_image, small_mask = at_panel_size(displayed(image), mask)
    for column, panel in enumerate((small_image, mask_over_grey(small_image, small_mask, classes))):
        show_image(add_axes(figure, MARGIN + column * (panel_width + GAP), HEADROOM, panel_width, panel_height), panel)
    draw_legend(figure, entries)
    shares = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
    objects = [value for value in np.argsort(-shares, kind="stable") if value != 0 and shares[value] >= 0.0005]
    found = ", ".join(f"{classes.names[value]} {100 * shares[value]:.1f} %" for value in objects[:6])
    set_title(figure, title, found or f"nothing but {classes.names[0]}")
    return figure


def plot_sanity(
    history: pd.DataFrame,
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    metrics: Mapping[str, Any],
    classes: Classes = VOC_CLASSES,
) -> Figure:
    """The result of overfitting one image: image, truth and prediction above, the loss curve below.

    Args:
        history: One row an epoch: epoch, loss, learning_rate.
        image: ``uint8 (H, W, 3)`` RGB.
        truth: ``uint8 (H, W)``, class index or 255 for void.
        prediction: ``uint8 (H, W)``, class index.
        metrics: epochs, final_loss, miou, pixel_accuracy, passed.
        classes: Names and colours by mask value.
    """
    classes = shown_classes(classes)
    height, width = truth.shape
    panel_width = 3.1
    panel_height = min(panel_width * height / width, 3.6)
    figure_width = 2 * MARGIN + 3 * panel_width + 2 * GAP
    entries = legend_entries([truth, prediction], classes)
    foot = legend_height(entries, figure_width)
    top = HEADROOM + 0.3
    curve_height = 1.7
    figure_height = top + panel_height + foot + 0.3 + curve_height + 0.55
    figure = new_figure(figure_width, figure_height, layout=None)
    image, truth, prediction = at_panel_size(image, truth, prediction)
    panels = {
        "image": image,
        "truth": mask_over_grey(image, truth, classes),
        "prediction": mask_over_grey(image, prediction, classes),
    }
    for column, (name, panel) in enumerate(panels.items()):
        axes = add_axes(figure, MARGIN + column * (panel_width + GAP), top, panel_width, panel_height)
        show_image(axes, panel)
        axes.set_title(name, loc="left", fontsize=LABEL, color=MUTED, pad=4)
    draw_legend(figure, entries, below=top + panel_height)
    left = 0.75
    curve = add_axes(figure, left, top + panel_height + foot + 0.3, figure_width - left - MARGIN, curve_height)
    dot = "o" if len(history) == 1 else None
    curve.plot(history["epoch"], history["loss"], color=BLUE, linewidth=1.8, marker=dot)
    lowest, highest = history["loss"].min(), history["loss"].max()
    # In a successful overfit the loss falls by orders of magnitude, which a linear axis would hide.
    if lowest > 0 and highest > 20 * lowest:
        curve.set_yscale("log")
        curve.tick_params(which="minor", length=0)
    else:
        curve.set_ylim(bottom=0)
    curve.yaxis.set_major_formatter("{x:g}")
    curve.margins(x=0.02)
    curve.set_xlabel("epoch")
    curve.locator_params(axis="x", integer=True)
    tidy(curve, "Loss")
    verdict = "passed" if metrics["passed"] else "FAILED"
    set_title(
        figure,
        f"Sanity check {verdict}: mIoU {score(metrics['miou'])} on the image it was trained on",
        f"{counted(metrics['epochs'], 'epoch')}, final loss {metrics['final_loss']:.4g}, "
        f"pixel accuracy {score(metrics['pixel_accuracy'])}",
    )
    return figure


def _panels(sample: Sample, prediction: np.ndarray, classes: Classes) -> dict[str, np.ndarray]:
    image, truth, prediction = at_panel_size(sample.displayed, sample.mask, prediction)
    return {
        "image": image,
        "truth": mask_over_grey(image, truth, classes),
        "prediction": mask_over_grey(image, prediction, classes),
        "errors (void grey)": error_map(image, truth, prediction),
    }
