"""Training samples as the network sees them: a figure, and small images for the report page."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from voc_seg.config import AugmentationConfig
from voc_seg.config.model_input import MEAN, ModelInput
from voc_seg.samples.batches import AugmentedCrops, epoch_order
from voc_seg.samples.sample import Sample
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import Classes

from .fonts import shown_classes
from .image_panels import GAP, MARGIN, add_axes, draw_legend, legend_entries, legend_height, show_image
from .overlays import overlay, reduced
from .style import HEADROOM, new_figure, set_title

_CROPS, _COLUMNS = 12, 6
_WIDTH = 11.0
_PAGE_SIDE = 200
"""Pixels of a crop on the report page; twelve take about 100 KB."""


def first_crops(
    samples: SampleStore, config: AugmentationConfig, seed: int, mean: tuple[float, ...] = MEAN, count: int = _CROPS
) -> list[Sample]:
    """The first crops of the first epoch of a training with these settings, as samples."""
    crops = AugmentedCrops.of(samples, config, seed, mean)
    found = []
    for index in epoch_order(len(samples), seed, 0)[:count].tolist():
        image, mask, image_id = crops[0, index]
        found.append(Sample(image_id, image.permute(1, 2, 0).numpy(), mask.numpy()))
    return found


def plot_augmented(
    crops: Sequence[Sample], config: AugmentationConfig, classes: Classes, on_features: bool = False
) -> Figure:
    """Crops with their masks as overlays, six in a row, above a legend of the classes in them.

    ``on_features`` says that training takes windows of stored features, and that the crops only look like them.
    """
    classes = shown_classes(classes)
    panel = (_WIDTH - 2 * MARGIN - (_COLUMNS - 1) * GAP) / _COLUMNS
    entries = _entries(crops, classes)
    rows = -(-len(crops) // _COLUMNS)
    figure = new_figure(_WIDTH, HEADROOM + rows * (panel + GAP) + legend_height(entries, _WIDTH), layout=None)
    for number, crop in enumerate(crops):
        row, column = divmod(number, _COLUMNS)
        axes = add_axes(figure, MARGIN + column * (panel + GAP), HEADROOM + row * (panel + GAP), panel, panel)
        show_image(axes, overlay(crop.displayed, crop.mask, classes=classes))
    draw_legend(figure, entries)
    which = "Crops like the windows of the stored features" if on_features else "The first crops of epoch 1"
    set_title(figure, "Augmented training samples", ", ".join([which, *_options(config)]))
    return figure


def in_words(config: AugmentationConfig) -> str:
    """The settings that shape a crop, as one line: sizes always, the rest where it is in use."""
    resized = f"resized to {config.image_size[0]} x {config.image_size[1]}, " if config.image_size else ""
    low, high = config.scale
    words = f"{resized}crop_size {config.crop_size}, scale {low:g} to {high:g}, flip {config.flip:g}"
    return ", ".join([words, f"colour_jitter {config.colour_jitter:g}", *_options(config)])


def _options(config: AugmentationConfig) -> list[str]:
    """The options in use, apart from sizes, flip and colour jitter."""
    defaults = AugmentationConfig()
    values = {name: getattr(config, name) for name in ("strength", "max_class_share", "rare_crops", "copy_paste")}
    used = {name: value for name, value in values.items() if value != getattr(defaults, name)}
    return [f"{name} {value if isinstance(value, str) else format(value, 'g')}" for name, value in used.items()]


def crops_of_model(
    best_model: Mapping[str, Any], train_samples: SampleStore | None, classes: Classes
) -> list[dict[str, Any]]:
    """The first crops of a model's training for the report page; none if it was trained on features or other samples.

    Returns:
        For each crop ``id`` and ``image``, a JPEG with the mask as overlay as a data URI.
    """
    config = best_model.get("config", {})
    # Only then the settings are ours as well.
    if not train_samples or config.get("data", {}).get("content") != f"samples:{train_samples.content}":
        return []
    if config["training"].get("frozen_stages") == "all":
        return []
    augmentation = AugmentationConfig.model_validate(config["augmentation"])
    crops = first_crops(train_samples, augmentation, config["seed"], ModelInput.of(best_model).mean)
    return [{"id": crop.id, "image": _data_uri(crop, classes)} for crop in crops]


def _entries(crops: Sequence[Sample], classes: Classes) -> dict[str, np.ndarray]:
    entries = legend_entries([crop.mask for crop in crops], classes)
    entries.pop(classes.names[0], None)  # background is not tinted
    return entries


def _data_uri(crop: Sample, classes: Classes) -> str:
    image, mask = reduced(_PAGE_SIDE, crop.displayed, crop.mask)
    content = io.BytesIO()
    Image.fromarray(overlay(image, mask, classes=classes)).save(content, format="JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
