"""Nodes of the evaluation pipeline."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from voc_seg.config import DataConfig, EvaluationConfig, RuntimeConfig
from voc_seg.datasets import Report
from voc_seg.engine import evaluation as engine
from voc_seg.engine.runtime import choose_runtime
from voc_seg.metrics import confusion as scores
from voc_seg.models.registry import require_classes, restore_model
from voc_seg.reporting import report as reporting
from voc_seg.reporting import report_images
from voc_seg.reporting.confusion_figure import plot_confusion
from voc_seg.reporting.figures import plot_class_iou
from voc_seg.reporting.predictions import GALLERY_ROWS, gallery_items, plot_gallery, plot_prediction
from voc_seg.reporting.same_evaluation import require_same_counts, require_same_images, require_same_mask
from voc_seg.reporting.tables import OTHER_STORED_SIZE, score_table, score_warnings
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.masks import palette_image

logger = logging.getLogger(__name__)


def choose_split(
    train_samples: SampleStore,
    val_samples: SampleStore,
    test_samples: SampleStore,
    evaluation: EvaluationConfig,
) -> SampleStore:
    """The samples that ``evaluation.split`` names."""
    return {"train": train_samples, "val": val_samples, "test": test_samples}[evaluation.split]


def evaluate(
    samples: SampleStore,
    scored_model: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    runtime: RuntimeConfig,
) -> tuple[bytes, bytes, pd.DataFrame, pd.DataFrame, dict[str, Image.Image], dict[str, Any]]:
    """Predict every image with the best model, once.

    The outputs are written in this order, so that a killed evaluation leaves no scores that belong to other masks: the
    old scores are deleted first, and the new facts and scores come last.

    Returns:
        Empty bytes that delete the old ``metrics.json`` and ``evaluation_facts.json``; confusion matrix; scores by
        image; masks; how it was done.

    Raises:
        VocSegError: The model, the samples and ``data.classes`` are not about the same classes.
    """
    classes = data.class_table
    require_classes(scored_model, classes.names)
    samples.require_reading(data.reading)
    origin = samples.origin
    trained_on, scored_on = scored_model.get("source"), origin.source
    if named := scored_model.get("config", {}).get("data", {}).get("name"):
        trained_on, scored_on = named, origin.name
    if trained_on not in (None, scored_on):
        logger.warning(
            "best_model was trained on %r, the samples to score are of %r. If that is not what you want, train with "
            "the same --env first.", trained_on, scored_on,
        )  # fmt: skip
    result = engine.evaluate(
        restore_model(scored_model), samples, evaluation, choose_runtime(runtime), scored_model["image_size"]
    )
    names = list(classes.names)
    facts = {
        "split": evaluation.split,
        "source": origin.source,
        "data_name": origin.name,
        "images": len(samples),
        "scale": evaluation.scale,
        "flip": evaluation.flip,
        "longer_side": data.longer_side,
        **_other_stored_size(scored_model, data),
        "model_digest": scored_model["model_digest"],
        "checkpoint_epoch": scored_model["epoch"],
        "checkpoint_val_miou": scored_model["val_miou"],
        "images_per_second": result.images_per_second,
    }
    confusion = pd.DataFrame(result.score.confusion, index=pd.Index(names, name="truth"), columns=names)
    masks = {image_id: palette_image(mask, classes) for image_id, mask in result.masks.items()}
    return b"", b"", confusion, pd.DataFrame(result.images), masks, facts


def _other_stored_size(scored_model: dict[str, Any], data: DataConfig) -> dict[str, Any]:
    """The ``data.longer_side`` of the training where it is another one, under its name among the facts; else empty."""
    trained = scored_model.get("config", {}).get("data", {})
    # Models of earlier versions do not say it; with an image_size every stored size reaches the network alike.
    if "longer_side" not in trained or trained["longer_side"] == data.longer_side or scored_model.get("image_size"):
        return {}
    return {OTHER_STORED_SIZE: trained["longer_side"]}


def summarise(confusion_matrix: pd.DataFrame, evaluation_facts: dict[str, Any]) -> tuple[dict, pd.DataFrame]:
    """Scores of the split and of each class, also printed as a table."""
    _require(evaluation_facts, "evaluation_facts")
    confusion = confusion_matrix.to_numpy()
    class_scores = scores.class_scores(confusion, confusion_matrix.columns)
    shown = ("split", "images", "model_digest", "checkpoint_epoch", "images_per_second")
    # Facts of an earlier version have no digest.
    metrics = {key: evaluation_facts[key] for key in shown if key in evaluation_facts} | scores.summarise(confusion)
    if evaluation_facts.get("longer_side"):
        metrics["longer_side"] = evaluation_facts["longer_side"]  # not the images' own size
    if OTHER_STORED_SIZE in evaluation_facts:
        metrics[OTHER_STORED_SIZE] = evaluation_facts[OTHER_STORED_SIZE]
    logger.info("Scores on %s\n%s", metrics["split"], score_table(class_scores, metrics))
    for warning in score_warnings(class_scores, metrics):
        logger.warning("%s", warning)
    return metrics, class_scores


def draw_scores(
    class_scores: pd.DataFrame, metrics: dict[str, Any], confusion_matrix: pd.DataFrame
) -> tuple[Figure, Figure]:
    """IoU by class, and what is taken for what.

    Raises:
        VocSegError: Scores and counts are from different evaluations.
    """
    _require(metrics, "metrics")
    require_same_counts(metrics, confusion_matrix, class_scores)
    return plot_class_iou(class_scores, metrics), plot_confusion(confusion_matrix)


def _require(values: dict[str, Any], name: str) -> None:
    """Refuse an empty entry; other pipelines may do without it, so the catalog does not say that it is missing."""
    if not values:
        raise VocSegError(f"There is no {name} yet. Make it with: kedro run --pipelines evaluation")


def _require_same_model(metrics: dict[str, Any], scored_model: dict[str, Any]) -> None:
    """Refuse scores of another model: part of an evaluation, run alone after a new training, would mix the two."""
    _require(metrics, "metrics")
    for key, own in (("model_digest", "model_digest"), ("checkpoint_epoch", "epoch")):
        wanted = scored_model.get(own)
        if (found := metrics.get(key, wanted)) != wanted:
            raise VocSegError(
                f"metrics.json is of another model than best_model.pth: {key} {found}, not {wanted}. Score the present "
                "model with: kedro run --pipelines evaluation"
            )


def draw_predictions(
    samples: SampleStore,
    predictions: Mapping[str, np.ndarray],
    image_scores: pd.DataFrame,
    data: DataConfig,
    evaluation: EvaluationConfig,
) -> tuple[Figure, dict[str, Figure]]:
    """A few images from the worst to the best, as one contact sheet and one picture each.

    Raises:
        VocSegError: Masks and scores are from different evaluations, or of another split.
    """
    require_same_images(samples.ids, predictions, image_scores)
    ranked = image_scores.sort_values("miou", kind="stable")
    items = gallery_items(samples, predictions, ranked.iloc[_spread(len(ranked), evaluation.pictures)])
    sheet = [items[position] for position in _spread(len(items), GALLERY_ROWS)]
    classes = data.class_table
    for sample, mask, miou in items:
        ious = report_images.class_ious(sample.id, sample.mask, mask, len(classes))
        require_same_mask(sample.id, (iou for _, iou in ious), miou)
    figures = {sample.id: plot_prediction(sample, mask, miou, classes) for sample, mask, miou in items}
    return plot_gallery(sheet, classes), figures


def write_report(
    samples: SampleStore,
    predictions: Mapping[str, np.ndarray],
    image_scores: pd.DataFrame,
    class_scores: pd.DataFrame,
    confusion_matrix: pd.DataFrame,
    metrics: dict[str, Any],
    scored_model: dict[str, Any],
    model_history: pd.DataFrame,
    data: DataConfig,
    evaluation: EvaluationConfig,
) -> Report:
    """A page with all of it, and small pictures of every image, drawn while they are saved.

    Raises:
        VocSegError: Scores, counts and masks are not all of one evaluation, and of this model.
    """
    _require_same_model(metrics, scored_model)
    require_same_counts(metrics, confusion_matrix, class_scores)
    require_same_images(samples.ids, predictions, image_scores)
    classes, source = data.class_table, samples.origin.name
    images = report_images.describe_images(samples, predictions, image_scores, classes)
    for image in images:
        require_same_mask(image["id"], (iou for _, iou in image["classes"]), image["miou"])
    page = reporting.fill_page(
        f"{scored_model['model_config']['encoder']} on {source or 'data of unknown source'}",
        images,
        metrics,
        class_scores,
        confusion_matrix,
        reporting.matching_history(scored_model, model_history),
        reporting.describe_settings(scored_model, metrics, source, evaluation.model_dump(include={"scale", "flip"})),
        classes,
    )
    return Report(page, reporting.IMAGE_FOLDER, report_images.draw_images(samples, predictions, classes), len(samples))


def _spread(size: int, count: int) -> list[int]:
    """At most ``count`` positions of ``size``, evenly from the first to the last."""
    return np.unique(np.linspace(0, size - 1, min(count, size), dtype=int)).tolist()
