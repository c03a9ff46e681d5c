"""Scores of a split."""

import functools
import itertools
import math
import operator
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from torch import Tensor, nn

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.boundaries import Outlines, outlines_of, to_columns
from voc_seg.metrics.calibration import Calibration, DeviceCalibration
from voc_seg.metrics.confusion import mean_iou, pixel_accuracy
from voc_seg.metrics.counts import to_table
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar

from .distributed import all_gather, gather_to_rank0, rank, world_size
from .failures import EVALUATION_MEMORY_ADVICE, explain_failures
from .prediction import Pending, Prediction, predict_all, queue_predictions
from .runtime import Runtime


@dataclass(frozen=True)
class Score:
    """Totals of a split: confusion matrix ``int64 (classes, classes)`` and mean loss per labelled pixel."""

    confusion: np.ndarray
    loss: float


def score(
    model: SegmentationNet,
    samples: SampleStore,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None,
    stopped: Callable[[], bool],
) -> Score:
    """Score a split over all ranks; the device is read once, at the end.

    Args:
        model: On the runtime's device.
        samples: The split.
        config: Scale and flip.
        runtime: Device and precision.
        image_size: As for :func:`predict_all`.
        stopped: Called after each image; whether to end early, which makes the score meaningless.

    Raises:
        VocSegError: There is no image.
    """
    return add_up(queue_predictions(model, samples, config, runtime, image_size, rank(), world_size()), stopped)


def add_up(predictions: Iterable[Pending], stopped: Callable[[], bool]) -> Score:
    """Sum queued predictions over all ranks; arguments and errors as for :func:`score`."""
    confusion: Tensor | int = 0
    loss: Tensor | float = 0.0
    for found in predictions:
        confusion, loss = confusion + found.confusion, loss + found.loss
        if stopped():
            break
    return _sum_over_ranks(confusion.cpu().numpy() if isinstance(confusion, Tensor) else 0, float(loss))


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
    return _sum_over_ranks(confusion, loss)


def _sum_over_ranks(confusion: np.ndarray | int, loss: float) -> Score:
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
    | confusions        | DataFrame                              | counts of each image: `to_table`, `to_columns` |
    | calibration       | Calibration                            | sums over all pixels; None except on rank 0 |
    | masks             | dict of str to uint8 (H, W)            | predicted class by image id                |
    | images_per_second | float                                  | reading, predicting and scoring together  |
    """

    score: Score
    images: list[dict[str, float | str]]
    confusions: pd.DataFrame
    calibration: Calibration | None
    masks: dict[str, np.ndarray]
    images_per_second: float


def evaluate(
    model: nn.Module,
    samples: SampleStore,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
) -> Evaluation:
    """Score a split; rank 0 also keeps the predictions and the scores of each image."""
    model = runtime.place(model).eval()
    started = time.perf_counter()
    own: list[tuple[Prediction, Outlines]] = []
    sums: DeviceCalibration | None = None
    positions = {image_id: position for position, image_id in enumerate(samples.ids)}
    total = math.ceil(len(samples) / world_size())
    with explain_failures(EVALUATION_MEMORY_ADVICE), runtime.keep_freed_memory():
        with progress_bar(f"scoring {config.split}", total) as advance:
            for prediction in predict_all(model, samples, config, runtime, image_size, rank(), world_size()):
                truth = samples[positions[prediction.id]].mask
                outlines = outlines_of(truth, prediction.mask, len(prediction.confusion), prediction.trimap)
                # Too large to keep for each image.
                own.append((replace(prediction, calibration=None, trimap=None), outlines))
                if prediction.calibration:
                    sums = sums + prediction.calibration if sums else prediction.calibration
                advance(1)
        parts = [part for part in gather_to_rank0(sums.read() if sums else None) if part]
        found = {one[0].id: one for one in itertools.chain.from_iterable(gather_to_rank0(own))}
        scored = [found[image_id] for image_id in samples.ids] if rank() == 0 else []
        predictions = [prediction for prediction, _ in scored]
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
    confusions = to_table([one.id for one in predictions], [one.confusion for one in predictions])
    confusions = confusions.join(to_columns(outlines for _, outlines in scored))
    masks = {prediction.id: prediction.mask for prediction in predictions}
    calibration = functools.reduce(operator.add, parts) if parts else None
    return Evaluation(whole, rows, confusions, calibration, masks, len(samples) / (time.perf_counter() - started))
