"""Which images to label next: those the network is unsure of, and that differ from each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
from torch import Tensor, nn

from voc_seg.models.ensemble import Ensemble
from voc_seg.models.segmentation_net import SegmentationNet


def choose_to_label(uncertainty: np.ndarray, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose images one by one, the first by its uncertainty, each other by uncertainty times distance.

    The distance is that to the nearest image chosen before. Without the factor of uncertainty this is the greedy
    k-centre algorithm of Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach",
    ICLR 2018, algorithm 1, started with no labelled images. A copy of a chosen image has the distance 0, so copies come
    last. The product needs no weight: scaling either factor changes nothing. Of equals, the more uncertain image comes
    first, then the earlier one.

    Args:
        uncertainty: ``float (N,)``, 0 to 1.
        features: ``float32 (N, D)``; only their directions count.
        count: Number of images to choose; all, if there are fewer.

    Returns:
        Indices in the order of the choice, ``int (K,)``, and the distance of each to the nearest one before it,
        ``float (K,)``: 0 to 2 between the features scaled to length 1, NaN for the first.
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    nearest = np.full(len(unit), np.inf)
    left = np.ones(len(unit), bool)
    chosen: list[int] = []
    distances: list[float] = []
    for _ in range(min(count, len(unit))):
        gain = uncertainty * nearest if chosen else uncertainty
        gain = np.where(left, gain, -1.0)
        best = np.flatnonzero(gain == gain.max())
        index = int(best[uncertainty[best].argmax()])
        chosen.append(index)
        distances.append(float(nearest[index]) if len(chosen) > 1 else np.nan)
        left[index] = False
        nearest = np.minimum(nearest, np.linalg.norm(unit - unit[index], axis=1))
    return np.array(chosen, int), np.array(distances)


@contextmanager
def pooled_features(model: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """Yield a list that gets the mean of the encoder's last feature map, ``float32 (D,)``, in each forward pass."""
    pooled: list[Tensor] = []
    if not wanted:
        yield pooled
        return
    members = model.members if isinstance(model, Ensemble) else [model]  # which have equally many features
    hooks = [
        cast(SegmentationNet, member).encoder.register_forward_hook(
            lambda module, images, features: pooled.append(features[-1].float().mean((0, 2, 3)))
        )
        for member in members
    ]
    try:
        yield pooled
    finally:
        for hook in hooks:
            hook.remove()
