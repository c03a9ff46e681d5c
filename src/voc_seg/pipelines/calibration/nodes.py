"""Nodes of the calibration pipeline."""

import logging
from typing import Any

from voc_seg.config import DataConfig, EvaluationConfig, RuntimeConfig
from voc_seg.engine.calibration import collect_scores
from voc_seg.engine.runtime import choose_runtime
from voc_seg.metrics.temperature import cross_entropy, cross_fitted_error, fit_temperature, top_label_error
from voc_seg.models.exchange import model_digest
from voc_seg.models.registry import require_trained_for, restore_model
from voc_seg.reporting.tables import score
from voc_seg.samples.store import SampleStore

logger = logging.getLogger(__name__)

_FEW_IMAGES = 10
"""Below this the temperature depends on single images."""


def calibrate(
    val_samples: SampleStore,
    best_model: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    runtime: RuntimeConfig,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit the temperature on val with the settings of evaluation.

    Returns:
        What was fitted, and the errors without it and with it (``ece_after``: with the temperature of the other half of
        val; ``cross_entropy_after``: on the images that it was fitted to); the model with its ``temperature``.

    Raises:
        VocSegError: The model and the samples have different classes, or no temperature is best.
    """
    require_trained_for(best_model, data)
    val_samples.require_reading(data.reading)
    model, chosen = restore_model(best_model), choose_runtime(runtime)
    on_val = evaluation.model_copy(update={"split": "val"})
    pixels = collect_scores(model, val_samples, on_val, chosen, best_model["image_size"])
    temperature = fit_temperature(pixels)
    before, after = top_label_error(pixels, 1.0), cross_fitted_error(pixels)
    found = {
        "temperature": temperature,
        "split": "val",
        "images": len(val_samples),
        "pixels": len(pixels.truth),
        "ece_before": before,
        "ece_after": after,
        "cross_entropy_before": cross_entropy(pixels, 1.0),
        "cross_entropy_after": cross_entropy(pixels, temperature),
        "model_digest": model_digest(best_model),
    }
    logger.info(
        "Temperature %.3g, from %d pixels of %d val images: the network is %s. Expected calibration error %s before, "
        "%s with it, each half of val with the temperature of the other half. The predicted classes stay the same.",
        temperature, found["pixels"], found["images"], "overconfident" if temperature > 1 else "underconfident",
        score(before), score(after),
    )  # fmt: skip
    if len(val_samples) < _FEW_IMAGES or not after < before:
        logger.warning(
            "This temperature is not to be relied on: %s. Use more images in val, or train again, which writes a model "
            "without a temperature.",
            f"val has only {len(val_samples)} image{'s' * (len(val_samples) != 1)}" if len(val_samples) < _FEW_IMAGES
            else "with the temperature of the other half of val, the error of each half is no smaller than before",
        )  # fmt: skip
    return found, best_model | {"temperature": temperature}
