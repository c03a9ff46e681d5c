"""Nodes of the training pipeline."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    Parameters,
    RuntimeConfig,
    TrainingConfig,
)
from voc_seg.engine.training import fit
from voc_seg.reporting.figures import plot_history
from voc_seg.samples.store import SampleStore


def train(
    train_samples: SampleStore,
    val_samples: SampleStore,
    resume_checkpoint: Callable[[], dict[str, Any]],
    seed: int,
    data: DataConfig,
    augmentation: AugmentationConfig,
    model: ModelConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    runtime: RuntimeConfig,
) -> Iterator[tuple[dict[str, Any], dict[str, Any], pd.DataFrame]]:
    """Train, handing over checkpoint, best model and history after every epoch; Kedro saves each as it comes."""
    parameters = Parameters(
        seed=seed,
        data=data,
        augmentation=augmentation,
        model=model,
        training=training,
        evaluation=evaluation,
        runtime=runtime,
    )
    names = data.class_table.names
    for samples in (train_samples, val_samples):
        samples.require_classes(names)
    checkpoint = resume_checkpoint() if training.resume else None
    for report in fit(train_samples, val_samples, names, parameters, checkpoint):
        yield report.checkpoint, report.best_model, pd.DataFrame(report.history)


def draw_history(training_history: pd.DataFrame) -> Figure:
    """Loss, scores and learning rate over the epochs."""
    return plot_history(training_history)
