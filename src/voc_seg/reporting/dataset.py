"""Figures of the training data: images with their masks, and augmented crops."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from voc_seg.config import AugmentationConfig
from voc_seg.config.model_input import MEAN
from voc_seg.samples.augment import augment
from voc_seg.samples.store import Sample
from voc_seg.voc.classes import VOC_CLASSES, Classes
from voc_seg.voc.pixel_format import displayed

from .augmented import in_words
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
from .overlays import overlay
from .style import HEADROOM, INK, SMALL, literal, new_figure, set_title

_CAPTION = 0.27
_WIDTH = 11.0
_TALLEST = 3.0


def plot_samples(samples: Sequence[Sample], classes: Classes = VOC_CLASSES) -> Figure:
    """Images above their masks, one column per sample, above a legend of the classes in them.

    Args:
        samples: About four; with more, the panels become small.
        classes: Names and colours by mask value.
    """
    classes = shown_classes(classes)
    # All have one height, so that images of any shape fill the row.
    shapes = [sample.mask.shape[1] / sample.mask.shape[0] for sample in samples]  # width over height
    height = min(_TALLEST, (_WIDTH - 2 * MARGIN - (len(samples) - 1) * GAP) / sum(shapes))
    entries = legend_entries([sample.mask for sample in samples], classes)
    figure_height = HEADROOM + _CAPTION + 2 * height + GAP + legend_height(entries, _WIDTH)
    figure = new_figure(_WIDTH, figure_height, layout=None)
    left = MARGIN
    for sample, shape in zip(samples, shapes):
        _caption(figure, left, HEADROOM, sample.id)
        image, mask = at_panel_size(sample.displayed, sample.mask)
        for row, panel in enumerate((image, mask_over_grey(image, mask, classes))):
            show_image(
                add_axes(figure, left, HEADROOM + _CAPTION + row * (height + GAP), shape * height, height), panel
            )
        left += shape * height + GAP
    draw_legend(figure, entries)
    set_title(figure, "Images and masks", "void: unlabelled pixels, ignored in training and in scores")
    return figure


def plot_crops(
    sample: Sample, settings: Mapping[str, AugmentationConfig], classes: Classes = VOC_CLASSES, count: int = 6
) -> Figure:
    """Random crops of one image with the mask as overlay, as in training.

    Args:
        sample: Image and mask.
        settings: The settings to compare, by name; each has a row of crops from the same random numbers.
        classes: Names and colours by mask value.
        count: Number of crops in a row.
    """
    classes = shown_classes(classes)
    panel = (_WIDTH - 2 * MARGIN - (count - 1) * GAP) / count
    crops = {name: [_crop(sample, config, number) for number in range(count)] for name, config in settings.items()}
    entries = legend_entries([mask for row in crops.values() for _, mask in row], classes)
    entries.pop(classes.names[0], None)  # background is not tinted
    row_height = _CAPTION + panel + GAP
    figure_height = HEADROOM + len(crops) * row_height + legend_height(entries, _WIDTH)
    figure = new_figure(_WIDTH, figure_height, layout=None)
    for row, (name, row_crops) in enumerate(crops.items()):
        top = HEADROOM + row * row_height
        _caption(figure, MARGIN, top, f"{name}:  {in_words(settings[name])}")
        for column, (image, mask) in enumerate(row_crops):
            crop = overlay(image, mask, classes=classes)
            show_image(add_axes(figure, MARGIN + column * (panel + GAP), top + _CAPTION, panel, panel), crop)
    draw_legend(figure, entries)
    set_title(figure, f"Crops of {sample.id}", "void: outside the image, or not labelled")
    return figure


def _crop(sample: Sample, config: AugmentationConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random crop as people see it, ``uint8 (H, W, 3)``, and its mask."""
    mean = MEAN if sample.image.shape[2] == len(MEAN) else (0.5,) * sample.image.shape[2]
    image, mask = augment(sample, config, np.random.default_rng(seed), mean)
    return displayed(image.permute(1, 2, 0).numpy()), mask.numpy()


def _caption(figure: Figure, left: float, top: float, text: str) -> None:
    """Write a line of text above panels, ``left`` and ``top`` in inches."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - (top + 0.2) / height, literal(text), fontsize=SMALL, color=INK, va="baseline")
