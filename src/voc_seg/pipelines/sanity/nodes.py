"""Nodes of the sanity pipeline."""

import logging

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import DataConfig, ModelConfig, Parameters, RuntimeConfig, SanityConfig
from voc_seg.engine.normalisation import with_statistics
from voc_seg.engine.overfit import choose_sample, failure_advice, overfit
from voc_seg.reporting.predictions import plot_sanity
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)


def pick_sample(train_samples: SampleStore, data: DataConfig, sanity: SanityConfig) -> Sample:
    """The image to overfit."""
    train_samples.require_reading(data.reading)
    sample = choose_sample(train_samples, sanity.image)
    # A copy, because it is needed again at the end, when its file may have been truncated.
    return Sample(sample.id, sample.image.copy(), sample.mask.copy())


def overfit_sample(
    sample: Sample,
    train_samples: SampleStore,
    seed: int,
    data: DataConfig,
    model: ModelConfig,
    sanity: SanityConfig,
    runtime: RuntimeConfig,
) -> tuple[pd.DataFrame, dict, Figure]:
    """Overfit the image: loss by epoch, scores, and a figure of both."""
    parameters = Parameters(seed=seed, data=data, model=model, sanity=sanity, runtime=runtime)
    parameters = with_statistics(parameters, train_samples.origin)
    outcome = overfit(sample, data.class_table.names, parameters)
    history = pd.DataFrame(outcome.history)
    figure = plot_sanity(history, sample.displayed, sample.mask, outcome.prediction, outcome.metrics, data.class_table)
    return history, outcome.metrics, figure


def judge(sanity_metrics: dict, sanity: SanityConfig) -> None:
    """Fail with advice if the image was not learnt; history, metrics and figure have been saved."""
    if not sanity_metrics["passed"]:
        raise VocSegError(failure_advice(sanity_metrics, sanity))
    logger.info(
        "Sanity check passed: mIoU %.3f on %s after %d epochs",
        sanity_metrics["miou"], sanity_metrics["image_id"], sanity_metrics["epochs"],
    )  # fmt: skip
