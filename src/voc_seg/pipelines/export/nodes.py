"""Nodes of the export pipeline."""

import logging
from pathlib import PurePath
from typing import Any

from torch import nn

from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, ModelInput
from voc_seg.engine.preprocessing import inference_scale_warning
from voc_seg.models.encoder import count_parameters
from voc_seg.models.exchange import merge_evaluation, model_metadata, to_safetensors
from voc_seg.models.onnx_export import CHECKED, OPSET, missing_packages, to_onnx
from voc_seg.models.registry import require_trained_for, restore_model
from voc_seg.models.saved import SETTINGS, require_fields
from voc_seg.reporting.model_card import model_card
from voc_seg.reporting.same_evaluation import is_score_of
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)


def export_model(
    scored_model: dict[str, Any],
    evaluation_facts: dict[str, Any],
    metrics: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    inference: InferenceConfig,
) -> tuple[bytes, bytes, str]:
    """Export the best model as files for use elsewhere.

    Files are written in the order returned. A killed export leaves no card beside files of another model: the datasets
    of both files delete the old card first, and the new one is written last.

    Returns:
        ``model.onnx``, empty if the extra is not installed; ``model.safetensors``; ``MODEL_CARD.md``.

    Raises:
        VocSegError: ``data.classes`` differ from those of the model, or the model has no settings.
    """
    saved = _without_local_paths(scored_model, data)
    if warning := inference_scale_warning(saved, data.longer_side, inference):
        logger.warning("%s", warning)
    model_input = ModelInput.of(saved)
    metadata = model_metadata(saved, class_colours=data.class_table.colours, mean=model_input.mean, std=model_input.std)
    model = restore_model(saved)
    onnx, onnx_facts = _to_onnx(model, metadata)
    weights = to_safetensors(saved, metadata)
    sizes = {"model.safetensors": len(weights), "model.onnx": len(onnx)}
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
        evaluation.scales,
    )
    return onnx, weights, card


def _to_onnx(model: nn.Module, metadata: dict[str, str]) -> tuple[bytes, dict[str, Any]]:
    """An ONNX file, and how it was checked; both empty if the extra is not installed."""
    if missing := missing_packages():
        logger.warning("model.onnx is not written without %s. To get it: pip install -e '.[onnx]'", ", ".join(missing))
        return b"", {}
    exported = to_onnx(model, metadata)
    sizes = ", ".join(" x ".join(map(str, size)) for size in CHECKED)
    logger.info("model.onnx agrees with torch at %s: logits differ by %.1g at most", sizes, exported.difference)
    return exported.content, {
        "opset": OPSET,
        "onnxruntime": exported.runtime,
        "sizes": sizes,
        "difference": exported.difference,
    }


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
