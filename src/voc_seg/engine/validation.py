"""Validation within a training."""

from collections.abc import Callable

from voc_seg.config import Parameters
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.store import SampleStore

from .evaluation import Score, add_up, score
from .frozen import FrozenFeatures, queue_cached_predictions
from .interruption import Interruption
from .runtime import Runtime, cudnn_benchmark


def validate(
    model: SegmentationNet,
    val: SampleStore,
    parameters: Parameters,
    runtime: Runtime,
    interruption: Interruption | None = None,
    advance: Callable[[], None] = lambda: None,
    features: FrozenFeatures | None = None,
) -> Score:
    """Score a split at native size; an interruption ends it early and makes the score meaningless.

    ``advance`` is called after each image. With ``features`` only the decoder is computed.
    """
    model.eval()

    def stopped() -> bool:
        advance()
        return interruption is not None and interruption.received is not None

    evaluation = parameters.evaluation.of_validation
    boundary = parameters.training.monitor == "boundary_iou"
    with cudnn_benchmark(False):  # images have many sizes
        image_size = parameters.augmentation.image_size
        if features:
            predictions = queue_cached_predictions(model, features, val, evaluation, runtime, image_size)
            return add_up(predictions, stopped, val if boundary else None)
        return score(model, val, evaluation, runtime, image_size, stopped, boundary)
