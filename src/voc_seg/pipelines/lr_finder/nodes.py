"""Nodes of the lr_finder pipeline."""

import logging

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import (
    AugmentationConfig,
    DataConfig,
    LrFinderConfig,
    ModelConfig,
    Parameters,
    RuntimeConfig,
    TrainingConfig,
)
from voc_seg.engine.lr_finder import range_test, suggestion_text
from voc_seg.reporting.lr_finder import plot_range_test
from voc_seg.samples.store import SampleStore

logger = logging.getLogger(__name__)


def find_learning_rate(
    train_samples: SampleStore,
    seed: int,
    data: DataConfig,
    augmentation: AugmentationConfig,
    model: ModelConfig,
    training: TrainingConfig,
    runtime: RuntimeConfig,
    lr_finder: LrFinderConfig,
) -> tuple[pd.DataFrame, dict, Figure]:
    """Run the range test with the settings of training: loss by step, suggestion, and a figure of both."""
    train_samples.require_reading(data.reading)
    parameters = Parameters(
        seed=seed,
        data=data,
        augmentation=augmentation,
        model=model,
        training=training,
        runtime=runtime,
        lr_finder=lr_finder,
    )
    found = range_test(train_samples, data.class_table.names, parameters)
    text = suggestion_text(found.metrics, lr_finder)
    logger.log(logging.WARNING if found.metrics["learning_rate"] is None else logging.INFO, "%s", text)
    history = pd.DataFrame(found.history, columns=["step", "learning_rate", "loss", "smoothed"])
    return history, found.metrics, plot_range_test(history, found.metrics)
