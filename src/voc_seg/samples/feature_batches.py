"""Batches of cached features: random windows of the maps, with the targets of the same pixels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from voc_seg.voc.classes import VOID
from voc_seg.voc.pairs import nearest_indices

from .batches import RankSlice, load_slices, rank_slices
from .feature_store import FeatureStore, Window
from .store import SampleStore
from .waiting import share_in_worker


class FeatureBatch(NamedTuple):
    """One forward pass of a decoder; the counterpart of :class:`voc_seg.samples.batches.Batch`.

    | field   | shape                   | dtype        | range                             |
    |---------|-------------------------|--------------|-----------------------------------|
    | maps    | each (N, C, h / s, w / s) | bf16 or fp16 | stored maps, finest first; channels-last |
    | targets | (N, h, w)               | uint8        | class index, or 255 for void      |
    | ids     | N                       | str          |                                   |
    | first   |                         | int          | index of the first window in the global batch |
    | whole   |                         | int          | size of the global batch          |
    """

    maps: list[Tensor]
    targets: Tensor
    ids: tuple[str, ...]
    first: int = 0
    whole: int = 0


@dataclass(frozen=True)
class FeatureWindows(Dataset):
    """Windows by key ``(epoch, index)``: the same key gives the same window in any process.

    Args:
        store: Samples, for their masks.
        features: Features of the same samples.
        crop_size: Wanted side of the window, in pixels of the network's input.
        flip: Probability of the mirror image.
        seed: With the key it determines the window.
    """

    store: SampleStore
    features: FeatureStore
    crop_size: int
    flip: float
    seed: int

    @cached_property
    def window(self) -> tuple[int, int]:
        """Height and width of every window: the crop, rounded up, but not more than the largest image.

        It has two multiples a side at least, as a crop has: batch norm cannot normalise a single value a channel.
        """
        layout, sizes = self.features.layout, self.features.sizes
        largest = (max(2 * layout.multiple, *(size[axis] for size in sizes)) for axis in (0, 1))
        height, width = (layout.padded(min(self.crop_size, length)) for length in largest)
        return height, width

    def __getitem__(self, key: tuple[int, int]) -> tuple[list[Tensor], Tensor, str]:
        epoch, index = key
        # The leading 1 keeps this stream apart from that of the epoch's order.
        rng = np.random.default_rng([1, self.seed, epoch, index])
        size, layout = self.features.sizes[index], self.features.layout
        mirrored = bool(rng.random() < self.flip)
        (top, left), (height, width) = (
            [
                int(rng.integers(max(0, layout.padded(length) - side) // layout.multiple + 1)) * layout.multiple
                for length, side in zip(size, self.window)
            ],
            self.window,
        )
        window = Window(top, left, height, width)
        sample = self.store[index]
        return (
            self.features.read(index, int(mirrored), window),
            torch.from_numpy(window_of_mask(sample.mask, size, mirrored, window)),
            sample.id,
        )

    def __getitems__(self, rank_slice: RankSlice) -> tuple[list[tuple[list[Tensor], Tensor, str]], RankSlice]:
        return [self[key] for key in rank_slice.keys], rank_slice

    def collate(self, made: tuple[list[tuple[list[Tensor], Tensor, str]], RankSlice]) -> FeatureBatch:
        """One batch of windows."""
        windows, (_, first, whole) = made
        layout, (height, width) = self.features.layout, self.window
        if not windows:  # fewer windows than ranks
            maps = [
                torch.empty(0, channels, height // stride, width // stride)
                for channels, stride in zip(layout.channels, layout.strides)
            ]
            return FeatureBatch(maps, torch.empty(0, height, width, dtype=torch.uint8), (), first, whole)
        parts, targets, ids = zip(*windows)
        stacked, masks = [torch.stack(level) for level in zip(*parts)], torch.stack(targets)
        share_in_worker(*stacked, masks)
        return FeatureBatch([maps.permute(0, 3, 1, 2) for maps in stacked], masks, ids, first, whole)


def window_of_mask(mask: np.ndarray, size: tuple[int, int], mirrored: bool, window: Window) -> np.ndarray:
    """The pixels of a window, ``uint8 (window.height, window.width)``; void beyond the image.

    Args:
        mask: ``uint8 (H, W)`` at the image's own size.
        size: Height and width of the network's input, to which the mask is resized first.
        mirrored: Whether the window is one of the mirror image.
        window: Its position.
    """
    rows, columns = (nearest_indices(length, wanted) for length, wanted in zip(mask.shape, size))
    columns = columns[::-1] if mirrored else columns
    part = mask.take(rows[window.top : window.top + window.height], 0)
    part = part.take(columns[window.left : window.left + window.width], 1)
    found = np.full((window.height, window.width), VOID, np.uint8)
    found[: part.shape[0], : part.shape[1]] = part
    return found


def feature_batches(
    windows: FeatureWindows,
    batch_size: int,
    epochs: range,
    workers: int = 0,
    pin_memory: bool = False,
    position: int = 0,
    rank: int = 0,
    ranks: int = 1,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[FeatureBatch]:
    """Every batch of several epochs, in the order of :func:`voc_seg.samples.batches.training_batches`.

    The other arguments are those of that function.
    """
    slices = rank_slices(len(windows.store), batch_size, windows.seed, epochs, position, rank, ranks)
    return load_slices(windows, windows.collate, slices, windows.seed, workers, pin_memory, interrupted)
