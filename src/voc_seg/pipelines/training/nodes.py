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
from voc_seg.engine.distributed import find_launch, partners_explained
from voc_seg.engine.resuming import starting_point
from voc_seg.engine.training import HISTORY_COLUMNS, fit
from voc_seg.reporting.figures import plot_history
from voc_seg.samples.store import SampleStore


def train(
    train_samples: SampleStore,
    val_samples: SampleStore,
    resume_checkpoint: Callable[..., dict[str, Any]],
    seed: int,
    data: DataConfig,
    augmentation: AugmentationConfig,
    model: ModelConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    runtime: RuntimeConfig,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, dict[str, Any]]]:
    """Train, handing over best model, history and checkpoint; Kedro saves each as it comes.

    The checkpoint comes last: a run that is killed before it is written does again what led to the other two.
    """
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
    with partners_explained():
        launch = find_launch()
        checkpoint = starting_point(resume_checkpoint, training.resume, launch)
    for report in fit(train_samples, val_samples, names, parameters, checkpoint, launch.name):
        yield report.best_model, pd.DataFrame(report.history, columns=HISTORY_COLUMNS), report.checkpoint


def draw_history(training_history: pd.DataFrame) -> Figure:
    """Loss, scores and learning rate over the epochs."""
    return plot_history(training_history)
