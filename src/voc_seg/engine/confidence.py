"""How sure a network is of each pixel, from its class scores."""

import numpy as np
import torch
from torch import Tensor


def confidence_of(scores: Tensor) -> Tensor:
    """Return the largest class probability of each pixel, ``float32 (1, h, w)``, 1 / classes to 1.

    Args:
        scores: Logits, or logarithms of probabilities up to a constant, ``float32 (1, classes, h, w)``.
    """
    return scores.softmax(1).amax(1)


def uncertainty_of(scores: Tensor) -> Tensor:
    """Return 1 minus the difference between the two largest class probabilities, ``float32 (1, h, w)``, 0 to 1.

    This is the margin, or best-versus-second-best, of Joshi, Porikli and Papanikolopoulos, "Multi-class active learning
    for image classification", CVPR 2009. Entropy, in contrast, also grows with probabilities of classes that are not in
    question, and its range depends on the number of classes.

    Args:
        scores: As for :func:`confidence_of`; at least two classes.
    """
    probabilities = scores.softmax(1)
    first, index = probabilities.max(1, keepdim=True)
    second = probabilities.scatter(1, index, -1.0).amax(1)  # topk would take twice as long
    return 1 - (first[:, 0] - second)


def as_bytes(values: Tensor) -> np.ndarray:
    """Return values from 0 to 1 as ``uint8``, 255 times the value, rounded."""
    return (values * 255).round().to(torch.uint8).cpu().numpy()
