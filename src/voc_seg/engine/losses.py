"""What training minimises.

A loss is a function of logits and targets that returns a sum in units of labelled pixels: the training step divides it
by the labelled pixels of the whole step. Sums of batches and ranks add up, so accumulation and several processes give
the gradient of one large batch. Terms over regions are therefore computed for each image by itself, and multiplied by
the image's labelled pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.config import LossConfig
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID

from .loss_terms import dice_loss, focal_sum, hardest, lovasz_loss, near_boundary

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits ``float (N, classes, H, W)`` and targets ``uint8 (N, H, W)``, class index or 255, to a sum ``float32 ()``.

N may be 0. A loss makes the host wait for nothing: no ``item()``, no selection by a mask.
"""


def with_auxiliary(loss: Loss, weight: float) -> Callable[..., Tensor]:
    """The loss of a training step: also that of the auxiliary logits, times a weight (Zhao et al., CVPR 2017).

    Args:
        loss: Of one set of logits.
        weight: ``model.auxiliary``; 0 returns the loss itself.

    Returns:
        A function of the output of ``SegmentationNet`` in training mode and targets.
    """
    if not weight:
        return loss

    def both(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        logits, auxiliary = outputs
        return loss(logits, targets) + weight * loss(auxiliary, targets)

    return both


def loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy summed over the pixels that are not void; 0 when all are.

    Args:
        logits: ``float (N, classes, H, W)``.
        targets: Integer ``(N, H, W)``, class index or 255.
    """
    # Per-pixel losses are summed separately because CUDA's summing kernel runs in a single block.
    rows = _rows(logits).flatten(0, 1)  # (N H W, classes)
    return functional.cross_entropy(rows, targets.long().flatten(), ignore_index=VOID, reduction="none").sum()


def _rows(logits: Tensor) -> Tensor:
    """Logits in float32 or better, one row per pixel, ``(N, H W, classes)``.

    They are a view of channels-last logits, so softmax and its gradient run along memory.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).movedim(1, -1).flatten(1, 2)


@dataclass(frozen=True)
class WeightedSum:
    """The loss of any settings: the terms that are on, each times its weight."""

    config: LossConfig
    class_weights: Tensor | None = None
    """Of the classes in the cross-entropy, ``float32 (256,)`` on the device of the logits."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum ``float32 ()``; the arguments are those of :func:`loss_sum`."""
        config = self.config
        log_p = functional.log_softmax(_rows(logits), dim=-1)  # (N, P, classes) with P = H W
        labels = targets.flatten(1).long()  # (N, P)
        labelled = labels != VOID
        counts = labelled.sum(1).to(log_p.dtype)  # (N,)
        log_own = log_p.gather(2, labels.masked_fill(~labelled, 0)[:, :, None])[:, :, 0]  # of each pixel's class
        total = log_p.new_zeros(())
        if config.cross_entropy or config.boundary:
            pixels = self._cross_entropy(log_p, log_own, labels)
            if config.ohem:
                total = total + config.cross_entropy * (counts * hardest(pixels, labelled, config.ohem)).sum()
            else:
                total = total + config.cross_entropy * pixels.sum()
            if config.boundary:
                total = total + config.boundary * (pixels * near_boundary(targets).flatten(1)).sum()
        if config.focal:
            total = total + config.focal * focal_sum(log_own, labelled)
        if config.dice or config.lovasz:
            p = log_p.exp()
            if config.dice:
                total = total + config.dice * (counts * dice_loss(p, log_own.exp(), labels)).sum()
            if config.lovasz:
                total = total + config.lovasz * (counts * lovasz_loss(p, labels)).sum()
        return total

    def _cross_entropy(self, log_p: Tensor, log_own: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with smoothed labels of each pixel, times the weight of its class, ``float (N, P)``.

        0 where void. (torch's weights would act on the classes that a label is spread over, too.)
        """
        smoothing = self.config.label_smoothing
        pixels = -log_own
        if smoothing:  # Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7
            pixels = (1 - smoothing) * pixels - smoothing * log_p.mean(2)
        return pixels * (labels != VOID if self.class_weights is None else self.class_weights[labels])


def build_loss(config: LossConfig, class_pixels: Sequence[int], device: torch.device) -> Loss:
    """Return the loss of the settings; with the defaults it is :func:`loss_sum` itself.

    Args:
        config: ``training.loss``.
        class_pixels: Pixels of train by class index; only used by ``class_weights``.
        device: Of the logits.

    Raises:
        VocSegError: No pixel of train has a class with a weight above 0.
    """
    if config == LossConfig():
        return loss_sum
    if config.class_weights is None:
        return WeightedSum(config)
    weights = scaled_class_weights(config.class_weights, class_pixels)
    table = torch.zeros(256)  # 0 for void
    table[: len(weights)] = torch.tensor(weights)
    return WeightedSum(config, table.to(device))


def scaled_class_weights(given: Literal["balanced"] | Sequence[float], class_pixels: Sequence[int]) -> list[float]:
    """Return the weight of each class, scaled so that its mean over the pixels of train is 1.

    `voc_seg.config.Parameters` has checked that there is one number for each class.

    ``balanced`` is 1 / ln(1.02 + share of the pixels) before that, 50 for a rare class and 1.4 for one that is
    everywhere (Paszke et al., "ENet", 2016, section 5.2).

    Raises:
        VocSegError: No pixel of train has a class with a weight above 0.
    """
    labelled = max(1, sum(class_pixels))
    shares = [pixels / labelled for pixels in class_pixels]
    weights = [1 / math.log(1.02 + share) for share in shares] if given == "balanced" else list(map(float, given))
    mean = sum(weight * share for weight, share in zip(weights, shares, strict=True))
    if not mean:
        raise VocSegError(
            "training.loss.class_weights is 0 for every class that has pixels in train, so there is nothing to learn. "
            "Give these classes a weight, or set it to balanced or null."
        )
    return [weight / mean for weight in weights]
