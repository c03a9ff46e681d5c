"""The batches of a run, in groups of one optimiser step."""

import itertools
import math
import sys
import time
from collections.abc import Iterator

from voc_seg.samples.batches import Batch, training_batches
from voc_seg.samples.store import SampleStore

from .distributed import rank, world_size
from .interruption import Interruption
from .run import TrainingRun
from .runtime import loader_workers


def load_batches(train: SampleStore, run: TrainingRun, interruption: Interruption) -> Iterator[Batch]:
    """Return this rank's batches from the run's current position to its end."""
    parameters, state, device = run.parameters, run.state, run.runtime.device
    end = parameters.training.epochs if parameters.training.minutes is None else sys.maxsize
    return training_batches(
        train, parameters.augmentation, parameters.training.crops, parameters.seed,
        range(state.epoch, end), loader_workers(parameters.runtime, device),
        run.runtime.asynchronous, state.position, rank(), world_size(),
        lambda: world_size() == 1 and bool(interruption), run.model.model_input.mean,
    )  # fmt: skip


def next_group(batches: Iterator[Batch], run: TrainingRun, images: int) -> list[Batch]:
    """Return the batches of one optimiser step; none after an interruption.

    Args:
        batches: From :func:`load_batches`.
        run: Its ``state.waited`` grows by the time spent here.
        images: Size of the training split.
    """
    config, state = run.parameters.training, run.state
    started = time.perf_counter()
    wanted = min(config.accumulation, math.ceil((images - state.position) / config.crops))
    group = list(itertools.islice(batches, wanted))
    state.waited += time.perf_counter() - started
    return group if len(group) == wanted else []
