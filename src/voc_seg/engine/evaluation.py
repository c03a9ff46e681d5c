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
from voc_seg.errors import VocSegError
from voc_seg.metrics import confusion_matrix, mean_iou, pixel_accuracy
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.voc.progress import progress_bar

from .distributed import gather, gather_at_first, rank, ranks
from .optimisation import loss_sum
from .runtime import Runtime
from .trouble import EVALUATION_MEMORY, explained

_PIXELS = 500 * 375
"""Of a picture of VOC's usual size."""
_WHOLE, _STRIP = 2**20, 2**18
"""Pixels of an image whose class scores are computed at once at its own size, 88 MB for 21 classes, and pixels of a
strip of larger images; with more classes fewer."""


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image.

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
    """Sum over a split: confusion matrix ``int64 (classes, classes)`` and mean loss a labelled pixel."""

    confusion: np.ndarray
    loss: float


def network_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width of what goes through the network for a picture of some size."""
    height, width = (max(1, round(length * scale)) for length in size)
    return height, width


@torch.inference_mode()
def network_logits(
    model: SegmentationNet, images: np.ndarray, size: tuple[int, int], flip: bool, runtime: Runtime
) -> Tensor:
    """Class scores of pictures ``uint8 (N, H, W, 3)`` at the size they go through the network with.

    Returns:
        Logits ``float32 (N, classes, h, w)`` for the ``size`` (h, w).
    """
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    if size != images.shape[1:3]:
        # On the CPU, as training crops are: bytes in, bytes out, the same numbers on every device.
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
    ranks: int = 1,
) -> Iterator[Prediction]:
    """Predict samples at native size and count against their truth.

    Images of one size go through the network together where that is quicker, so predictions may come in another
    order than the samples; which images go together depends on the samples alone. Of several processes each takes
    every so many of these groups, so the numbers of an image do not depend on how many processes there are.
    """
    groups = _of_one_size(samples, _PIXELS * pictures_together(runtime))
    for group in itertools.islice(groups, rank, None, ranks):
        size = network_size(image_size or group[0].mask.shape, config.scale)
        # A copy: torch wants writable memory, and packed samples are read-only views.
        logits = network_logits(model, np.stack([sample.image for sample in group]), size, config.flip, runtime)
        # One after the other: the scores of one picture stay in a processor's cache from here to the loss.
        for sample, scores in zip(group, logits.split(1)):
            yield _predict(sample, scores)


@torch.inference_mode()
def _predict(sample: Sample, logits: Tensor) -> Prediction:
    """Classes, counts and loss of a sample from its logits ``float32 (1, classes, h, w)``, a strip at a time."""
    truth = torch.from_numpy(sample.mask.copy())[None].to(logits.device)
    classes = logits.shape[1]
    mask = np.empty(sample.mask.shape, dtype=np.uint8)
    confusion, loss = np.zeros((classes, classes), dtype=np.int64), 0.0
    for rows, scores in strips_at_size(logits, *sample.mask.shape):
        found, target = scores.argmax(1), truth[:, rows]
        confusion += confusion_matrix(target, found, classes).numpy()
        loss += float(loss_sum(scores, target))
        mask[rows] = found[0].to("cpu", torch.uint8).numpy()
    return Prediction(sample.id, mask, confusion, loss)


def strips_at_size(logits: Tensor, height: int, width: int) -> Iterator[tuple[slice, Tensor]]:
    """Class scores at a picture's size: whole, or of a large picture a strip of rows at a time.

    They are those of ``interpolate(logits, (height, width), mode="bilinear")``, which would fill the memory for a large
    picture: 84 bytes a pixel for 21 classes, several times over. Strips differ from it by rounding alone.

    Args:
        logits: ``float32 (1, classes, h, w)``.
        height: Of the picture.
        width: Of the picture.

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
    # Rows first, by hand: where each row of the picture lies between two of the logits.
    position = ((torch.arange(height, device=logits.device) + 0.5) * (rows / height) - 0.5).clamp(0, rows - 1)
    above = position.long()
    below = (above + 1).clamp(max=rows - 1)
    share = (position - above)[:, None]
    for part in parts:
        scores = torch.lerp(logits[:, :, above[part]], logits[:, :, below[part]], share[part])
        # Channels last: half the time for what follows.
        scores = scores.contiguous(memory_format=torch.channels_last)
        yield part, functional.interpolate(scores, (scores.shape[2], width), mode="bilinear")


def pictures_together(runtime: Runtime) -> int:
    """Pictures of VOC's usual size that go through the network at once: benchmarks/README.md has the measurements."""
    if runtime.device.type == "cuda":
        return 8
    return 4 if runtime.dtype == torch.bfloat16 else 1


def _of_one_size(samples: Iterable[Sample], pixels: int) -> Iterator[list[Sample]]:
    """Groups of samples of one size that have so many pixels together, or of a single one that has more."""
    groups: dict[tuple[int, ...], list[Sample]] = {}
    for sample in samples:
        group = groups.setdefault(sample.mask.shape, [])
        group.append(sample)
        if (len(group) + 1) * sample.mask.size > pixels:
            yield groups.pop(sample.mask.shape)
    yield from groups.values()


def score(predictions: Iterable[Prediction]) -> Score:
    """Sum the counts of a split over all processes; void pixels are in neither.

    Raises:
        VocSegError: There is no prediction.
    """
    confusion, loss = 0, 0.0
    for prediction in predictions:
        confusion = confusion + prediction.confusion
        loss += prediction.loss
    parts = gather((confusion, loss))
    confusion, loss = sum(part[0] for part in parts), sum(part[1] for part in parts)
    if isinstance(confusion, int):
        raise VocSegError(
            "There is no image to score: the split is empty, as its masks are not public or not there. "
            "Choose another with evaluation.split (train, val, test)."
        )
    return Score(confusion, loss / max(1, int(confusion.sum())))


@dataclass(frozen=True)
class Evaluation:
    """A split, scored.

    | field             | type                                   | meaning                                    |
    |-------------------|----------------------------------------|--------------------------------------------|
    | score             | Score                                  | confusion matrix and loss of the split     |
    | images            | list of dict                           | image_id, miou, pixel_accuracy, void_fraction |
    | masks             | dict of str to uint8 (H, W)            | predicted class by image id                |
    | images_per_second | float                                  | reading, predicting and counting together  |
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
    """Score a split and keep its predictions and the scores of each image; of several processes rank 0 keeps them."""
    model = model.to(runtime.device).eval()
    found: dict[str, Prediction] = {}
    started = time.perf_counter()
    mine: list[Prediction] = []
    total = math.ceil(len(samples) / ranks())
    with explained(EVALUATION_MEMORY), runtime.memory_kept():
        with progress_bar(f"scoring {config.split}", total) as advance:
            for prediction in predict_all(model, samples, config, runtime, image_size, rank(), ranks()):
                mine.append(prediction)
                advance(1)
        for prediction in itertools.chain.from_iterable(gather_at_first(mine)):
            found[prediction.id] = prediction
        predictions = [found[image_id] for image_id in samples.ids] if rank() == 0 else []
        whole = score(predictions)
    rows = [
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
