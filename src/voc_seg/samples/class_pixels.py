"""Pixels of each class in packed samples."""

from collections.abc import Iterator, Sequence

import numpy as np

from voc_seg.system.parallel import parallel_map
from voc_seg.voc.classes import VOID
from voc_seg.voc.mask_values import count_values

from .store import SampleStore


def class_pixels(samples: SampleStore, class_names: Sequence[str] = ()) -> Iterator[np.ndarray]:
    """Pixels of each class, ``int64``, in each sample; reads only the index if it is that of the samples.

    Args:
        samples: A split.
        class_names: Its classes; if empty, those that the samples were packed with.

    Yields:
        A number for each of the classes, and from masks for every further value but void.
    """
    names = list(class_names or samples.origin.classes)
    if samples.read_index and names:
        index = samples.read_index()
        if {"image_id", "rejected", *names} <= set(index.columns):
            usable = index[index["rejected"] == ""]
            if usable["image_id"].tolist() == samples.ids:
                yield from usable[names].to_numpy(np.int64)
                return
    yield from parallel_map(lambda sample: count_values(sample.mask)[:VOID], samples)
