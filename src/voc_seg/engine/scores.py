"""Class scores of a batch: through the network at one or several sizes, and at the images' own size again."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.models.segmentation_net import input_of
from voc_seg.samples.batches import normalise

from .runtime import Runtime

_WHOLE, _STRIP = 2**20, 2**18
"""Largest image whose class scores are upsampled at once (88 MB for 21 classes), and the strip size of larger ones, in
pixels; both shrink with more classes."""


def network_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return height and width at which an image of this size goes through the network."""
    height, width = (max(1, round(length * scale)) for length in size)
    return height, width


def network_input(images: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return images ``uint8 (N, H, W, C)`` at the ``size`` (h, w) of the network's input, ``uint8 (N, C, h, w)``."""
    # torch 2.14 resizes to a width of 1 wrongly if the first stride is 0, as that of image[None] is.
    pixels = (torch.from_numpy(images[0])[None] if len(images) == 1 else torch.from_numpy(images)).permute(0, 3, 1, 2)
    if size == images.shape[1:3]:
        return pixels
    # Resized as uint8 on the CPU, like training crops: the same numbers on every device.
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True)


@torch.inference_mode()
def network_logits(model: nn.Module, pixels: Tensor, flip: bool, runtime: Runtime) -> Tensor:
    """Return the logits ``float32 (N, classes, h, w)`` of images from :func:`network_input`."""
    inputs = normalise(pixels.to(runtime.device, non_blocking=True), input_of(model))
    inputs = inputs.contiguous(memory_format=runtime.memory_format)
    with runtime.autocast():
        logits = model(inputs)
        if flip:
            logits = (logits + model(inputs.flip(-1)).flip(-1)) / 2
    return logits.float()


def best_class(scores: Tensor) -> Tensor:
    """Return the class with the largest score, ``int64 (N, h, w)``; of equal ones the first."""
    return scores.max(1).indices  # argmax takes almost twice the time on CPUs


def average_in_strips(logits: Sequence[Tensor], height: int, width: int) -> Iterator[tuple[slice, Tensor]]:
    """Upsample the class scores of one or several network inputs of an image, and average their probabilities.

    Args:
        logits: ``float32 (1, classes, h, w)`` of each network input; h and w may differ.
        height: Of the image, pixels.
        width: Of the image, pixels.

    Yields:
        The rows, and their scores ``float32 (1, classes, rows, width)``: of one input its logits, of several the
        logarithm of their summed softmax, so that the softmax of the scores is the mean of the probabilities.
    """
    first, *others = (upsample_in_strips(one, height, width) for one in logits)
    if not others:
        yield from first
        return
    for rows, scores in first:
        total = scores.log_softmax(1)
        for other in others:
            # Logarithms, because small probabilities would become 0 and the loss infinite.
            total = torch.logaddexp(total, next(other)[1].log_softmax(1))
        yield rows, total


def upsample_in_strips(logits: Tensor, height: int, width: int) -> Iterator[tuple[slice, Tensor]]:
    """Upsample class scores to the image's size: at once, or in strips of rows for a large image.

    Equals ``interpolate(logits, (height, width), mode="bilinear")`` up to rounding. At once, a large image would need
    84 bytes per pixel for 21 classes, several times over.

    Args:
        logits: ``float32 (1, classes, h, w)``.
        height: Of the image, pixels.
        width: Of the image, pixels.

    Yields:
        The rows, and their scores ``float32 (1, classes, rows, width)``.
    """
    classes, rows, columns = logits.shape[1:]
    fewer = max(1.0, classes / 21)
    whole = height * width * fewer <= _WHOLE
    strip = height if whole else max(1, int(_STRIP / fewer) // width)
    parts = [slice(start, min(start + strip, height)) for start in range(0, height, strip)]
    if (rows, columns) == (height, width):
        yield from ((part, logits[:, :, part]) for part in parts)
        return
    if len(parts) == 1:
        yield parts[0], functional.interpolate(logits, (height, width), mode="bilinear")
        return
    # Interpolate rows first: each row of the image lies between two rows of the logits.
    position = ((torch.arange(height, device=logits.device) + 0.5) * (rows / height) - 0.5).clamp(0, rows - 1)
    above = position.long()
    below = (above + 1).clamp(max=rows - 1)
    share = (position - above)[:, None]
    for part in parts:
        scores = torch.lerp(logits[:, :, above[part]], logits[:, :, below[part]], share[part])
        # Channels last halves the time of the next step.
        scores = scores.contiguous(memory_format=torch.channels_last)
        yield part, functional.interpolate(scores, (scores.shape[2], width), mode="bilinear")
