"""Nodes of the inference pipeline."""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import DataConfig, InferenceConfig, RuntimeConfig
from voc_seg.datasets.pictures import Segmentation
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.runtime import choose_runtime
from voc_seg.errors import VocSegError
from voc_seg.models.registry import require_classes
from voc_seg.reporting.own_pictures import SHEET, class_shares, labelled_overlay, plot_contact_sheet, thumbnail
from voc_seg.samples.pictures import MadeWhenAsked, Pictures, printable
from voc_seg.voc.progress import progress_bar
from voc_seg.voc.reading import palette_image

logger = logging.getLogger(__name__)

_LISTED = 10
"""Files that a message names; inference_rejected.csv has them all."""


def check_pictures(pictures: Pictures) -> tuple[Pictures, pd.DataFrame]:
    """Read every file to its end: those that are pictures, and the others with the reason.

    Raises:
        VocSegError: None is.
    """
    reasons: dict[str, str] = {}
    with progress_bar("checking pictures", len(pictures)) as advance:
        for name in pictures:
            try:
                pictures[name]
            except VocSegError as error:
                reasons[name] = printable(str(error))
            advance(1)
    listed = "\n".join(f"  {reason}" for reason in islice(reasons.values(), _LISTED))
    more = f"\n  and {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else ""
    if len(reasons) == len(pictures):
        raise VocSegError(
            f"No picture that can be read among the files given ({len(pictures)}); nothing was written.\n{listed}{more}"
        )
    if reasons:
        logger.warning("Left out, of %d files: %d\n%s%s", len(pictures), len(reasons), listed, more)
    rejected = pd.DataFrame(
        [{"file": pictures.file(name), "reason": reason} for name, reason in reasons.items()],
        columns=["file", "reason"],
    )
    return pictures.only([name for name in pictures if name not in reasons]), rejected


def segment(
    pictures: Pictures,
    best_model: dict[str, Any],
    data: DataConfig,
    inference: InferenceConfig,
    runtime: RuntimeConfig,
) -> Mapping[str, Segmentation]:
    """Mask and overlay of every picture, each made when the catalog writes it.

    Raises:
        VocSegError: The model was trained for other classes than ``data.classes``, or does not say how it was scored.
    """
    classes = data.class_table
    require_classes(best_model, classes.names)
    chosen = choose_runtime(runtime)
    segmenter = load_segmenter(best_model, inference, chosen)
    logger.info(
        "Pictures: %d; model of epoch %d, val mIoU %.3f; %s",
        len(pictures), best_model["epoch"], best_model["val_miou"], chosen,
    )  # fmt: skip

    def make(name: str) -> Segmentation:
        image = pictures[name]
        mask = segmenter(image)
        return Segmentation(palette_image(mask, classes), labelled_overlay(image, mask, classes))

    return MadeWhenAsked(tuple(pictures), make)


def measure_shares(pictures: Pictures, masks: Mapping[str, np.ndarray], data: DataConfig) -> pd.DataFrame:
    """One row a picture: name, file, size, and the share of its pixels of each class."""
    rows = []
    for name in pictures:
        mask = masks[name]
        height, width = mask.shape
        rows.append(
            {"image": name, "file": pictures.file(name), "height": height, "width": width}
            | class_shares(mask, data.class_table)
        )
    return pd.DataFrame(rows)


def draw_gallery(
    pictures: Pictures,
    masks: Mapping[str, np.ndarray],
    shares: pd.DataFrame,
    rejected: pd.DataFrame,
    data: DataConfig,
) -> Figure:
    """The first dozen overlays as a contact sheet; and a last word on what was done."""
    classes = data.class_table
    items = [thumbnail(name, pictures[name], masks[name], classes) for name in islice(pictures, SHEET)]
    logger.info("Pictures segmented: %d, files left out: %d.", len(shares), len(rejected))
    return plot_contact_sheet(items, len(shares), len(rejected), classes)
