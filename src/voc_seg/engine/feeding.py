"""The batches of a run, in groups of one optimiser step."""

import itertools
import math
import sys
import time
from collections.abc import Iterator

from torch import Tensor

from voc_seg.config import ModelInput
from voc_seg.samples.batches import Batch, normalise, training_batches
from voc_seg.samples.feature_batches import FeatureBatch, feature_batches
from voc_seg.samples.store import SampleStore

from .distributed import rank, world_size
from .frozen import maps_to_device
from .interruption import Interruption
from .run import TrainingRun
from .runtime import Runtime, loader_workers


def load_batches(train: SampleStore, run: TrainingRun, interruption: Interruption) -> Iterator[Batch | FeatureBatch]:
    """Return this rank's batches from the run's current position to its end."""
    parameters, state, device = run.parameters, run.state, run.runtime.device
    end = parameters.training.epochs if parameters.training.minutes is None else sys.maxsize
    if run.features:
        return feature_batches(
            run.features.train, parameters.training.crops,
            range(state.epoch, end), loader_workers(parameters.runtime, device),
            run.runtime.asynchronous, state.position, rank(), world_size(),
            lambda: world_size() == 1 and bool(interruption),
        )  # fmt: skip
    return training_batches(
        train, parameters.augmentation, parameters.training.crops, parameters.seed,
        range(state.epoch, end), loader_workers(parameters.runtime, device),
        run.runtime.asynchronous, state.position, rank(), world_size(),
        lambda: world_size() == 1 and bool(interruption), run.model.model_input.mean,
    )  # fmt: skip


def next_group(batches: Iterator[Batch | FeatureBatch], run: TrainingRun, images: int) -> list[Batch | FeatureBatch]:
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


def network_input(batch: Batch | FeatureBatch, model_input: ModelInput, runtime: Runtime) -> Tensor | list[Tensor]:
    """What the network is trained on, on the device: normalised images ``float32 (N, C, h, w)``, or feature maps."""
    if isinstance(batch, FeatureBatch):
        return maps_to_device(batch.maps, runtime)
    images = normalise(batch.images.to(runtime.device, non_blocking=True), model_input)
    return images.contiguous(memory_format=runtime.memory_format)
