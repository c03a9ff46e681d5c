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
from voc_seg.engine.device_facts import device_facts
from voc_seg.engine.held_out import held_out_fold
from voc_seg.engine.runtime import choose_runtime
from voc_seg.metrics import boundaries, calibration, intervals
from voc_seg.metrics import confusion as scores
from voc_seg.models.members import fold_of, is_chosen_on_val, members_of
from voc_seg.models.registry import require_trained_for, restore_model
from voc_seg.reporting import report as reporting
from voc_seg.reporting import report_images
from voc_seg.reporting.augmented import crops_of_model
from voc_seg.reporting.confidence import confidence_charts, plot_confidence
from voc_seg.reporting.confusion_figure import plot_confusion
from voc_seg.reporting.figures import plot_class_iou
from voc_seg.reporting.predictions import GALLERY_ROWS, gallery_items, plot_gallery, plot_prediction
from voc_seg.reporting.same_evaluation import (
    calibration_of,
    counts_of_images,
    require_same_counts,
    require_same_images,
    require_same_mask,
    require_same_model,
    require_values,
)
from voc_seg.reporting.tables import OTHER_STORED_SIZE, score_table, score_warnings
from voc_seg.samples.store import SampleStore
from voc_seg.voc.groups import stated_groups
from voc_seg.voc.masks import palette_image

logger = logging.getLogger(__name__)


def choose_split(
    train_samples: SampleStore, val_samples: SampleStore, test_samples: SampleStore, scored_model: dict[str, Any],
    evaluation: EvaluationConfig,
) -> SampleStore:  # fmt: skip
    """The samples that ``evaluation.split`` names."""
    splits = {"train": train_samples, "val": val_samples, "test": test_samples}
    return splits[evaluation.split] if evaluation.split in splits else held_out_fold(train_samples, scored_model)


def evaluate(
    samples: SampleStore,
    scored_model: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    runtime: RuntimeConfig,
) -> tuple[dict[str, Image.Image], pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Predict every image once with the best model.

    Outputs are written in the order returned, so that a killed evaluation leaves no scores of other masks: masks come
    first, and their dataset deletes the old facts and scores; new facts and scores come last.

    Returns:
        Masks; confusion matrix; scores per image; confusion matrix of each image; bins of the confidence; facts about
        the evaluation.

    Raises:
        VocSegError: The model, the samples and ``data.classes`` have different classes.
    """
    classes = data.class_table
    require_trained_for(scored_model, data)
    samples.require_reading(data.reading)
    origin = samples.origin
    trained_on, scored_on = scored_model.get("source"), origin.source
    if named := scored_model.get("config", {}).get("data", {}).get("name"):
        trained_on, scored_on = named, origin.name
    if trained_on not in (None, scored_on):
        logger.warning(
            "best_model was trained on %r, but the samples to score are from %r. If that is not intended, train with "
            "the same --env first.", trained_on, scored_on,
        )  # fmt: skip
    chosen = choose_runtime(runtime)
    temperature = scored_model.get("temperature", 1.0)
    result = engine.evaluate(
        restore_model(scored_model), samples, evaluation, chosen, scored_model["image_size"], temperature
    )
    names = list(classes.names)
    facts = {
        "split": f"fold {fold_of(scored_model)}" if evaluation.split == "fold" else evaluation.split,
        "source": origin.source,
        "data_name": origin.name,
        "images": len(samples),
        "scale": evaluation.scale,
        "scales": list(evaluation.scales) if evaluation.scales else None,
        "flip": evaluation.flip,
        "tile": evaluation.tile,
        "longer_side": data.longer_side,
        **_other_stored_size(scored_model, data),
        "model_digest": scored_model["model_digest"],
        "temperature": temperature,
        "checkpoint_epoch": scored_model["epoch"],
        "checkpoint_val_miou": scored_model["val_miou"],
        "chosen_on_val": is_chosen_on_val(scored_model),
        "images_per_second": result.images_per_second,
        **device_facts(chosen),
    }
    confusion = pd.DataFrame(result.score.confusion, index=pd.Index(names, name="truth"), columns=names)
    masks = {image_id: palette_image(mask, classes) for image_id, mask in result.masks.items()}
    bins = calibration.to_rows(result.calibration, names) if result.calibration else pd.DataFrame()
    confusions = result.confusions
    if samples.read_index and (groups := stated_groups(samples.read_index())):
        confusions.insert(1, "group", confusions["image_id"].map(groups).fillna(""))
    return masks, confusion, pd.DataFrame(result.images), confusions, bins, facts


def _other_stored_size(scored_model: dict[str, Any], data: DataConfig) -> dict[str, Any]:
    """The ``data.longer_side`` of the training as a fact of the evaluation, if it differs; else empty."""
    trained = scored_model.get("config", {}).get("data", {})
    # Missing in models of earlier versions; with image_size, the stored size does not matter.
    if "longer_side" not in trained or trained["longer_side"] == data.longer_side or scored_model.get("image_size"):
        return {}
    return {OTHER_STORED_SIZE: trained["longer_side"]}


def summarise(
    confusion_matrix: pd.DataFrame,
    evaluation_facts: dict[str, Any],
    image_confusions: pd.DataFrame,
    confidence_bins: pd.DataFrame,
) -> tuple[dict, pd.DataFrame]:
    """Scores of the split and of each class with their intervals, also logged as a table.

    There are no intervals without ``image_confusions``, and no calibration without ``confidence_bins``, which
    evaluations of earlier versions lack. Raises VocSegError if the counts are from another evaluation than the matrix.
    """
    require_values(evaluation_facts, "evaluation_facts")
    confusion = confusion_matrix.to_numpy()
    class_scores = scores.class_scores(confusion, confusion_matrix.columns)
    shown = (
        "split", "images", "model_digest", "checkpoint_epoch", "images_per_second", "device", "precision",
        "temperature",
    )  # fmt: skip
    # Facts from earlier versions have no digest.
    metrics = {key: evaluation_facts[key] for key in shown if key in evaluation_facts} | scores.summarise(confusion)
    if not image_confusions.empty:
        counts = counts_of_images(image_confusions, confusion_matrix)
        near = boundaries.from_columns(image_confusions, len(confusion))
        metrics |= intervals.score_intervals(counts) | boundaries.summarise(near)
        metrics["intervals_unreliable"] = intervals.unreliable_because(counts) or None
        if counts.groups is not None:
            metrics["image_groups"] = len(counts.by_group())
        class_scores = class_scores.join(intervals.class_intervals(counts))
        class_scores["boundary_iou"] = near.boundary.total().iou()
    if not confidence_bins.empty:
        metrics |= calibration.summarise(calibration.from_rows(confidence_bins, confusion_matrix.columns))
    if evaluation_facts.get("scales"):
        metrics["scales"] = evaluation_facts["scales"]  # scores are not those of the validation
    if evaluation_facts.get("longer_side"):
        metrics["longer_side"] = evaluation_facts["longer_side"]  # scores are not at the original size
    if OTHER_STORED_SIZE in evaluation_facts:
        metrics[OTHER_STORED_SIZE] = evaluation_facts[OTHER_STORED_SIZE]
    logger.info("Scores on %s\n%s", metrics["split"], score_table(class_scores, metrics))
    for warning in score_warnings(class_scores, metrics):
        logger.warning("%s", warning)
    return metrics, class_scores


def draw_scores(
    class_scores: pd.DataFrame, metrics: dict[str, Any], confusion_matrix: pd.DataFrame, confidence_bins: pd.DataFrame
) -> tuple[Figure, Figure, Figure]:
    """Draw the IoU of each class, the confusion matrix and the confidence; refuse those of different evaluations."""
    require_values(metrics, "metrics")
    require_same_counts(metrics, confusion_matrix, class_scores)
    confidence = calibration_of(confidence_bins, metrics, confusion_matrix.columns)
    return plot_class_iou(class_scores, metrics), plot_confusion(confusion_matrix), plot_confidence(confidence)


def draw_predictions(
    samples: SampleStore,
    predictions: Mapping[str, np.ndarray],
    image_scores: pd.DataFrame,
    data: DataConfig,
    evaluation: EvaluationConfig,
) -> tuple[Figure, dict[str, Figure]]:
    """Draw some images from the worst to the best, as one gallery and one figure each.

    Raises VocSegError if masks and scores are from different evaluations, or from another split.
    """
    require_same_images(samples.ids, predictions, image_scores)
    ranked = image_scores.sort_values("miou", kind="stable")
    items = gallery_items(samples, predictions, ranked.iloc[_evenly_spaced(len(ranked), evaluation.pictures)])
    rows = [items[position] for position in _evenly_spaced(len(items), GALLERY_ROWS)]
    classes = data.class_table
    for sample, mask, miou in items:
        ious = report_images.class_ious(sample.id, sample.mask, mask, len(classes))
        require_same_mask(sample.id, (iou for _, iou in ious), miou)
    figures = {sample.id: plot_prediction(sample, mask, miou, classes) for sample, mask, miou in items}
    return plot_gallery(rows, classes), figures


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
    confidence_bins: pd.DataFrame,
    train_samples: SampleStore | None = None,
) -> Report:
    """The report page, and thumbnails of every image, which are drawn while they are saved.

    The page shows training crops if the model was trained on ``train_samples``.

    Raises VocSegError unless scores, confusion matrix and masks are all from one evaluation of this model.
    """
    require_same_model(metrics, scored_model)
    require_same_counts(metrics, confusion_matrix, class_scores)
    require_same_images(samples.ids, predictions, image_scores)
    classes, source = data.class_table, samples.origin.name
    images = report_images.describe_images(samples, predictions, image_scores, classes)
    for image in images:
        require_same_mask(image["id"], (iou for _, iou in image["classes"]), image["miou"])
    encoder, members = scored_model["model_config"]["encoder"], members_of(scored_model)
    networks = f"Ensemble of {len(members)} x {encoder}" if members else encoder
    page = reporting.fill_page(
        f"{networks} on {source or 'data of unknown source'}",
        images,
        metrics,
        class_scores,
        confusion_matrix,
        reporting.matching_history(scored_model, model_history),
        reporting.describe_settings(scored_model, metrics, source, _shown(evaluation)),
        classes,
        crops_of_model(scored_model, train_samples, classes),
        confidence_charts(calibration_of(confidence_bins, metrics, classes.names)) if "ece" in metrics else None,
    )
    return Report(page, reporting.IMAGE_FOLDER, report_images.draw_images(samples, predictions, classes), len(samples))


def _shown(evaluation: EvaluationConfig) -> dict[str, Any]:
    """The settings behind the scores, for the report."""
    return evaluation.model_dump(include={"scales" if evaluation.scales else "scale", "flip"}, mode="json")


def _evenly_spaced(size: int, count: int) -> list[int]:
    """At most ``count`` positions in ``range(size)``, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, size - 1, min(count, size), dtype=int)).tolist()
