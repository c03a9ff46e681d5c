"""Nodes of the inference pipeline."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, RuntimeConfig
from voc_seg.datasets import Report
from voc_seg.datasets.annotations import Annotations
from voc_seg.datasets.image_folder import Segmentation, SegmentedFolder, Uncertainty
from voc_seg.datasets.video_folder import OverlayVideo
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.label_next import choose_to_label
from voc_seg.engine.preprocessing import evaluation_differences, inference_scale_warning
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.members import fold_of, is_of_folds
from voc_seg.models.registry import require_trained_for
from voc_seg.reporting.inference import (
    SHEET_IMAGES,
    Thumbnail,
    class_shares,
    labelled_overlay,
    plot_contact_sheet,
    thumbnail,
    void_share,
)  # fmt: skip
from voc_seg.reporting.label_next import IMAGE_FOLDER, draw_suggestion, fill_page, uncertainty_map
from voc_seg.samples.inference_images import ImageFiles, LazyMapping, rejected_table
from voc_seg.samples.video_files import VideoFile, is_video
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import Classes
from voc_seg.voc.images import dark_note
from voc_seg.voc.masks import palette_image
from voc_seg.voc.pixel_format import displayed

from .videos import lost_videos, open_rgb_video, overlay_frames

logger = logging.getLogger(__name__)

_MAX_LISTED = 10
"""Number of files in a message; inference_rejected.csv has all of them."""


def check_pictures(images: ImageFiles, data: DataConfig) -> tuple[ImageFiles, dict[str, VideoFile], pd.DataFrame]:
    """Read every image completely and the start of every video.

    Returns the readable images, the readable videos by name, and a table of the other files with the reason. Raises
    VocSegError if no file is readable.
    """
    images = replace(images, pixels=data.reading.pixels)
    reasons: dict[Path, str] = {}
    dark: list[str] = []
    videos: dict[str, VideoFile] = {}
    with progress_bar("checking images", len(images)) as advance:
        for name, path in images.paths.items():
            try:
                if is_video(path):
                    videos[name] = open_rgb_video(path, data.reading.pixels.channels)
                elif note := dark_note(images[name], path, images.pixels):
                    dark.append(f"{path}: {note}")
            except VocSegError as error:
                reasons[path] = printable(str(error))
            advance(1)
    listed = "\n".join(f"  {reason}" for reason in islice(reasons.values(), _MAX_LISTED))
    more = f"\n  and {len(reasons) - _MAX_LISTED} more" if len(reasons) > _MAX_LISTED else ""
    if len(reasons) == len(images):
        raise VocSegError(f"None of the given files ({len(images)}) is a readable image or video:\n{listed}{more}")
    if reasons:
        logger.warning("Rejected files: %d of %d\n%s%s", len(reasons), len(images), listed, more)
    if dark:
        logger.warning("Images that are nearly black: %d of %d, such as %s", len(dark), len(images), dark[0])
    readable = [name for name, path in images.paths.items() if path not in reasons and name not in videos]
    return images.only(readable), videos, rejected_table(reasons)


def segment(
    images: ImageFiles,
    videos: Mapping[str, VideoFile],
    best_model: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    inference: InferenceConfig,
    runtime: RuntimeConfig,
) -> tuple[Mapping[str, Segmentation | None], Mapping[str, OverlayVideo]]:
    """Mask, overlay and so on of every image, and the overlays of every video, computed when the catalog writes them.

    An image that is unreadable by then is None. Raises VocSegError if the model was trained for other classes than
    ``data.classes`` or on images read in another way, or lacks evaluation settings.
    """
    classes = data.class_table
    require_trained_for(best_model, data)
    for warning in (
        inference_scale_warning(best_model, data.longer_side, inference),
        *evaluation_differences(best_model, evaluation, inference),
    ):
        if warning:
            logger.warning("%s", warning)
    chosen = choose_runtime(runtime)
    segmenter = load_segmenter(best_model, inference, chosen, evaluation.scales)
    logger.info(
        "Images: %d, videos: %d; model of epoch %d, mIoU %.3f on %s; %s",
        len(images), len(videos), best_model["epoch"], best_model["val_miou"],
        "its folds of train" if fold_of(best_model) or is_of_folds(best_model) else "val", chosen,
    )  # fmt: skip

    def segment_image(name: str) -> Segmentation | None:
        try:
            image = images[name]
        except VocSegError as error:
            logger.warning("Rejected, although it was readable at first: %s", error)
            return None
        found = segmenter.predict(image)
        return Segmentation(
            palette_image(found.mask, classes),
            labelled_overlay(displayed(image), found.mask, classes),
            None if found.confidence is None else Image.fromarray(found.confidence),
            None
            if found.uncertainty is None or found.feature is None
            else Uncertainty(found.uncertainty.mean() / 255, uncertainty_map(found.uncertainty), found.feature),
        )

    def segment_video(name: str) -> OverlayVideo:
        return OverlayVideo(videos[name], overlay_frames(videos[name], segmenter, classes))

    return LazyMapping(tuple(images), segment_image), LazyMapping(tuple(videos), segment_video)


def measure_shares(
    images: ImageFiles,
    masks: Mapping[str, np.ndarray],
    videos: Mapping[str, VideoFile],
    video_files: Sequence[Path],
    unreadable: pd.DataFrame,
    data: DataConfig,
    inference: InferenceConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fraction of pixels of each class, one row per segmented image; and a table of all rejected files.

    ``unreadable`` has the files that were unreadable at first; files without a mask, and videos without one of the
    ``video_files``, became unreadable since. With ``inference.min_confidence``, a column ``void`` has the fraction of
    pixels that are less sure.
    """
    rows, lost = [], lost_videos(videos, video_files)
    for name in images:
        if name not in masks:
            lost[images.paths[name]] = _why_lost(images, name)
            continue
        mask = masks[name]
        height, width = mask.shape
        rows.append(
            {"image": name, "file": images.file(name), "height": height, "width": width}
            | class_shares(mask, data.class_table)
            | ({} if inference.min_confidence is None else {"void": void_share(mask)})
        )
    columns = ["image", "file", "height", "width", *data.class_table.names]  # also without an image
    columns += [] if inference.min_confidence is None else ["void"]
    return pd.DataFrame(rows, columns=columns), pd.concat([unreadable, rejected_table(lost)], ignore_index=True)


def _why_lost(images: ImageFiles, name: str) -> str:
    try:
        images[name]
    except VocSegError as error:
        return printable(f"changed during the run: {error}")
    return "changed during the run: it could not be read when it was its turn"


def export_masks(
    images: ImageFiles, masks: Mapping[str, np.ndarray], data: DataConfig, inference: InferenceConfig
) -> Annotations:
    """The masks for the annotation tools of ``inference.formats``; read when the catalog writes them."""
    return Annotations(inference.formats or (), images.paths, masks, data.class_table.names)


def suggest_images(
    images: ImageFiles, masks: SegmentedFolder, data: DataConfig, inference: InferenceConfig
) -> tuple[pd.DataFrame, Report]:
    """The images to label next, one row each, and a page that shows them; both empty without ``inference.label_next``.

    They are empty without images, too: frames of videos are not suggested.

    Raises VocSegError if the masks were predicted without it.
    """
    if not inference.label_next or not images:
        return pd.DataFrame(), Report("", IMAGE_FOLDER, (), 0)
    known = masks.uncertainties()
    known = known[known["image"].isin(images.paths.keys())]
    if known.empty:
        raise VocSegError(
            "inference.label_next: the masks are of a run without it, so nothing is known about their uncertainty. Run "
            "the whole pipeline: kedro run --pipelines inference --params inference.images=PATH,inference.label_next="
            f"{inference.label_next}"
        )
    features = np.stack(known["feature"].tolist())
    chosen, distances = choose_to_label(known["uncertainty"].to_numpy(), features, inference.label_next)
    table = known.iloc[chosen][["image", "uncertainty"]].reset_index(drop=True)
    table.insert(0, "rank", range(1, len(table) + 1))
    table.insert(2, "file", [images.file(name) for name in table["image"]])
    table["distance"] = distances
    logger.info("Images to label next: %d of %d.", len(table), len(known))
    page = fill_page(table, masks, len(known), data.class_table)
    drawings = (
        draw_suggestion(
            row.rank,
            _displayed_or_none(images, row.image),
            masks[row.image],
            masks.uncertainty(row.image),
            data.class_table,
        )
        for row in table.itertuples()
    )
    return table, Report(page, IMAGE_FOLDER, drawings, len(table))


def _displayed_or_none(images: ImageFiles, name: str) -> np.ndarray | None:
    try:
        return displayed(images[name])
    except VocSegError as error:
        logger.warning("Not on the page of images to label next: %s", error)
        return None


def draw_gallery(
    images: ImageFiles,
    masks: Mapping[str, np.ndarray],
    shares: pd.DataFrame,
    rejected: pd.DataFrame,
    videos: Mapping[str, VideoFile],
    data: DataConfig,
) -> Figure:
    """The first dozen overlays as a contact sheet; logs how many images were segmented."""
    classes = data.class_table
    thumbnails = (_thumbnail_or_none(images, name, masks[name], classes) for name in images if name in masks)
    items = list(islice((item for item in thumbnails if item), SHEET_IMAGES))
    logger.info("Images segmented: %d, files rejected: %d.", len(shares), len(rejected))
    return plot_contact_sheet(items, len(shares), len(rejected), classes, len(videos))


def _thumbnail_or_none(images: ImageFiles, name: str, mask: np.ndarray, classes: Classes) -> Thumbnail | None:
    """An image for the contact sheet; None if its file has changed since it was segmented."""
    try:
        image = images[name]
    except VocSegError as error:
        logger.warning("Not on the contact sheet: %s", error)
        return None
    if image.shape[:2] != mask.shape:
        logger.warning("Not on the contact sheet: %s no longer has the size of its mask", images.file(name))
        return None
    return thumbnail(name, displayed(image), mask, classes)
