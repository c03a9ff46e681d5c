"""Nodes of the export pipeline."""

import logging
from pathlib import PurePath
from typing import Any

from voc_seg.config import DataConfig, InferenceConfig
from voc_seg.engine.inference import scale_warning
from voc_seg.models.encoder import count_parameters
from voc_seg.models.exchange import merge_evaluation, model_metadata, to_safetensors
from voc_seg.models.onnx_export import CHECKED, OPSET, missing_packages, to_onnx
from voc_seg.models.registry import require_classes, restore_model
from voc_seg.models.saved import SETTINGS, require_fields
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.reporting.model_card import model_card
from voc_seg.reporting.same_evaluation import is_score_of
from voc_seg.samples.augment import MEAN, STD
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)


def export_model(
    scored_model: dict[str, Any],
    evaluation_facts: dict[str, Any],
    metrics: dict[str, Any],
    data: DataConfig,
    inference: InferenceConfig,
) -> tuple[bytes, bytes, bytes, str]:
    """The best model as files to take away, all of one reading of it.

    They are returned in the order in which they are written. An export that is killed leaves no card beside files that
    it is not about: the old card goes first, the new one comes last.

    Returns:
        Nothing in place of the old card; ``model.onnx``, empty where the extra is not installed;
        ``model.safetensors``; ``MODEL_CARD.md``.

    Raises:
        VocSegError: ``data.classes`` are not those of the model, or it does not say its settings.
    """
    saved = _to_take_away(scored_model, data)
    if warning := scale_warning(saved, data.longer_side, inference):
        logger.warning("%s", warning)
    metadata = model_metadata(saved, class_colours=data.class_table.colours, mean=MEAN, std=STD)
    model = restore_model(saved)
    onnx, onnx_facts = _to_onnx(model, metadata)
    weights = to_safetensors(saved, metadata)
    sizes = {"model.safetensors": len(weights), "model.onnx": len(onnx)}
    scores = merge_evaluation(metrics, evaluation_facts)
    if metrics and not is_score_of(scores, saved):
        logger.warning(
            "metrics.json is not from an evaluation of best_model.pth (model_digest %s, not %s): the card has no "
            "scores. To have them: kedro run --pipelines evaluation,export",
            metrics.get("model_digest", "unknown"), saved["model_digest"],
        )  # fmt: skip
    card = model_card(
        saved,
        data.class_table,
        (MEAN, STD),
        count_parameters(model),
        {name: size for name, size in sizes.items() if size},
        onnx_facts,
        scores,
        inference,
    )
    return b"", onnx, weights, card


def _to_onnx(model: SegmentationNet, metadata: dict[str, str]) -> tuple[bytes, dict[str, Any]]:
    """An ONNX file, and how it was checked; nothing where the extra is not installed."""
    if missing := missing_packages():
        logger.warning("No model.onnx without %s. To have it: pip install -e '.[onnx]'", ", ".join(missing))
        return b"", {}
    made = to_onnx(model, metadata)
    sizes = ", ".join(" x ".join(map(str, size)) for size in CHECKED)
    logger.info("model.onnx agrees with torch at %s: logits differ by %.1g at most", sizes, made.difference)
    return made.content, {
        "opset": OPSET,
        "onnxruntime": made.runtime,
        "sizes": sizes,
        "difference": made.difference,
    }


def _to_take_away(scored_model: dict[str, Any], data: DataConfig) -> dict[str, Any]:
    """The model without the path its initial weights had on this machine."""
    require_classes(scored_model, data.class_table.names)
    if "config" not in scored_model:
        raise VocSegError(
            "best_model was saved by a version that did not write down its settings. Train anew: "
            "kedro run --pipelines training"
        )
    require_fields(scored_model, "best_model", *SETTINGS)
    weights = scored_model["model_config"]["weights"]
    model_config = scored_model["model_config"] | {"weights": weights and PurePath(weights).name}
    return scored_model | {"model_config": model_config}
