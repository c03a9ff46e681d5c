"""Predictions at every image's own size, each compared with its mask."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.boundaries import trimap_of
from voc_seg.metrics.calibration import SampledPixels, sample_pixels
from voc_seg.metrics.confusion import confusion_matrix
from voc_seg.samples.store import Sample
from voc_seg.system.parallel import parallel_map

from .delayed import DelayedRead
from .losses import loss_sum
from .runtime import Runtime
from .scores import average_in_strips, best_class, network_input, network_logits, network_size
from .tiles import ScoredPart, is_tiled, score_parts

TYPICAL_PIXELS = 500 * 375
"""Pixels of a typical VOC image."""


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    | field     | shape              | dtype   | meaning                                  |
    |-----------|--------------------|---------|------------------------------------------|
    | id        |                    | str     | image id                                 |
    | mask      | (H, W)             | uint8   | predicted class, the image's own size    |
    | confusion | (classes, classes) | int64   | rows truth, columns prediction           |
    | loss      |                    | float   | cross-entropy summed over labelled pixels |

    ``pixels`` are those for the calibration, still on the device; ``trimap`` is that of the mask as bits, eight a byte.
    Both are there only if asked for; ``confusion`` is then 0 everywhere, as all pixels are counted at once afterwards
    (`voc_seg.metrics.boundaries.count_pixels`).
    """

    id: str
    mask: np.ndarray
    confusion: np.ndarray
    loss: float
    pixels: tuple[SampledPixels, ...] = ()
    trimap: np.ndarray | None = None


@dataclass(frozen=True)
class Pending:
    """A :class:`Prediction` whose tensors the device may still compute; the loss is ``float64 ()``, on mps float32."""

    id: str
    mask: Tensor
    confusion: Tensor
    loss: Tensor
    pixels: tuple[SampledPixels, ...] = ()
    trimap: np.ndarray | None = None


def predict_all(
    model: nn.Module,
    samples: Iterable[Sample],
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
    rank: int = 0,
    world_size: int = 1,
    with_pixels: bool = False,
) -> Iterator[Prediction]:
    """Predict samples at native size and compare them with their masks.

    ``with_pixels`` asks for the pixels for the calibration, and for the trimap.

    Images of one size go through the network together where that is faster, so the order of predictions may differ
    from that of the samples. The groups depend only on the samples. Each rank takes every n-th group, so an image's
    result does not depend on the number of ranks.
    """
    queued: deque[tuple[Pending, DelayedRead]] = deque()
    behind = images_per_forward(runtime) if runtime.asynchronous else 0
    for found in queue_predictions(model, samples, config, runtime, image_size, rank, world_size, with_pixels):
        numbers = DelayedRead(found.mask, found.confusion, found.loss, asynchronous=runtime.asynchronous)
        queued.append((found, numbers))
        if len(queued) > behind:
            yield _to_host(*queued.popleft())
    for waiting in queued:
        yield _to_host(*waiting)


def _to_host(found: Pending, numbers: DelayedRead) -> Prediction:
    mask, confusion, loss = (number.cpu() for number in numbers.read())
    return Prediction(found.id, mask.numpy(), confusion.numpy(), float(loss), found.pixels, found.trimap)


def queue_predictions(
    model: nn.Module,
    samples: Iterable[Sample],
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None,
    rank: int,
    world_size: int,
    with_pixels: bool = False,
) -> Iterator[Pending]:
    """Queue the predictions of :func:`predict_all` without waiting for any."""
    shared = (model, samples, config, runtime, image_size, rank, world_size)
    for sample, parts, truth, trimap in queue_scores(*shared, with_trimap=with_pixels):
        if trimap is None:
            yield compare_with_mask(sample.id, parts, truth)
            continue
        found = compare_with_mask(sample.id, parts, truth, trimap.to(runtime.device, non_blocking=True))
        yield replace(found, trimap=np.packbits(trimap.numpy()))


def queue_scores(
    model: nn.Module,
    samples: Iterable[Sample],
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
    rank: int = 0,
    world_size: int = 1,
    *,
    with_trimap: bool = False,
) -> Iterator[tuple[Sample, Iterator[ScoredPart], Tensor, Tensor | None]]:
    """Queue the class scores of :func:`predict_all` without waiting for any.

    Yields:
        A sample; the parts of its scores, which must be used before the next; its mask ``uint8 (1, H, W)`` on the
        device; and with ``with_trimap`` its trimap ``bool (1, H, W)`` on the host.
    """

    def sizes_of(group: list[Sample]) -> list[tuple[int, int]]:
        return [network_size(image_size or group[0].mask.shape, scale) for scale in config.all_scales]

    def load(group: list[Sample]) -> tuple[list[Sample], list[Tensor], Tensor, Tensor | None]:
        sizes = sizes_of(group)
        # np.stack copies: torch needs writable memory, and packed samples are read-only views.
        images = np.stack([sample.image for sample in group])
        pixels = [] if is_tiled(sizes, config.tile) else [network_input(images, size) for size in sizes]
        masks = torch.from_numpy(np.stack([sample.mask for sample in group]))
        trimaps = torch.from_numpy(np.stack([trimap_of(sample.mask) for sample in group])) if with_trimap else None
        if not runtime.asynchronous:
            return group, pixels, masks, trimaps
        # A thread begins on device 0, and pinning would open a context there.
        torch.accelerator.set_device_index(runtime.device.index or 0)
        trimaps = trimaps.pin_memory() if trimaps is not None else None
        return group, [one.pin_memory() for one in pixels], masks.pin_memory(), trimaps

    groups = itertools.islice(
        _group_by_size(samples, TYPICAL_PIXELS * images_per_forward(runtime)), rank, None, world_size
    )
    # Reading ahead keeps a GPU busy; on a CPU it would take cores from the network.
    for group, pixels, masks, trimaps in (parallel_map if runtime.asynchronous else map)(load, groups):
        logits = [network_logits(model, one, config.flip, runtime).split(1) for one in pixels]
        truths = masks.to(runtime.device, non_blocking=True).split(1)
        # One at a time: the scores of one image then stay in the processor's cache until the loss is computed.
        for number, (sample, truth) in enumerate(zip(group, truths)):
            if logits:
                parts = whole_rows([one[number] for one in logits], *sample.mask.shape)
            else:
                image = np.array(sample.image)
                parts = score_parts(model, image, sizes_of(group), config.flip, config.tile, runtime)
            yield sample, parts, truth, None if trimaps is None else trimaps[number : number + 1]


def whole_rows(logits: list[Tensor], height: int, width: int) -> Iterator[ScoredPart]:
    """The scores of an image that went through the network whole, in the form of :func:`score_parts`."""
    for rows, scores in average_in_strips(logits, height, width):
        yield rows, slice(0, width), scores


@torch.inference_mode()
def compare_with_mask(
    image_id: str,
    parts: Iterable[ScoredPart],
    truth: Tensor,
    trimap: Tensor | None = None,
) -> Pending:
    """Compute mask, loss and, without a trimap, confusion matrix of an image, part by part.

    Args:
        image_id: Its id.
        parts: They cover every pixel once.
        truth: ``uint8 (1, H, W)`` at the image's own size.
        trimap: If pixels for the calibration are wanted, ``bool (1, H, W)``, on the device of the truth.
    """
    mask = torch.empty_like(truth[0])
    confusion: Tensor | int = 0
    loss = torch.zeros((), dtype=sum_dtype(truth.device), device=truth.device)
    pixels: list[SampledPixels] = []
    for rows, columns, scores in parts:
        found, target = best_class(scores), truth[:, rows, columns]
        if trimap is None:
            confusion = confusion + confusion_matrix(target, found, scores.shape[1])
        else:
            confusion = torch.zeros((scores.shape[1],) * 2, dtype=torch.int64, device=truth.device)
            pixels.append(sample_pixels(scores, target, trimap[:, rows, columns], (rows.start, columns.start)))
        loss += loss_sum(scores, target)
        mask[rows, columns] = found[0]
    assert isinstance(confusion, Tensor), "an image has at least one pixel"
    return Pending(image_id, mask, confusion, loss, tuple(pixels))


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type in which losses are summed: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


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
