"""Batches for training: which samples in which order, cropped, stacked, normalised."""

import atexit
import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from voc_seg.config import AugmentationConfig
from voc_seg.config.model_input import MEAN, RGB_INPUT, ModelInput
from voc_seg.system.errors import VocSegError

from .augment import augment
from .rare_classes import RareClasses, find_rare_classes
from .store import SampleStore
from .waiting import POLL, poll_batches, share_in_worker, shared_memory_advice

T = TypeVar("T")


class Batch(NamedTuple):
    """One forward pass of training; a tuple, because a loader can pin tuples for a GPU.

    | field   | shape        | dtype   | range                          |
    |---------|--------------|---------|--------------------------------|
    | images  | (N, C, h, w) | uint8   | 0..255, before `normalise`; channels-last |
    | targets | (N, h, w)    | uint8   | class index, or 255 for void   |
    | ids     | N            | str     |                                |
    | first   |              | int     | index of the first crop in the global batch |
    | whole   |              | int     | size of the global batch       |
    """

    images: Tensor
    targets: Tensor
    ids: tuple[str, ...]
    first: int = 0
    whole: int = 0


def normalise(images: Tensor, model_input: ModelInput = RGB_INPUT) -> Tensor:
    """Normalise images for the encoder.

    Args:
        images: ``uint8 (N, C, H, W)``.
        model_input: Mean and standard deviation of the channels.

    Returns:
        ``float32 (N, C, H, W)`` in channels-last memory, normalised.
    """
    number, channels, height, width = images.shape
    mean, factor = _row_constants(images.device, width, model_input)
    rows = images.permute(0, 2, 3, 1).reshape(-1, channels * width).to(torch.float32)
    return rows.sub_(mean).mul_(factor).view(number, height, width, channels).permute(0, 3, 1, 2)


@lru_cache(256)
def _row_constants(device: torch.device, width: int, model_input: ModelInput) -> tuple[Tensor, Tensor]:
    """Return mean and reciprocal standard deviation for a row of pixels: this vectorises better than three values."""
    mean, factor = _constants(device, model_input)
    with torch.inference_mode(False):  # training may use what validation has asked for
        return mean.repeat(width), factor.repeat(width)


@cache
def _constants(device: torch.device, model_input: ModelInput) -> tuple[Tensor, Tensor]:
    """Return the channels' mean and reciprocal standard deviation, 0..255; every copy to a GPU waits for it."""
    with torch.inference_mode(False):
        mean, factor = torch.tensor(model_input.mean).mul_(255), torch.tensor(model_input.std).mul_(255).reciprocal_()
        return mean.to(device), factor.to(device)


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the samples in one epoch, ``int64 (size,)``: a permutation that depends only on (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(size)


class RankSlice(NamedTuple):
    """One rank's slice of a batch: keys ``(epoch, index)``, index of the first, size of the global batch."""

    keys: list[tuple[int, int]]
    first: int
    whole: int


@dataclass(frozen=True)
class AugmentedCrops(Dataset):
    """Crops by key ``(epoch, index)``: the same key gives the same crop in any process."""

    store: SampleStore
    config: AugmentationConfig
    seed: int
    mean: tuple[float, ...] = MEAN
    rare: RareClasses | None = None

    @classmethod
    def of(
        cls, store: SampleStore, config: AugmentationConfig, seed: int, mean: tuple[float, ...] = MEAN
    ) -> "AugmentedCrops":
        """The crops of a split; finds its rare classes if they matter, once for all workers."""
        return cls(store, config, seed, mean, find_rare_classes(store) if config.uses_rare_classes else None)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, str]:
        epoch, index = key
        sample = self.store[index]
        # The leading 1 keeps this stream apart from that of the epoch's order.
        rng = np.random.default_rng([1, self.seed, epoch, index])
        image, mask = augment(sample, self.config, rng, self.mean, self.rare, self.store)
        return image, mask, sample.id

    def __getitems__(self, rank_slice: RankSlice) -> tuple[list[tuple[Tensor, Tensor, str]], RankSlice]:
        return [self[key] for key in rank_slice.keys], rank_slice


def _collate(made: tuple[list[tuple[Tensor, Tensor, str]], RankSlice], size: int, channels: int = 3) -> Batch:
    crops, (_, first, whole) = made
    if not crops:  # fewer crops than ranks
        empty = partial(torch.empty, dtype=torch.uint8)
        return Batch(empty(0, channels, size, size), empty(0, size, size), (), first, whole)
    images, targets, ids = zip(*crops)
    # Stacked in memory order, channels last.
    stacked, masks = torch.stack([image.permute(1, 2, 0) for image in images]), torch.stack(targets)
    share_in_worker(stacked, masks)
    return Batch(stacked.permute(0, 3, 1, 2), masks, ids, first, whole)


def training_batches(
    store: SampleStore,
    config: AugmentationConfig,
    batch_size: int,
    seed: int,
    epochs: range,
    workers: int = 0,
    pin_memory: bool = False,
    position: int = 0,
    rank: int = 0,
    ranks: int = 1,
    interrupted: Callable[[], bool] = lambda: False,
    mean: tuple[float, ...] = MEAN,
) -> Iterator[Batch]:
    """Every batch of several epochs, one after the other; the last batch of an epoch may be smaller.

    Args:
        store: IdAndChecksum samples.
        config: Augmentation.
        batch_size: Crops per batch, over all ranks.
        seed: Determines order and crops.
        epochs: Zero-based epochs; workers are started once for all of them.
        workers: Loader processes; 0 loads in this process.
        pin_memory: Page-locked memory, for fast copies to a GPU.
        position: Samples of the first epoch to skip, without reading them.
        rank: Whose slice of every batch to load; it may be empty where a batch is small.
        ranks: World size.
        interrupted: Whether the run has been asked to stop; the iterator then ends instead of waiting for a worker.
        mean: Of each channel in [0, 1].

    Raises:
        VocSegError: Workers cannot be started, or neither deliver nor work.
    """
    crops = AugmentedCrops.of(store, config, seed, mean)
    collate = partial(_collate, size=config.crop_size, channels=len(mean))
    slices = rank_slices(len(store), batch_size, seed, epochs, position, rank, ranks)
    return load_slices(crops, collate, slices, seed, workers, pin_memory, interrupted)


def load_slices(
    dataset: Dataset,
    collate: Callable[[Any], T],
    slices: Iterator["RankSlice"],
    seed: int,
    workers: int = 0,
    pin_memory: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[T]:
    """The batches of these slices; ``collate`` makes one of what the data set's ``__getitems__`` returns for a slice.

    The other arguments and the errors are those of :func:`training_batches`.
    """
    if workers:
        atexit.register(_kill_workers)
    loader = DataLoader(
        dataset,
        batch_sampler=slices,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate,
        # Its own generator: otherwise the loader draws from torch's global one each time it starts, and dropout
        # would differ after resuming.
        generator=torch.Generator().manual_seed(seed),
        pin_memory=pin_memory,
        timeout=POLL if workers else 0,
        # Spawned workers inherit no locks or threads and behave alike on every platform.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_ignore_signals,
    )
    if not workers:
        return iter(loader)
    try:
        with _blocked_signals():
            return poll_batches(iter(loader), interrupted)
    except OSError as error:  # from semaphores, which are in shared memory as well
        raise VocSegError(f"Loader workers could not be started ({error}). {shared_memory_advice()}") from error


# As in engine.interruption. A shell whose terminal is gone sends SIGHUP to every process; Windows has none.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def _ignore_signals(worker: int) -> None:
    """Ignore signals that a terminal or shell sends to every process; the main process decides when to stop."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block signals while workers start: they inherit the blocked set, even before they have imported torch."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_workers() -> None:
    """Kill workers at exit: they ignore SIGTERM, so multiprocessing would wait for them after an error."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would print a traceback for each
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def rank_slices(
    size: int, batch_size: int, seed: int, epochs: range, position: int, rank: int, ranks: int
) -> Iterator[RankSlice]:
    """One rank's slice of every batch from a position of the first epoch; arguments as :func:`training_batches`."""
    for epoch in epochs:
        order = epoch_order(size, seed, epoch).tolist()
        for start in range(position if epoch == epochs.start else 0, size, batch_size):
            batch = order[start : start + batch_size]
            # Rounded up, so that rank 0, whose batch-norm statistics are kept, always has a crop.
            first, end = (math.ceil(len(batch) * part / ranks) for part in (rank, rank + 1))
            yield RankSlice([(epoch, index) for index in batch[first:end]], first, len(batch))
