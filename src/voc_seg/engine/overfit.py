"""The sanity check: can this network overfit one image?"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from voc_seg.config import EvaluationConfig, OptimizerConfig, Parameters, SanityConfig, ScheduleConfig
from voc_seg.metrics.confusion import mean_iou, pixel_accuracy
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import Batch
from voc_seg.samples.crops import resize
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import VOID

from .checkpoint import Row
from .failures import explain_failures, require_finite
from .optimisation import build_optimizer, learning_rate, set_learning_rate
from .prediction import predict_all
from .runtime import choose_runtime
from .training import train_step

logger = logging.getLogger(__name__)

_SHORTEST = 64
"""Pixels: two values per side at stride 32."""


@dataclass(frozen=True)
class Overfit:
    """Outcome of a sanity check: loss by epoch, predicted mask ``uint8 (H, W)`` and scores on the image."""

    history: list[Row]
    prediction: np.ndarray
    metrics: dict[str, float | int | bool | str | None]


def choose_sample(samples: Sequence[Sample] | SampleStore, image: str | int | None) -> Sample:
    """The image to learn: by id, by position, or the first with at least two classes, each of them large.

    Large is a twentieth of the labelled pixels; where no image is like that, the first with two classes.

    Raises:
        VocSegError: No image of that id or position, or none with two classes.
    """
    if isinstance(image, int):
        # The command line reads the id 2007_000032 as the number 2007000032.
        for sample in samples:
            if sample.id.replace("_", "") == str(image):
                return sample
        if not 0 <= image < len(samples):
            raise VocSegError(
                f"sanity.image is {image}, but the training split has positions 0 to {len(samples) - 1}. An id of "
                "digits needs quotes within quotes: --params \"sanity.image='007'\""
            )
        return samples[image]
    if image is None:
        # Prefer an image without specks: at reduced size an object of a few pixels cannot be learnt.
        candidates = (sample for least in (0.05, 0.0) for sample in samples if _has_two_classes(sample, least))
    else:
        candidates = (sample for sample in samples if sample.id == image)
    for sample in candidates:
        return sample
    wanted = f"no image {image!r}" if image else "no image with two classes"
    raise VocSegError(
        f"sanity.image: the {len(samples)} images of the training split hold {wanted}. "
        "Choose an id of data/02_intermediate/train_index.parquet or a position."
    )


def overfit_size(height: int, width: int, longer_side: int) -> tuple[int, int]:
    """Height and width at which an image is learnt: reduced to the longer side, and no side too short to learn from.

    A side shorter than ``_SHORTEST`` is enlarged to it: a coarsest map of a single value is nothing that batch norm
    could normalise, and a strip reduced to one row of pixels has lost its classes.
    """
    scale = min(1.0, longer_side / max(height, width))
    return max(_SHORTEST, round(height * scale)), max(_SHORTEST, round(width * scale))


def _has_two_classes(sample: Sample, least_share: float) -> bool:
    """Whether at least two classes occur, and each that does covers this share of the labelled pixels."""
    _, counts = np.unique(sample.mask[sample.mask != VOID], return_counts=True)
    return counts.size >= 2 and counts.min() >= least_share * counts.sum()


def overfit(sample: Sample, class_names: tuple[str, ...], parameters: Parameters) -> Overfit:
    """Train on a single image without augmentation, and predict it.

    The image is seen whole, reduced in size, which keeps this to seconds on a CPU.
    The prediction is made at the image's own size in evaluation mode, along the path that evaluation takes.

    Raises:
        VocSegError: No pixel of the image is labelled, the loss is not finite, or memory ran out.
    """
    if (sample.mask == VOID).all():
        raise VocSegError(
            f"sanity.image: every pixel of {sample.id} is void, so there is nothing to learn. Choose another image."
        )
    config = parameters.sanity
    runtime = choose_runtime(parameters.runtime)
    torch.manual_seed(parameters.seed)
    # Both serve generalisation; overfitting is the goal here.
    network = parameters.model.model_copy(update={"dropout": 0.0, "auxiliary": 0.0})
    model_input = parameters.data.model_input
    model = runtime.place(build_model(network, len(class_names), model_input, class_names)).train()
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=config.learning_rate, weight_decay=0.0))
    scaler = runtime.gradient_scaler()
    height, width = sample.mask.shape
    size = overfit_size(height, width, config.longer_side)
    image, mask = resize(sample, size)
    batch = Batch(image[None], mask[None], (sample.id,))
    logger.info("Overfitting %s, %d x %d pixels, on %s", sample.id, size[1], size[0], runtime)

    history: list[Row] = []
    with explain_failures(f"Lower sanity.longer_side (now {config.longer_side}) or take a smaller model.encoder."):
        with progress_bar("overfitting", config.epochs, "steps") as advance:
            for epoch in range(config.epochs):
                rate = learning_rate(epoch, config.epochs, config.learning_rate, ScheduleConfig(name="cosine"), 1)
                set_learning_rate(optimizer, rate)
                loss = float(train_step(model, optimizer, [batch], runtime, scaler, None, model_input))
                require_finite(loss, epoch, rate, batch.ids, f"Try sanity.learning_rate={config.learning_rate / 5:g}.")
                history.append({"epoch": epoch + 1, "loss": loss, "learning_rate": rate})
                advance(1)
        prediction = next(predict_all(model.eval(), [sample], EvaluationConfig(), runtime, size))
    miou = mean_iou(prediction.confusion)
    metrics: dict[str, float | int | bool | str | None] = {
        "image_id": sample.id,
        "epochs": config.epochs,
        "final_loss": history[-1]["loss"],
        "miou": miou,
        "pixel_accuracy": pixel_accuracy(prediction.confusion),
        "passed": miou >= config.pass_miou,
    }
    return Overfit(history, prediction.mask, metrics)


def failure_advice(metrics: dict, config: SanityConfig) -> str:
    """What to do about an image that was not learnt, most likely cause first."""
    return (
        f"Sanity check failed: after {metrics['epochs']} epochs on {metrics['image_id']} the mIoU is "
        f"{metrics['miou']:.3f}, below sanity.pass_miou={config.pass_miou}; loss {metrics['final_loss']:.3f}.\n"
        "See sanity_figure.png, then try, in this order:\n"
        f"  - loss still falling: more epochs, sanity.epochs={max(60, 2 * config.epochs)}\n"
        f"  - loss flat from the start or jumping: sanity.learning_rate={config.learning_rate / 5:g}\n"
        "  - loss low but prediction wrong: image and mask do not belong together; look at the figure\n"
        "  - thin or tiny objects only: another image, sanity.image=<id or position>\n"
        "A network that cannot learn one image will not learn a data set: fix this before training."
    )
