"""Predictions at every image's own size, each compared with its mask."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.confusion import confusion_matrix
from voc_seg.models.segmentation_net import SegmentationNet, input_of
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import Sample
from voc_seg.system.parallel import parallel_map

from .delayed import DelayedRead
from .losses import loss_sum
from .runtime import Runtime

_PIXELS = 500 * 375
"""Pixels of a typical VOC image."""
_WHOLE, _STRIP = 2**20, 2**18
"""Largest image whose class scores are upsampled at once (88 MB for 21 classes), and the strip size of larger ones, in
pixels; both shrink with more classes."""


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    | field     | shape              | dtype   | meaning                                  |
    |-----------|--------------------|---------|------------------------------------------|
    | id        |                    | str     | image id                                 |
    | mask      | (H, W)             | uint8   | predicted class, the image's own size    |
    | confusion | (classes, classes) | int64   | rows truth, columns prediction           |
    | loss      |                    | float   | cross-entropy summed over labelled pixels |
    """

    id: str
    mask: np.ndarray
    confusion: np.ndarray
    loss: float


def network_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return height and width at which an image of this size goes through the network."""
    height, width = (max(1, round(length * scale)) for length in size)
    return height, width


def network_input(images: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return images ``uint8 (N, H, W, C)`` at the ``size`` (h, w) of the network's input, ``uint8 (N, C, h, w)``."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    if size == images.shape[1:3]:
        return pixels
    # Resized as uint8 on the CPU, like training crops: the same numbers on every device.
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True)


@torch.inference_mode()
def network_logits(model: SegmentationNet, pixels: Tensor, flip: bool, runtime: Runtime) -> Tensor:
    """Return the logits ``float32 (N, classes, h, w)`` of images from :func:`network_input`."""
    inputs = normalise(pixels.to(runtime.device, non_blocking=True), input_of(model))
    inputs = inputs.contiguous(memory_format=runtime.memory_format)
    with runtime.autocast():
        logits = model(inputs)
        if flip:
            logits = (logits + model(inputs.flip(-1)).flip(-1)) / 2
    return logits.float()


def predict_all(
    model: SegmentationNet,
    samples: Iterable[Sample],
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Prediction]:
    """Predict samples at native size and compare them with their masks.

    Images of one size go through the network together where that is faster, so the order of predictions may differ
    from that of the samples. The groups depend only on the samples. Each rank takes every n-th group, so an image's
    result does not depend on the number of ranks.
    """
    queued: deque[tuple[str, DelayedRead]] = deque()
    behind = images_per_forward(runtime) if runtime.asynchronous else 0
    for found in queue_predictions(model, samples, config, runtime, image_size, rank, world_size):
        numbers = DelayedRead(found.mask, found.confusion, found.loss, asynchronous=runtime.asynchronous)
        queued.append((found.id, numbers))
        if len(queued) > behind:
            yield _to_host(*queued.popleft())
    for waiting in queued:
        yield _to_host(*waiting)


def _to_host(image_id: str, numbers: DelayedRead) -> Prediction:
    mask, confusion, loss = (number.cpu() for number in numbers.read())
    return Prediction(image_id, mask.numpy(), confusion.numpy(), float(loss))


@dataclass(frozen=True)
class Pending:
    """A :class:`Prediction` whose tensors the device may still compute; the loss is ``float64 ()``."""

    id: str
    mask: Tensor
    confusion: Tensor
    loss: Tensor


def queue_predictions(
    model: SegmentationNet,
    samples: Iterable[Sample],
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None,
    rank: int,
    world_size: int,
) -> Iterator[Pending]:
    """Queue the predictions of :func:`predict_all` without waiting for any."""

    def load(group: list[Sample]) -> tuple[list[Sample], Tensor, Tensor]:
        size = network_size(image_size or group[0].mask.shape, config.scale)
        # np.stack copies: torch needs writable memory, and packed samples are read-only views.
        pixels = network_input(np.stack([sample.image for sample in group]), size)
        masks = torch.from_numpy(np.stack([sample.mask for sample in group]))
        if not runtime.asynchronous:
            return group, pixels, masks
        # A thread begins on device 0, and pinning would open a context there.
        torch.accelerator.set_device_index(runtime.device.index or 0)
        return group, pixels.pin_memory(), masks.pin_memory()

    groups = itertools.islice(_group_by_size(samples, _PIXELS * images_per_forward(runtime)), rank, None, world_size)
    # Reading ahead keeps a GPU busy; on a CPU it would take cores from the network.
    for group, pixels, masks in (parallel_map if runtime.asynchronous else map)(load, groups):
        logits = network_logits(model, pixels, config.flip, runtime)
        truths = masks.to(runtime.device, non_blocking=True)
        # One at a time: the scores of one image then stay in the processor's cache until the loss is computed.
        for sample, scores, truth in zip(group, logits.split(1), truths.split(1)):
            yield Pending(sample.id, *_score(scores, truth))


@torch.inference_mode()
def _score(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute mask, confusion matrix and loss of an image, strip by strip.

    Args:
        logits: ``float32 (1, classes, h, w)``.
        truth: ``uint8 (1, H, W)`` at the image's own size.
    """
    classes, strips = logits.shape[1], []
    confusion = torch.zeros((classes, classes), dtype=torch.int64, device=logits.device)
    loss = torch.zeros((), dtype=torch.float64, device=logits.device)
    for rows, scores in upsample_in_strips(logits, *truth.shape[1:]):
        found, target = scores.argmax(1), truth[:, rows]
        confusion += confusion_matrix(target, found, classes)
        loss += loss_sum(scores, target)
        strips.append(found[0].to(torch.uint8))
    return torch.cat(strips), confusion, loss


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


def images_per_forward(runtime: Runtime) -> int:
    """Return how many typical VOC images go through the network at once (measured in benchmarks/README.md)."""
    if runtime.asynchronous:
        return 8
    return 4 if runtime.dtype == torch.bfloat16 else 1


def _group_by_size(samples: Iterable[Sample], pixels: int) -> Iterator[list[Sample]]:
    """Yield groups of samples of one size with at most this many pixels in total; a larger sample is a group of one."""
    groups: dict[tuple[int, ...], list[Sample]] = {}
    for sample in samples:
        group = groups.setdefault(sample.mask.shape, [])
        group.append(sample)
        if (len(group) + 1) * sample.mask.size > pixels:
            yield groups.pop(sample.mask.shape)
    yield from groups.values()
