"""Predictions at every image's own size, and their scores."""

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.confusion import confusion_matrix, mean_iou, pixel_accuracy
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar

from .distributed import all_gather, gather_to_rank0, rank, world_size
from .failures import EVALUATION_MEMORY_ADVICE, explain_failures
from .optimisation import loss_sum
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


@dataclass(frozen=True)
class Score:
    """Totals of a split: confusion matrix ``int64 (classes, classes)`` and mean loss per labelled pixel."""

    confusion: np.ndarray
    loss: float


def network_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return height and width at which an image of this size goes through the network."""
    height, width = (max(1, round(length * scale)) for length in size)
    return height, width


@torch.inference_mode()
def network_logits(
    model: SegmentationNet, images: np.ndarray, size: tuple[int, int], flip: bool, runtime: Runtime
) -> Tensor:
    """Return class scores of images ``uint8 (N, H, W, 3)`` at network size.

    Returns:
        Logits ``float32 (N, classes, h, w)`` for the ``size`` (h, w).
    """
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    if size != images.shape[1:3]:
        # Resized as uint8 on the CPU, like training crops: the same numbers on every device.
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    inputs = normalise(pixels.to(runtime.device))
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
    groups = _group_by_size(samples, _PIXELS * images_per_forward(runtime))
    for group in itertools.islice(groups, rank, None, world_size):
        size = network_size(image_size or group[0].mask.shape, config.scale)
        # np.stack copies: torch needs writable memory, and packed samples are read-only views.
        logits = network_logits(model, np.stack([sample.image for sample in group]), size, config.flip, runtime)
        # One at a time: the scores of one image then stay in the processor's cache until the loss is computed.
        for sample, scores in zip(group, logits.split(1)):
            yield _predict(sample, scores)


@torch.inference_mode()
def _predict(sample: Sample, logits: Tensor) -> Prediction:
    """Compute mask, confusion and loss of a sample from its logits ``float32 (1, classes, h, w)``, strip by strip."""
    truth = torch.from_numpy(sample.mask.copy())[None].to(logits.device)
    classes = logits.shape[1]
    mask = np.empty(sample.mask.shape, dtype=np.uint8)
    confusion, loss = np.zeros((classes, classes), dtype=np.int64), 0.0
    for rows, scores in upsample_in_strips(logits, *sample.mask.shape):
        found, target = scores.argmax(1), truth[:, rows]
        confusion += confusion_matrix(target, found, classes).numpy()
        loss += float(loss_sum(scores, target))
        mask[rows] = found[0].to("cpu", torch.uint8).numpy()
    return Prediction(sample.id, mask, confusion, loss)


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
    if runtime.device.type == "cuda":
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


def accumulate(predictions: Iterable[Prediction]) -> Score:
    """Sum the predictions of a split over all ranks; void pixels do not count.

    Raises:
        VocSegError: There are no predictions.
    """
    confusion: np.ndarray | int = 0
    loss = 0.0
    for prediction in predictions:
        confusion = confusion + prediction.confusion
        loss += prediction.loss
    parts = all_gather((confusion, loss))
    confusion, loss = sum(part[0] for part in parts), sum(part[1] for part in parts)
    if isinstance(confusion, int):
        raise VocSegError(
            "There is no image to score: the split is empty, because its masks are not public or missing. "
            "Choose another with evaluation.split (train, val, test)."
        )
    return Score(confusion, loss / max(1, int(confusion.sum())))


@dataclass(frozen=True)
class Evaluation:
    """Scores and predictions of a split.

    | field             | type                                   | meaning                                    |
    |-------------------|----------------------------------------|--------------------------------------------|
    | score             | Score                                  | confusion matrix and loss of the split     |
    | images            | list of dict                           | image_id, miou, pixel_accuracy, void_fraction |
    | masks             | dict of str to uint8 (H, W)            | predicted class by image id                |
    | images_per_second | float                                  | reading, predicting and scoring together  |
    """

    score: Score
    images: list[dict[str, float | str]]
    masks: dict[str, np.ndarray]
    images_per_second: float


def evaluate(
    model: SegmentationNet,
    samples: SampleStore,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
) -> Evaluation:
    """Score a split; rank 0 also keeps the predictions and the scores of each image."""
    model = model.to(runtime.device).eval()
    found: dict[str, Prediction] = {}
    started = time.perf_counter()
    own: list[Prediction] = []
    total = math.ceil(len(samples) / world_size())
    with explain_failures(EVALUATION_MEMORY_ADVICE), runtime.keep_freed_memory():
        with progress_bar(f"scoring {config.split}", total) as advance:
            for prediction in predict_all(model, samples, config, runtime, image_size, rank(), world_size()):
                own.append(prediction)
                advance(1)
        for prediction in itertools.chain.from_iterable(gather_to_rank0(own)):
            found[prediction.id] = prediction
        predictions = [found[image_id] for image_id in samples.ids] if rank() == 0 else []
        whole = accumulate(predictions)
    rows: list[dict[str, float | str]] = [
        {
            "image_id": prediction.id,
            "miou": mean_iou(prediction.confusion),
            "pixel_accuracy": pixel_accuracy(prediction.confusion),
            "void_fraction": 1 - int(prediction.confusion.sum()) / prediction.mask.size,
        }
        for prediction in predictions
    ]
    masks = {prediction.id: prediction.mask for prediction in predictions}
    return Evaluation(whole, rows, masks, len(samples) / (time.perf_counter() - started))
