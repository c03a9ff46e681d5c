"""Nodes of the inference pipeline."""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import DataConfig, InferenceConfig, RuntimeConfig
from voc_seg.datasets.image_folder import Segmentation
from voc_seg.engine.inference import load_segmenter, scale_warning
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.registry import require_classes
from voc_seg.reporting.inference import (
    SHEET_IMAGES,
    Thumbnail,
    class_shares,
    labelled_overlay,
    plot_contact_sheet,
    thumbnail,
)  # fmt: skip
from voc_seg.samples.image_files import ImageFiles, LazyMapping
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import Classes
from voc_seg.voc.masks import palette_image

logger = logging.getLogger(__name__)

_LISTED = 10
"""Files that a message names; inference_rejected.csv has them all."""


def check_pictures(pictures: ImageFiles) -> tuple[ImageFiles, pd.DataFrame]:
    """Read every file to its end: those that are pictures, and a table of the others with the reason.

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
    return pictures.only([name for name in pictures if name not in reasons]), _rejected(pictures, reasons)


def _rejected(pictures: ImageFiles, reasons: Mapping[str, str]) -> pd.DataFrame:
    """One row a file: its path, and why it was left out."""
    rows = [{"file": pictures.file(name), "reason": reason} for name, reason in reasons.items()]
    return pd.DataFrame(rows, columns=["file", "reason"])


def segment(
    pictures: ImageFiles,
    best_model: dict[str, Any],
    data: DataConfig,
    inference: InferenceConfig,
    runtime: RuntimeConfig,
) -> Mapping[str, Segmentation | None]:
    """Mask and overlay of every picture, each made when the catalog writes it; None for one that is gone by then.

    Raises:
        VocSegError: The model was trained for other classes than ``data.classes``, or does not say how it was scored.
    """
    classes = data.class_table
    require_classes(best_model, classes.names)
    if warning := scale_warning(best_model, data.longer_side, inference):
        logger.warning("%s", warning)
    chosen = choose_runtime(runtime)
    segmenter = load_segmenter(best_model, inference, chosen)
    logger.info(
        "Pictures: %d; model of epoch %d, val mIoU %.3f; %s",
        len(pictures), best_model["epoch"], best_model["val_miou"], chosen,
    )  # fmt: skip

    def make(name: str) -> Segmentation | None:
        try:
            image = pictures[name]
        except VocSegError as error:
            logger.warning("Left out, although it was readable at first: %s", error)
            return None
        mask = segmenter(image)
        return Segmentation(palette_image(mask, classes), labelled_overlay(image, mask, classes))

    return LazyMapping(tuple(pictures), make)


def measure_shares(
    pictures: ImageFiles, masks: Mapping[str, np.ndarray], unreadable: pd.DataFrame, data: DataConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a picture with a mask: name, file, size, share of its pixels of each class; and a table of the others.

    Args:
        pictures: Those that could be read at first.
        masks: Of those that could still be read when they were segmented.
        unreadable: Files that could not be read at first, with the reason.
        data: For the classes.
    """
    rows, lost = [], {}
    for name in pictures:
        if name not in masks:
            lost[name] = _why_lost(pictures, name)
            continue
        mask = masks[name]
        height, width = mask.shape
        rows.append(
            {"image": name, "file": pictures.file(name), "height": height, "width": width}
            | class_shares(mask, data.class_table)
        )
    return pd.DataFrame(rows), pd.concat([unreadable, _rejected(pictures, lost)], ignore_index=True)


def _why_lost(pictures: ImageFiles, name: str) -> str:
    try:
        pictures[name]
    except VocSegError as error:
        return printable(f"changed during the run: {error}")
    return "changed during the run: it was unreadable when it was to be segmented"


def draw_gallery(
    pictures: ImageFiles,
    masks: Mapping[str, np.ndarray],
    shares: pd.DataFrame,
    rejected: pd.DataFrame,
    data: DataConfig,
) -> Figure:
    """The first dozen overlays as a contact sheet; and a last word on what was done."""
    classes = data.class_table
    drawn = (_drawn(pictures, name, masks[name], classes) for name in pictures if name in masks)
    items = list(islice((item for item in drawn if item), SHEET_IMAGES))
    logger.info("Pictures segmented: %d, files left out: %d.", len(shares), len(rejected))
    return plot_contact_sheet(items, len(shares), len(rejected), classes)


def _drawn(pictures: ImageFiles, name: str, mask: np.ndarray, classes: Classes) -> Thumbnail | None:
    """A picture for the contact sheet; None where it is no longer the one that was segmented."""
    try:
        image = pictures[name]
    except VocSegError as error:
        logger.warning("Not on the contact sheet: %s", error)
        return None
    if image.shape[:2] != mask.shape:
        logger.warning("Not on the contact sheet: %s no longer has the size of its mask", pictures.file(name))
        return None
    return thumbnail(name, image, mask, classes)
