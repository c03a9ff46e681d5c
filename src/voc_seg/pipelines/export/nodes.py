"""Nodes of the export pipeline."""

import logging
from pathlib import PurePath
from typing import Any

from voc_seg.config import DataConfig
from voc_seg.errors import VocSegError
from voc_seg.models.encoder import count_parameters
from voc_seg.models.exchange import describe, to_safetensors
from voc_seg.models.onnx_export import CHECKED, OPSET, missing_packages, to_onnx
from voc_seg.models.registry import require_classes, restore_model
from voc_seg.reporting.model_card import model_card
from voc_seg.samples.augment import MEAN, STD

logger = logging.getLogger(__name__)


def export_weights(best_model: dict[str, Any], data: DataConfig) -> bytes:
    """The best model as a safetensors file.

    Raises:
        VocSegError: ``data.classes`` are not those of the model.
    """
    saved = _to_take_away(best_model, data)
    return to_safetensors(saved, _metadata(saved, data))


def export_onnx(best_model: dict[str, Any], data: DataConfig) -> tuple[bytes, dict[str, Any]]:
    """The best model as an ONNX file, and how it was checked; nothing where the extra is not installed."""
    if missing := missing_packages():
        logger.warning("No model.onnx without %s. To have it: pip install -e '.[onnx]'", ", ".join(missing))
        return b"", {}
    made = to_onnx(restore_model(best_model), _metadata(_to_take_away(best_model, data), data))
    sizes = ", ".join(" x ".join(map(str, size)) for size in CHECKED)
    logger.info("model.onnx agrees with torch at %s: logits differ by %.1g at most", sizes, made.difference)
    return made.content, {
        "opset": OPSET,
        "onnxruntime": made.runtime,
        "sizes": sizes,
        "difference": made.difference,
    }


def write_card(
    best_model: dict[str, Any],
    exported_weights: bytes,
    exported_onnx: bytes,
    onnx_facts: dict[str, Any],
    evaluation_facts: dict[str, Any],
    metrics: dict[str, Any],
    data: DataConfig,
) -> str:
    """What goes with the files: data, recipe, scores, classes, and how to use them."""
    # No two runs have the same speed to the last digit: facts and scores are of one evaluation, or passed over.
    of_one_run = evaluation_facts.get("images_per_second") == metrics.get("images_per_second")
    sizes = {"model.safetensors": len(exported_weights), "model.onnx": len(exported_onnx)}
    return model_card(
        _to_take_away(best_model, data),
        data.class_table,
        (MEAN, STD),
        count_parameters(restore_model(best_model)),
        {name: size for name, size in sizes.items() if size},
        onnx_facts,
        evaluation_facts | metrics if of_one_run else {},
    )


def _to_take_away(best_model: dict[str, Any], data: DataConfig) -> dict[str, Any]:
    """The best model without the path its initial weights had on this machine."""
    require_classes(best_model, data.class_table.names)
    if "config" not in best_model:
        raise VocSegError(
            "best_model was saved by a version that did not write down its settings. Train anew: "
            "kedro run --pipelines training"
        )
    weights = best_model["model_config"]["weights"]
    return best_model | {"model_config": best_model["model_config"] | {"weights": weights and PurePath(weights).name}}


def _metadata(saved: dict[str, Any], data: DataConfig) -> dict[str, str]:
    return describe(saved, class_colours=data.class_table.colours, mean=MEAN, std=STD)
