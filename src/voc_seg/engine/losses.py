"""What training minimises.

A loss is a function of logits and targets that returns a sum in units of labelled pixels: the training step divides it
by the labelled pixels of the whole step. Sums of batches and ranks add up, so accumulation and several processes give
the gradient of one large batch.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from voc_seg.voc.classes import VOID

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits ``float (N, classes, H, W)`` and targets ``(N, H, W)`` to a sum ``float32 ()``."""


def loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy summed over the pixels that are not void; 0 when all are.

    Args:
        logits: ``float (N, classes, H, W)``.
        targets: Integer ``(N, H, W)``, class index or 255.
    """
    # One row per pixel: a view of channels-last logits, so softmax and its gradient run along memory. Per-pixel losses
    # are summed separately because CUDA's summing kernel runs in a single block.
    rows = logits.float().movedim(1, -1).flatten(0, -2)  # (N H W, classes)
    return functional.cross_entropy(rows, targets.long().flatten(), ignore_index=VOID, reduction="none").sum()
