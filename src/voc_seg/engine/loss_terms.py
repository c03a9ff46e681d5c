"""Terms of the training loss. Each is computed for every image by itself and ignores void pixels.

P pixels of an image are a row; p are the probabilities of the classes, softmax of the logits. An image without a
labelled pixel has loss 0 and gradients 0.
"""

import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.voc.classes import VOID

BOUNDARY_PIXELS = 8
"""Reach of the boundary term: more than the border of about five void pixels that VOC draws around objects."""


def focal_sum(log_own: Tensor, labelled: Tensor) -> Tensor:
    """Sum of cross-entropy times (1 - p) squared over the labelled pixels, ``float ()``.

    The focal loss of Lin et al., "Focal Loss for Dense Object Detection", 2017, with gamma 2 and without alpha. p is
    the softmax of the pixel's class, where they have one sigmoid per class.

    Args:
        log_own: Logarithm of p, ``float (N, P)``.
        labelled: ``bool (N, P)``.
    """
    return ((1 - log_own.exp()).square() * -log_own * labelled).sum()


def hardest(pixels: Tensor, labelled: Tensor, part: float) -> Tensor:
    """Mean of the highest losses of each image, ``float (N,)``.

    Online hard example mining (Shrivastava et al., 2016), for pixels.

    Args:
        pixels: Losses, none below 0 and 0 where void, ``float (N, P)``.
        labelled: ``bool (N, P)``.
        part: Of the labelled pixels that count, in (0, 1): rounded to whole pixels, at least one.
    """
    kept = (part * labelled.sum(1, keepdim=True)).round().clamp(min=1)  # (N, 1)
    highest = pixels.sort(dim=1, descending=True).values
    position = torch.arange(pixels.shape[1], device=pixels.device)
    return (highest * (position < kept)).sum(1) / kept[:, 0]


def dice_loss(p: Tensor, own: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice of each image, ``float (N,)``: the mean over the classes present in its labels.

    Dice of a class is 2 sum(p g) / (sum(p) + sum(g)) over the labelled pixels, with g = 1 for pixels of the class
    (Milletari et al., "V-Net", 2016, with p in the denominator for p squared). There is no smoothing constant: a class
    that is present has sum(g) >= 1. Classes that are absent count through the probability they take from the others.

    Args:
        p: ``float (N, P, classes)``.
        own: p of each pixel's class, anything where void, ``float (N, P)``.
        labels: ``int64 (N, P)``, class index or 255.
    """
    count, classes = p.shape[0], p.shape[2]
    pixels = _class_pixels(labels, p)
    overlap = p.new_zeros(count, 256).scatter_add(1, labels, own)[:, :classes]
    size = torch.bmm((labels != VOID)[:, None].to(p.dtype), p)[:, 0] + pixels  # at least 1 where it counts
    present = (pixels > 0).to(p.dtype)
    return ((1 - 2 * overlap / size.clamp(min=1)) * present).sum(1) / present.sum(1).clamp(min=1)


def lovasz_loss(p: Tensor, labels: Tensor) -> Tensor:
    """Lovász-Softmax loss of each image, ``float (N,)``: the mean over the classes present in its labels.

    Berman et al., "The Lovász-Softmax loss", 2018: the convex extension of 1 - IoU to errors between 0 and 1. It is a
    sum of the errors of the pixels, each times a slope that depends only on their order.

    Args:
        p: ``float (N, P, classes)``.
        labels: ``int64 (N, P)``, class index or 255.
    """
    slopes, offsets = _lovasz_slopes(p.detach(), labels, skip_absent=p.device.type == "cpu")
    return (p * slopes).sum((1, 2)) + offsets


@torch.no_grad()
def _lovasz_slopes(p: Tensor, labels: Tensor, skip_absent: bool) -> tuple[Tensor, Tensor]:
    """Return derivatives by p ``float (N, P, classes)`` and the constant of each image ``float (N,)``.

    The sort is most of the cost. Classes that are absent need none, but only on a CPU are they known without waiting
    for the device.
    """
    classes = torch.arange(p.shape[2], device=p.device)
    pixels = _class_pixels(labels, p)
    slopes, offsets = torch.zeros_like(p), p.new_zeros(len(p))
    for image, (row, counts) in enumerate(zip(labels, pixels)):
        chosen = counts.nonzero().flatten() if skip_absent else slice(None)
        truth = (row == classes[chosen, None]).to(p.dtype)  # (K, P) for K classes
        errors = (
            (truth - p[image].T[chosen]).abs().masked_fill(row == VOID, -1).contiguous()
        )  # void is sorted to the end
        order = errors.argsort(dim=1, descending=True)
        weights = torch.empty_like(errors).scatter_(1, order, _jaccard_steps(truth.gather(1, order)))
        present = (counts > 0).to(p.dtype)
        weights *= (present[chosen] / present.sum().clamp(min=1))[:, None] * (row != VOID)
        slopes[image][:, chosen] = (weights * (1 - 2 * truth)).T  # the error is 1 - p or p
        offsets[image] = (weights * truth).sum()
    return slopes, offsets


def _jaccard_steps(found: Tensor) -> Tensor:
    """By how much 1 - IoU grows with each further pixel that is wrong, ``float (K, P)``.

    Args:
        found: Whether the pixel is one of the class, else another, in the order in which they become wrong;
            ``float (K, P)``, 0 or 1.
    """
    size, passed = found.sum(1, keepdim=True), found.cumsum(1)
    position = torch.arange(1, found.shape[1] + 1, device=found.device)
    union = size + position - passed
    # Differences of quotients, written so that they lose no digits: (I + 1)/U - I/U and I/(U - 1) - I/U.
    return torch.where(found > 0, 1 / union, (size - passed) / (union * (union - 1).clamp(min=1)))


def near_boundary(targets: Tensor) -> Tensor:
    """Labelled pixels with another class within `BOUNDARY_PIXELS` rows and columns, ``bool (N, H, W)``.

    Cross-entropy with more weight there is from Ronneberger et al., "U-Net", 2015, who weigh by a Gaussian of the
    distance. Void pixels are no class, so they make no boundary, but the border between classes may be void.

    Args:
        targets: ``uint8 (N, H, W)``.
    """
    labelled, values = targets != VOID, targets.float()
    highest = _maximum_around(values.masked_fill(~labelled, -1))
    lowest = -_maximum_around(-values.masked_fill(~labelled, 256))
    return labelled & (highest > lowest)


def _maximum_around(values: Tensor) -> Tensor:
    """Maximum over the square of 2 `BOUNDARY_PIXELS` + 1 pixels around each, ``float (N, H, W)``."""
    reach, size = BOUNDARY_PIXELS, 2 * BOUNDARY_PIXELS + 1
    columns = functional.max_pool2d(values[:, None], (size, 1), stride=1, padding=(reach, 0))
    return functional.max_pool2d(columns, (1, size), stride=1, padding=(0, reach))[:, 0]


def _class_pixels(labels: Tensor, p: Tensor) -> Tensor:
    """Pixels of each class, ``(N, classes)`` in the data type of p, which holds such numbers exactly."""
    counts = p.new_zeros(len(labels), 256)
    return counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=p.dtype))[:, : p.shape[2]]
