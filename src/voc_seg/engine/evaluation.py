"""Scores of a split."""

import functools
import itertools
import math
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from torch import Tensor, nn

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.boundaries import BoundaryCounts, count_boundaries, count_pixels, to_columns
from voc_seg.metrics.calibration import Calibration, SampledPixels, calibration_sums
from voc_seg.metrics.confusion import mean_iou, pixel_accuracy
from voc_seg.metrics.counts import Counts, to_table
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar

from .distributed import all_gather, gather_to_rank0, rank, world_size
from .failures import EVALUATION_MEMORY_ADVICE, explain_failures
from .prediction import Pending, Prediction, predict_all, queue_predictions
from .runtime import Runtime

_SAMPLED = 2**16
"""Sampled pixels that are added up at once, about those of 28 images of VOC."""


@dataclass(frozen=True)
class Score:
    """Totals of a split: confusion matrix ``int64 (classes, classes)`` and mean loss per labelled pixel.

    ``boundary`` counts the pixels near boundaries, ``(classes,)``, where it was asked for.
    """

    confusion: np.ndarray
    loss: float
    boundary: Counts | None = None

    def monitored(self, monitor: str, class_names: Sequence[str]) -> float:
        """The score that ``training.monitor`` names, 0 to 1; 0 for a class that neither occurs nor is predicted."""
        if monitor == "miou":
            return mean_iou(self.confusion)
        if monitor == "boundary_iou":
            assert self.boundary is not None, "counted in validations for this score"
            return float(np.nan_to_num(self.boundary.miou()))
        ious = Counts.of(self.confusion).iou()
        return float(np.nan_to_num(ious[class_names.index(monitor.removeprefix("class:"))]))


def score(
    model: SegmentationNet,
    samples: SampleStore,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None,
    stopped: Callable[[], bool],
    boundary: bool = False,
) -> Score:
    """Score a split over all ranks; the device is read once, at the end, or with ``boundary`` after each image.

    Args:
        model: On the runtime's device.
        samples: The split.
        config: Scale and flip.
        runtime: Device and precision.
        image_size: As for :func:`predict_all`.
        stopped: Called after each image; whether to end early, which makes the score meaningless.
        boundary: Count the pixels near boundaries, too.

    Raises:
        VocSegError: There is no image.
    """
    predictions = queue_predictions(model, samples, config, runtime, image_size, rank(), world_size())
    return add_up(predictions, stopped, samples if boundary else None)


def add_up(predictions: Iterable[Pending], stopped: Callable[[], bool], samples: SampleStore | None = None) -> Score:
    """Sum queued predictions over all ranks; arguments and errors as for :func:`score`.

    With the ``samples`` that are predicted, the pixels near boundaries are counted, too.
    """
    confusion: Tensor | int = 0
    loss: Tensor | float = 0.0
    boundary: Counts | None = None
    positions = samples.positions() if samples else {}
    for found in predictions:
        confusion, loss = confusion + found.confusion, loss + found.loss
        if samples:
            truth = samples[positions[found.id]].mask
            more = count_boundaries(truth, found.mask.cpu().numpy(), len(found.confusion)).boundary
            boundary = boundary + more if boundary else more
        if stopped():
            break
    summed = _sum_over_ranks(confusion.cpu().numpy() if isinstance(confusion, Tensor) else 0, float(loss))
    if samples is None:
        return summed
    parts = [part for part in all_gather(boundary) if part]
    return replace(summed, boundary=functools.reduce(operator.add, parts))


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
            "There is no image to score: the split has no usable mask. They are not public, missing, or all rejected "
            "(data/08_reporting/rejected_images.csv). Choose another with evaluation.split (train, val, test)."
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
    temperature: float = 1.0,
) -> Evaluation:
    """Score a split; rank 0 also keeps the predictions and the scores of each image.

    Confidences are those of scores divided by the ``temperature``; nothing else depends on it.
    """
    model = runtime.place(model).eval()
    started = time.perf_counter()
    own: list[Prediction] = []
    sums: list[Calibration] = []
    sampled: list[SampledPixels] = []
    positions = samples.positions()
    total = math.ceil(len(samples) / world_size())

    def with_boundaries(prediction: Prediction) -> tuple[Prediction, BoundaryCounts]:
        truth = samples[positions[prediction.id]].mask
        assert prediction.trimap is not None, "asked for with the pixels"
        trimap = np.unpackbits(prediction.trimap, count=truth.size).reshape(truth.shape).astype(bool)
        confusion, boundaries = count_pixels(truth, prediction.mask, len(prediction.confusion), trimap)
        return replace(prediction, confusion=confusion, trimap=None), boundaries

    with explain_failures(EVALUATION_MEMORY_ADVICE), runtime.keep_freed_memory():
        with progress_bar(f"scoring {config.split}", total) as advance:
            shared = (model, samples, config, runtime, image_size, rank(), world_size())
            for prediction in predict_all(*shared, with_pixels=True):
                sampled += prediction.pixels
                if sum(len(pixels.truth) for pixels in sampled) > _SAMPLED:
                    sums.append(calibration_sums(sampled, temperature))
                    sampled.clear()
                own.append(replace(prediction, pixels=()))
                advance(1)
        if sampled:
            sums.append(calibration_sums(sampled, temperature))
        parts = list(itertools.chain.from_iterable(gather_to_rank0(sums)))
        # After the network, from which threads would take the cores.
        counted = list(parallel_map(with_boundaries, own))
        found = {one[0].id: one for one in itertools.chain.from_iterable(gather_to_rank0(counted))}
        scored = [found[image_id] for image_id in samples.ids] if rank() == 0 else []
        kept = [prediction for prediction, _ in scored]
        whole = accumulate(kept)
    rows: list[dict[str, float | str]] = [
        {
            "image_id": prediction.id,
            "miou": mean_iou(prediction.confusion),
            "pixel_accuracy": pixel_accuracy(prediction.confusion),
            "void_fraction": 1 - int(prediction.confusion.sum()) / prediction.mask.size,
        }
        for prediction in kept
    ]
    confusions = to_table([one.id for one in kept], [one.confusion for one in kept])
    confusions = confusions.join(to_columns(boundaries for _, boundaries in scored))
    masks = {prediction.id: prediction.mask for prediction in kept}
    calibration = functools.reduce(operator.add, parts) if parts else None
    return Evaluation(whole, rows, confusions, calibration, masks, len(samples) / (time.perf_counter() - started))
