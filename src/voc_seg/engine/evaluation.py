"""Predictions at every image's own size, and their scores."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from voc_seg.config import EvaluationConfig
from voc_seg.errors import VocSegError
from voc_seg.metrics import confusion_matrix, mean_iou, pixel_accuracy
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.voc.classes import VOID

from .optimisation import loss_sum
from .progress import quiet
from .runtime import Runtime
from .trouble import EVALUATION_MEMORY, explained


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


@torch.inference_mode()
def predict_logits(
    model: SegmentationNet,
    image: np.ndarray,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
) -> Tensor:
    """Class scores of every pixel of a picture.

    Args:
        model: In evaluation mode, on the runtime's device.
        image: ``uint8 (H, W, 3)`` RGB.
        config: ``scale`` and ``flip``.
        runtime: Device and precision.
        image_size: Height and width the training images were resized to; ``scale`` is relative to it.

    Returns:
        Logits ``float32 (1, classes, H, W)``.
    """
    height, width = image.shape[:2]
    base = image_size or (height, width)
    size = tuple(max(1, round(length * config.scale)) for length in base)
    # from_numpy wants writable memory; packed samples are read-only views.
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    if size != (height, width):
        # On the CPU, as training crops are: bytes in, bytes out, the same numbers on every device.
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    inputs = normalise(pixels.to(runtime.device))
    with runtime.autocast():
        logits = model(inputs)
        if config.flip:
            logits = (logits + model(inputs.flip(-1)).flip(-1)) / 2
    return functional.interpolate(logits.float(), (height, width), mode="bilinear")


def predict_one(
    model: SegmentationNet,
    sample: Sample,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
) -> Prediction:
    """Predict a sample at native size and count against its truth."""
    logits = predict_logits(model, sample.image, config, runtime, image_size)
    classes = logits.argmax(1)[0]
    truth = torch.from_numpy(np.array(sample.mask)).to(runtime.device)
    return Prediction(
        sample.id,
        classes.to("cpu", torch.uint8).numpy(),
        confusion_matrix(truth, classes, logits.shape[1]).numpy(),
        float(loss_sum(logits, truth[None])),
    )


def score(predictions: Iterable[Prediction]) -> Score:
    """Sum the counts of a split; void pixels are in neither.

    Raises:
        VocSegError: There is no prediction.
    """
    confusion, loss = 0, 0.0
    for prediction in predictions:
        confusion = confusion + prediction.confusion
        loss += prediction.loss
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
    """Score a split and keep its predictions and the scores of each image."""
    rows, masks, predictions = [], {}, []
    model = model.to(runtime.device).eval()
    started = time.perf_counter()
    shown = track(samples, f"scoring {config.split}", total=len(samples), transient=True, disable=quiet())
    with explained(EVALUATION_MEMORY):
        for sample in shown:
            prediction = predict_one(model, sample, config, runtime, image_size)
            predictions.append(prediction)
            masks[prediction.id] = prediction.mask
            rows.append({
                "image_id": prediction.id,
                "miou": mean_iou(prediction.confusion),
                "pixel_accuracy": pixel_accuracy(prediction.confusion),
                "void_fraction": float((sample.mask == VOID).mean()),
            })  # fmt: skip
    return Evaluation(score(predictions), rows, masks, len(samples) / (time.perf_counter() - started))
