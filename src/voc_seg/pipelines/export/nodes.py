"""Nodes of the export pipeline."""

import logging
import math
from pathlib import PurePath
from typing import Any

from torch import nn

from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, ModelInput
from voc_seg.engine.export_check import CHECKED as CHECKED_MASKS
from voc_seg.engine.export_check import share_of_other_pixels
from voc_seg.engine.export_formats import quantise_and_compare, with_processing
from voc_seg.engine.preprocessing import inference_scale_warning, settings_record
from voc_seg.models.encoder import count_parameters
from voc_seg.models.exchange import (
    INT8,
    MASKS,
    NETWORK,
    TORCH,
    merge_evaluation,
    model_metadata,
    to_config,
    to_safetensors,
)
from voc_seg.models.onnx_digest import with_digest
from voc_seg.models.onnx_export import CHECKED, OPSET, missing_packages, to_onnx
from voc_seg.models.registry import require_trained_for, restore_model
from voc_seg.models.saved import SETTINGS, require_fields, trained_on
from voc_seg.reporting.card_files import change_by_int8
from voc_seg.reporting.demo import demo_files, why_no_demo
from voc_seg.reporting.model_card import model_card
from voc_seg.reporting.same_evaluation import is_score_of
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)


def export_model(
    scored_model: dict[str, Any],
    evaluation_facts: dict[str, Any],
    metrics: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    inference: InferenceConfig,
    train: SampleStore | None = None,
    val: SampleStore | None = None,
) -> tuple[bytes, bytes, bytes, bytes, bytes, str]:
    """Export the best model as files for use elsewhere, and compare them on val, if there are samples.

    Files are written in the order returned. A killed export leaves no card beside files of another model: the datasets
    of both files delete the old card first, and the new one is written last.

    Returns:
        ``model.onnx`` and ``model_masks.onnx``, empty if the extra is not installed; ``model_masks_int8.onnx``, empty
        if its masks are worse or could not be scored; ``model.safetensors``; ``config.json``; ``MODEL_CARD.md``.

    Raises:
        VocSegError: ``data.classes`` differ from those of the model, or the model has no settings.
    """
    saved = _without_local_paths(scored_model, data)
    if warning := inference_scale_warning(saved, data.longer_side, inference):
        logger.warning("%s", warning)
    model_input = ModelInput.of(saved)
    saved |= settings_record(inference, evaluation, data.class_table)
    metadata = model_metadata(saved, mean=model_input.mean, std=model_input.std)
    model = restore_model(saved)
    onnx, masks, onnx_facts = _to_onnx(model, metadata, saved)
    int8, measured = _to_int8(onnx, masks, saved, data, train, val) if onnx else (b"", {})
    masks, int8 = (content and with_digest(content) for content in (masks, int8))
    weights = to_safetensors(saved, metadata)
    sizes = {TORCH: len(weights), NETWORK: len(onnx), MASKS: len(masks), INT8: len(int8)}
    scores = merge_evaluation(metrics, evaluation_facts)
    if metrics and not is_score_of(scores, saved):
        logger.warning(
            "metrics.json is not from an evaluation of best_model.pth (model_digest %s, not %s): the card has no "
            "scores. To add them: kedro run --pipelines evaluation,export",
            metrics.get("model_digest", "unknown"), saved["model_digest"],
        )  # fmt: skip
    card = model_card(
        saved,
        data.class_table,
        (model_input.mean, model_input.std),
        count_parameters(model),
        {name: size for name, size in sizes.items() if size},
        onnx_facts,
        scores,
        inference,
        measured,
    )
    return onnx, masks, int8, weights, to_config(metadata), card


def build_demo(scored_model: dict[str, Any], masks: bytes, card: str, data: DataConfig) -> dict[str, bytes]:
    """The page that tries the exported model in a browser, by file name; empty if there is none for this model."""
    if reason := why_no_demo(scored_model, masks):
        logger.warning("No demo page is written: %s", reason)
        return {}
    return demo_files(masks, card, scored_model, data.class_table)


def _to_onnx(model: nn.Module, metadata: dict[str, str], saved: dict[str, Any]) -> tuple[bytes, bytes, dict[str, Any]]:
    """Both ONNX files, and how they were checked; all empty if the extra is not installed."""
    if missing := missing_packages():
        logger.warning(
            "No ONNX file is written without %s. To get them: pip install 'voc_seg[onnx]'", ", ".join(missing)
        )
        return b"", b"", {}
    exported = to_onnx(model, metadata)
    sizes = ", ".join(" x ".join(map(str, size)) for size in CHECKED)
    logger.info("model.onnx agrees with torch at %s: logits differ by %.1g at most", sizes, exported.difference)
    masks = with_processing(exported.content, saved)
    other = share_of_other_pixels(masks, saved)
    logger.info("model_masks.onnx: %.2g %% of the pixels differ from torch's masks in fp32", 100 * other)
    return (
        exported.content,
        masks,
        {
            "opset": OPSET,
            "onnxruntime": exported.runtime,
            "sizes": sizes,
            "difference": exported.difference,
            "other_pixels": other,
            "mask_sizes": ", ".join(f"{height} x {width}" for height, width in CHECKED_MASKS),
        },
    )


def _to_int8(
    onnx: bytes, masks: bytes, saved: dict[str, Any], data: DataConfig, train: SampleStore | None,
    val: SampleStore | None,
) -> tuple[bytes, dict[str, Any]]:  # fmt: skip
    """``model_masks_int8.onnx`` and the comparison of all files; empty, with a warning, without samples to score."""
    if reason := _why_not_comparable(saved, data, train, val):
        logger.warning(
            "%s is not written, and the model card lacks speed and mIoU of the files: %s\nTo get them, run "
            "data_processing with the data of the model, then: kedro run --pipelines export", INT8, reason,
        )  # fmt: skip
        return b"", {}
    assert train is not None and val is not None, "there are samples"
    int8, measured = quantise_and_compare(onnx, masks, saved, train, val)
    if INT8 in measured["miou"]:
        before, after = (measured["milliseconds"][name] for name in (MASKS, INT8))
        (logger.info if int8 else logger.warning)(
            "%s%s: mIoU on %d images of val %s (%.3f); %.0f instead of %.0f ms for an image of %d x %d",
            INT8, "" if int8 else f" is not written, because {_why_not_kept(measured)}", measured["images"],
            change_by_int8(measured), measured["miou"][INT8], after, before, *measured["size"],
        )  # fmt: skip
    return int8, measured


def _why_not_kept(measured: dict[str, Any]) -> str:
    is_scored = math.isfinite(measured["miou"][INT8] - measured["miou"][MASKS])
    return "it loses too much" if is_scored else "it could not be scored"


def _why_not_comparable(
    saved: dict[str, Any], data: DataConfig, train: SampleStore | None, val: SampleStore | None
) -> str:
    """Why the files cannot be scored on these samples; empty if they can."""
    if not train or not val:  # None, or without an image
        return "there are no images of train or of val with masks"
    known = trained_on(saved)
    for split, samples in (("train", train), ("val", val)):
        try:
            samples.require_reading(data.reading)
        except VocSegError as error:
            return str(error)
        if known and samples.origin.name not in ("", known):
            return f"the model was trained on {known}, and the samples of {split} are of {samples.origin.name}"
    return ""


def _without_local_paths(scored_model: dict[str, Any], data: DataConfig) -> dict[str, Any]:
    """The model without the local path of its initial weights."""
    require_trained_for(scored_model, data)
    if "config" not in scored_model:
        raise VocSegError(
            "best_model was saved by a version that did not save its settings. Train again: "
            "kedro run --pipelines training"
        )
    require_fields(scored_model, "best_model", *SETTINGS)
    weights = scored_model["model_config"]["weights"]
    model_config = scored_model["model_config"] | {"weights": weights and PurePath(weights).name}
    return scored_model | {"model_config": model_config}
