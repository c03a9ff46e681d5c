"""Nodes of the training pipeline."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    InferenceConfig,
    ModelConfig,
    Parameters,
    RuntimeConfig,
    TrainingConfig,
)
from voc_seg.engine.distributed import explain_lost_rank, find_launch
from voc_seg.engine.normalisation import with_statistics
from voc_seg.engine.preprocessing import settings_record
from voc_seg.engine.resuming import checkpoint_to_resume
from voc_seg.engine.run import HISTORY_COLUMNS
from voc_seg.engine.training import fit
from voc_seg.reporting.augmented import first_crops, plot_augmented
from voc_seg.reporting.figures import plot_history
from voc_seg.samples.feature_cache import FeatureCache
from voc_seg.samples.folds import divide_fold
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.class_checks import absence_warnings, absent_classes, require_foreground
from voc_seg.voc.statistics import class_statistics

logger = logging.getLogger(__name__)


def train(
    train_samples: SampleStore,
    val_samples: SampleStore,
    resume_checkpoint: Callable[..., dict[str, Any]],
    encoder_features: FeatureCache,
    seed: int,
    data: DataConfig,
    augmentation: AugmentationConfig,
    model: ModelConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    inference: InferenceConfig,
    runtime: RuntimeConfig,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, dict[str, Any]]]:
    """Train, and yield best model, history and checkpoint, which Kedro saves at once.

    The checkpoint is saved last: a run killed before that repeats the steps since the previous checkpoint.
    """
    parameters = Parameters(
        seed=seed,
        data=data,
        augmentation=augmentation,
        model=model,
        training=training,
        evaluation=evaluation,
        inference=inference,
        runtime=runtime,
    )
    record = settings_record(inference, evaluation, data.class_table)
    names = data.class_table.names
    if training.fold:
        train_samples, val_samples = divide_fold(train_samples, training.fold, seed)
        logger.info("Fold %s of train is held out: validations are on it, and val is not used", training.fold)
    splits = {"train": train_samples, "val": val_samples}
    for samples in splits.values():
        samples.require_reading(data.reading)
    indices = {split: samples.read_index() for split, samples in splits.items() if samples.read_index}
    check_classes(indices, names, training.monitored_class if training.select == "best" else "")
    # A frozen encoder's features have the scale of evaluation.
    if training.frozen_stages != "all" and (warning := evaluation_scale_warning(augmentation, evaluation)):
        logger.warning("%s", warning)
    if not training.resume and (hint := recipe_hint(train_samples.origin.source, augmentation, model)):
        logger.info("%s", hint)
    with explain_lost_rank():
        launch = find_launch()
        checkpoint = checkpoint_to_resume(resume_checkpoint, training.resume, launch)
    for report in fit(train_samples, val_samples, names, parameters, checkpoint, launch.name, encoder_features):
        best_model = report.best_model | record if report.best_model else {}  # empty leaves the file as it is
        yield best_model, pd.DataFrame(report.history, columns=HISTORY_COLUMNS), report.checkpoint


def check_classes(indices: Mapping[str, pd.DataFrame], names: tuple[str, ...], monitored: str = "") -> None:
    """Warn about classes without a pixel; missing indices, or those with other classes, are ignored.

    Raises VocSegError if train has only background pixels, or val none of the class whose IoU is ``monitored``.
    """
    usable = {split: index for split, index in indices.items() if {"rejected", *names} <= set(index.columns)}
    statistics = class_statistics(usable, names)
    if "train" in usable:
        require_foreground(statistics)
    if "val" in usable and monitored in absent_classes(statistics, "val"):
        raise VocSegError(
            f"training.monitor is class:{monitored}, but no usable image of val has a pixel of it, so its IoU cannot "
            "say which epoch is the best. Monitor another class, or training.monitor=miou"
        )
    for warning in absence_warnings(statistics, usable):
        logger.warning("%s", warning)


_SMALLEST_PLANNED_CROP = 128
"""`kedro import-data` plans larger crops than the sample's 96, also from scratch."""


def recipe_hint(source: str, augmentation: AugmentationConfig, model: ModelConfig) -> str:
    """A hint if the user's own data is trained with settings of the drawn sample; else empty."""
    if source != "own" or model.weights or augmentation.crop_size >= _SMALLEST_PLANNED_CROP:
        return ""
    return (
        f"Training from scratch on crops of {augmentation.crop_size} pixels, as suits the drawn sample. For "
        "photographs, start from the settings of conf/voc2012_best/parameters.yml: see docs/own_data.md"
    )


def evaluation_scale_warning(augmentation: AugmentationConfig, evaluation: EvaluationConfig) -> str:
    """What to say where validation shows the network images at a scale that it is not trained on; else empty."""
    least, most = augmentation.scale
    if augmentation.image_size:
        return ""
    if least <= evaluation.scale <= most:
        unseen = " and ".join(f"{scale:g}" for scale in evaluation.scales or () if not least <= scale <= most)
        return unseen and (
            f"evaluation.scales has {unseen}, but crops are cut at augmentation.scale {least:g} to {most:g}: there "
            "evaluation and inference show the network objects of another size than training does. Remove these "
            "factors, or compare the scores with and without them"
        )
    return (
        f"evaluation.scale is {evaluation.scale:g}, but crops are cut at augmentation.scale {least:g} to {most:g}: "
        "validation, evaluation and inference show the network objects of another size than training does. Set "
        f"evaluation.scale={(least + most) / 2:g}"
    )


def draw_history(training_history: pd.DataFrame) -> Figure:
    """Draw loss, scores and learning rate over the epochs."""
    return plot_history(training_history)


def draw_augmented(
    train_samples: SampleStore,
    seed: int,
    data: DataConfig,
    augmentation: AugmentationConfig,
    model: ModelConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
) -> Figure | list[Figure]:
    """Draw the first crops of epoch 1, as the network sees them; with stored features, crops like their windows.

    Nothing is drawn with ``training.resume``: the crops are those of the run's beginning, or resuming is refused.
    """
    if training.resume:
        return []
    train_samples.require_reading(data.reading)
    if training.fold:
        train_samples, _ = divide_fold(train_samples, training.fold, seed)
    parameters = with_statistics(Parameters(data=data, model=model), train_samples.origin)
    on_features = training.frozen_stages == "all"
    shown = augmentation.of_features(evaluation.scale) if on_features else augmentation
    crops = first_crops(train_samples, shown, seed, parameters.data.model_input.mean)
    return plot_augmented(crops, shown, data.class_table, on_features)
