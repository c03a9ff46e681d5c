"""Pixels of each class in the training data, for class weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from voc_seg.config import LossConfig
from voc_seg.samples.class_pixels import class_pixels
from voc_seg.samples.store import SampleStore
from voc_seg.system.progress import progress_bar

from .distributed import broadcast_from_rank0


def class_pixels_of_run(
    train: SampleStore, class_names: Sequence[str], config: LossConfig, checkpoint: dict[str, Any] | None
) -> list[int]:
    """Return the pixels of each class in train, the same on all ranks; empty without ``class_weights``.

    A resumed run takes the numbers from its checkpoint: they may come from the index in one run and from the samples in
    the other, or the data may have changed, but the weights must stay the same.
    """
    if config.class_weights is None:
        return []
    found = (checkpoint or {}).get("class_pixels")
    if isinstance(found, list) and len(found) == len(class_names) and all(type(count) is int for count in found):
        return found
    return broadcast_from_rank0(lambda: count_class_pixels(train, class_names))


def count_class_pixels(train: SampleStore, class_names: Sequence[str]) -> list[int]:
    """Count the pixels of each class: from the index that the samples were packed from, else from their masks."""
    total = np.zeros(len(class_names), np.int64)
    with progress_bar("counting pixels of classes", len(train)) as advance:
        for counts in class_pixels(train, class_names):
            total += counts[: len(total)]
            advance(1)
    return total.tolist()
