"""The learning-rate range test: at which rates does the loss of this training fall, and where does it diverge?"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from voc_seg.config import LrFinderConfig, Parameters
from voc_seg.config.optimisation import MAX_FINDER_RATE
from voc_seg.samples.store import SampleStore
from voc_seg.system.progress import progress_bar

from .checkpoint import Row
from .failures import explain_failures, out_of_memory_advice
from .feeding import load_batches, next_group
from .freezing import train_mode
from .interruption import Interruption
from .optimisation import set_learning_rate
from .run import TrainingRun, start_run
from .runtime import cudnn_benchmark
from .training import train_step

logger = logging.getLogger(__name__)

_MEMORY = 0.9
"""Decay of the running mean of the loss that decides whether it diverges."""
_DIVERGED = 2.0
"""How often the running mean exceeds its lowest value when the test ends."""
_WIDTH = 3.0
"""Standard deviation in steps of the Gaussian that smooths the losses."""
_FALL = 0.05
"""Part of the loss at the start by which it has to fall for a suggestion."""


@dataclass(frozen=True)
class RangeTest:
    """Outcome of a range test.

    | field   | meaning                                                                          |
    |---------|----------------------------------------------------------------------------------|
    | history | one row a step: step, learning_rate, loss, smoothed                              |
    | metrics | learning_rate (suggested, or None), lowest_at, steepest_at (rates), diverged     |
    """

    history: list[Row]
    metrics: dict[str, float | bool | None]


def rates(config: LrFinderConfig) -> list[float]:
    """The learning rate of each step, rising exponentially from start to end."""
    growth = math.log(config.end / config.start) / (config.steps - 1)
    return [config.start * math.exp(growth * step) for step in range(config.steps)]


def range_test(train: SampleStore, class_names: tuple[str, ...], parameters: Parameters) -> RangeTest:
    """Train with an exponentially rising rate until the loss diverges (Smith, "Cyclical Learning Rates for
    Training Neural Networks", 2017).

    Data, augmentation, loss, optimiser and batch size are those of training; weights are discarded. With
    ``training.frozen_stages=all`` the encoder runs on augmented crops: nothing is stored.

    Raises:
        VocSegError: The split is empty, or memory ran out.
    """
    config = parameters.lr_finder
    # Its own learning rates; an epoch a step is certainly enough.
    training = parameters.training.model_copy(update={"epochs": config.steps, "minutes": None, "ema_decay": None})
    run = start_run(train, train, class_names, parameters.model_copy(update={"training": training}), None, "")
    logger.info(
        "Learning-rate range test on %s: up to %d steps, from %g to %g",
        run.runtime, config.steps, config.start, config.end,
    )  # fmt: skip
    if training.frozen_stages == "all":
        logger.info("training.frozen_stages=all: this test runs the encoder on augmented crops and stores no features")
    found: list[tuple[float, float]] = []
    with (
        explain_failures(out_of_memory_advice(run.parameters)),
        run.runtime.keep_freed_memory(),
        cudnn_benchmark(True),
        progress_bar("learning-rate range test", config.steps, "steps") as advance,
    ):
        for rate, loss in _losses(run, train, rates(config)):
            found.append((rate, loss))
            advance(1)
    return summarise(found, stopped_early=len(found) < config.steps)


def _losses(run: TrainingRun, train: SampleStore, rising: list[float]) -> Iterator[tuple[float, float]]:
    """Take steps; yield rate and loss of each, until the loss diverges."""
    batches, config = load_batches(train, run, Interruption()), run.parameters.training
    train_mode(run.model, config)
    mean, lowest, weight = 0.0, math.inf, 0.0
    for rate in rising:
        group = next_group(batches, run, len(train))
        run.state.position = (run.state.position + sum(batch.whole for batch in group)) % len(train)
        set_learning_rate(run.optimizer, rate)
        loss = float(
            train_step(
                run.model, run.optimizer, group, run.runtime, run.scaler, config.clip_gradient, run.model.model_input,
                run.loss,
            )
        )  # fmt: skip
        if not math.isfinite(loss):
            return
        mean, weight = _MEMORY * mean + (1 - _MEMORY) * loss, _MEMORY * weight + 1 - _MEMORY
        lowest = min(lowest, mean / weight)
        yield rate, loss
        if mean / weight > _DIVERGED * lowest:
            return


def summarise(found: list[tuple[float, float]], stopped_early: bool) -> RangeTest:
    """Smooth the losses and suggest a rate: half of the one with the lowest loss.

    The best rate is usually within a factor of two of the largest that converges (Bengio, "Practical Recommendations
    for Gradient-Based Training of Deep Architectures", 2012; Smith, 2017), and schedules decay from their peak. A rate
    is suggested only if the loss has fallen, and not at the last step, where it may still be falling.

    Args:
        found: Rate and loss of each step.
        stopped_early: Whether the loss diverged.
    """
    if not found:
        return RangeTest([], {"learning_rate": None, "lowest_at": None, "steepest_at": None, "diverged": True})
    rate, loss = (np.array(values) for values in zip(*found))
    smoothed = smooth(loss)
    slopes = np.gradient(smoothed) if len(found) > 1 else np.zeros(1)
    lowest = int(smoothed.argmin())
    steepest = int(slopes[: lowest + 1].argmin())
    has_fallen = smoothed[lowest] < (1 - _FALL) * smoothed[0]
    is_inside = lowest < len(found) - 1 or stopped_early
    history: list[Row] = [
        {"step": step + 1, "learning_rate": float(rate[step]), "loss": float(loss[step]), "smoothed": float(value)}
        for step, value in enumerate(smoothed)
    ]
    metrics = {
        "learning_rate": float(f"{rate[lowest] / 2:.1e}") if has_fallen and is_inside else None,
        "lowest_at": float(rate[lowest]),
        "steepest_at": float(rate[steepest]),
        "diverged": stopped_early,
    }
    return RangeTest(history, metrics)


def smooth(values: np.ndarray) -> np.ndarray:
    """Mean over the neighbouring steps, weighted by a Gaussian; centred, so that minima stay where they are."""
    steps = np.arange(len(values))
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / _WIDTH) ** 2)
    return weights @ values / weights.sum(1)


def suggestion_text(metrics: dict, config: LrFinderConfig) -> str:
    """What the outcome means, in a sentence or two."""
    if metrics["learning_rate"] is not None:
        return (
            f"The loss was lowest at a learning rate of {metrics['lowest_at']:.2g} and fell fastest at "
            f"{metrics['steepest_at']:.2g}. A starting point is half of the former, {metrics['learning_rate']:g}; "
            "short trainings with a third of it and three times as much show which is best."
        )
    if metrics["lowest_at"] is None or metrics["lowest_at"] < 10 * config.start:
        return (
            "The loss did not fall at any rate, so there is no suggestion. Look at lr_finder.png. Try a lower "
            f"lr_finder.start={config.start / 100:g} or more steps, lr_finder.steps={2 * config.steps}; run sanity "
            "if that does not help."
        )
    end = min(MAX_FINDER_RATE, 10 * config.end)
    more = "" if end <= config.end else f" or lr_finder.end={end:g}"
    return (
        f"There is no suggestion: the loss fell too little, or was still falling at the last step. Look at "
        f"lr_finder.png. Try lr_finder.steps={2 * config.steps}{more}."
    )
