"""The training loop."""

import itertools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from voc_seg.config import Parameters, TrainingConfig
from voc_seg.errors import VocSegError
from voc_seg.metrics import mean_iou, pixel_accuracy
from voc_seg.models.registry import build_model, restore_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import Batch, normalise, training_batches
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import VOID

from .checkpoint import Row, RunState, capture, model_only, require_same_run, restore
from .evaluation import Score, predict_all, score
from .optimisation import build_optimizer, learning_rate, loss_sum, set_learning_rate
from .progress import RunProgress
from .runtime import Runtime, choose_runtime, loader_workers
from .trouble import UNSTABLE, explained, require_finite, training_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochReport:
    """What one epoch leaves behind; an empty dict means: leave that file as it is."""

    checkpoint: dict[str, Any]
    best_model: dict[str, Any]
    history: list[Row]


def fit(
    train: SampleStore,
    val: SampleStore,
    class_names: tuple[str, ...],
    parameters: Parameters,
    checkpoint: dict[str, Any] | None = None,
) -> Iterator[EpochReport]:
    """Train a SegmentationNet, one report an epoch.

    Args:
        train: Samples to learn from.
        val: Samples to choose the best epoch by.
        class_names: Names by class index.
        parameters: All settings.
        checkpoint: To go on from; None starts anew.

    Raises:
        VocSegError: No samples, a checkpoint of other settings, a loss that is not finite, memory that ran
            out, a dead loader worker.
    """
    config = parameters.training
    if not len(train) or not len(val):
        raise VocSegError(f"Training needs images: train has {len(train)}, val {len(val)}.")
    runtime = choose_runtime(parameters.runtime)
    torch.manual_seed(parameters.seed)
    about = describe_run(class_names, parameters, {"source": train.origin.source, "images": len(train)})
    if checkpoint:
        require_same_run(checkpoint, about)
        model = restore_model(checkpoint)
    else:
        model = build_model(parameters.model, len(class_names))
    freeze_stages(model, config.frozen_stages)
    model = model.to(runtime.device)
    optimizer = build_optimizer(model, config.optimizer)
    state = restore(checkpoint, optimizer) if checkpoint else RunState()
    logger.info("Training on %s: %d images, validating on %d", runtime, len(train), len(val))
    if state.epoch >= config.epochs:
        raise VocSegError(
            f"training.resume: the newest checkpoint has finished epoch {state.epoch} of {config.epochs}. "
            "Raise training.epochs to go on, or start anew without training.resume=true."
        )
    if stops_early(state, config.early_stopping):
        raise VocSegError(
            f"training.resume: the newest checkpoint stopped early, at epoch {state.epoch}. "
            "Raise training.early_stopping to go on, or start anew without training.resume=true."
        )

    steps_per_epoch = math.ceil(len(train) / (config.batch_size * config.accumulation))
    epochs = range(state.epoch, config.epochs)
    batches = training_batches(
        train, parameters.augmentation, config.batch_size, parameters.seed, epochs,
        loader_workers(parameters.runtime, runtime.device), pin_memory=runtime.device.type == "cuda",
    )  # fmt: skip
    batches_per_epoch = math.ceil(len(train) / config.batch_size)

    with (
        explained(training_memory(parameters)),
        runtime.memory_kept(),
        RunProgress(config.epochs, steps_per_epoch, state) as progress,
    ):
        for epoch in epochs:
            train_mode(model, config)
            started, waited, losses, seen = time.perf_counter(), 0.0, [], 0
            left = iter(itertools.islice(batches, batches_per_epoch))
            for _ in range(steps_per_epoch):
                waiting = time.perf_counter()
                group = list(itertools.islice(left, config.accumulation))
                waited += time.perf_counter() - waiting

                rate = learning_rate(
                    state.step, config.epochs * steps_per_epoch, config.optimizer.learning_rate,
                    config.schedule, steps_per_epoch,
                )  # fmt: skip
                set_learning_rate(optimizer, rate)
                loss = train_step(model, optimizer, group, runtime)
                require_finite(loss, state.step, rate, group, UNSTABLE)

                state.step += 1
                losses.append(loss)
                seen += sum(len(batch.ids) for batch in group)
                progress.step(epoch, loss, seen / (time.perf_counter() - started))
            trained = time.perf_counter() - started

            state.epoch = epoch + 1
            last = state.epoch == config.epochs
            result = None
            if last or due(epoch, config.validate_every):
                progress.validating()
                result = validate(model, val, parameters, runtime)
            is_best = result is not None and mean_iou(result.confusion) > state.best_miou
            if is_best:
                state.best_epoch, state.best_miou = state.epoch, mean_iou(result.confusion)
            state.history.append({
                "epoch": state.epoch,
                "step": state.step,
                "train_loss": sum(losses) / len(losses),
                "val_loss": result.loss if result else None,
                "val_miou": mean_iou(result.confusion) if result else None,
                "val_pixel_accuracy": pixel_accuracy(result.confusion) if result else None,
                "learning_rate": rate,
                "images_per_second": seen / trained,
                "data_seconds": waited,
                "epoch_seconds": time.perf_counter() - started,
                "is_best": is_best,
            })  # fmt: skip
            progress.epoch(state)
            last = last or stops_early(state, config.early_stopping)
            yield EpochReport(
                capture(model, optimizer, state, about) if last or due(epoch, config.checkpoint.every_epochs) else {},
                model_only(model, about, state.epoch, state.best_miou) if is_best else {},
                state.history,
            )
            if last:
                break
    if state.epoch < config.epochs:
        logger.info("Stopped early: %d validations without a better mIoU", config.early_stopping)


def train_step(model: SegmentationNet, optimizer: torch.optim.Optimizer, group: list[Batch], runtime: Runtime) -> float:
    """One optimiser step over a group of batches; returns the mean loss over all its labelled pixels.

    Each batch's summed loss is divided by the labelled pixels of the whole group, so accumulation gives the
    gradient of one large batch whatever the share of void in each part.
    """
    targets = [batch.targets.to(runtime.device, non_blocking=True) for batch in group]
    labelled = max(1, sum(int((target != VOID).sum()) for target in targets))
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for batch, target in zip(group, targets):
        images = normalise(batch.images.to(runtime.device, non_blocking=True))  # (N, 3, h, w)
        with runtime.autocast():
            logits = model(images)  # (N, classes, h, w)
        loss = loss_sum(logits, target) / labelled
        loss.backward()
        total += loss.detach()
    optimizer.step()
    return float(total)


def freeze_stages(model: SegmentationNet, stages: int) -> None:
    """Take the first encoder stages out of training: no gradients are computed for them."""
    for module in itertools.chain(*model.encoder.stages()[:stages]):
        module.requires_grad_(False)


def train_mode(model: SegmentationNet, config: TrainingConfig) -> None:
    """Training mode, but for batch-norm statistics that are to stay as they are."""
    model.train()
    stages = model.encoder.stages()
    kept = stages if config.freeze_batch_norm else stages[: config.frozen_stages]
    for module in itertools.chain(*kept):
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()


def validate(model: SegmentationNet, val: SampleStore, parameters: Parameters, runtime: Runtime) -> Score:
    """Score a split at native size."""
    model.eval()
    config, image_size = parameters.evaluation, parameters.augmentation.image_size
    return score(predict_all(model, val, config, runtime, image_size))


def describe_run(class_names: tuple[str, ...], parameters: Parameters, data: dict[str, str | int]) -> dict[str, Any]:
    """What a checkpoint says of its run, in plain values."""
    # Of evaluation what decides which epoch is the best.
    shaping = {"seed": True, "augmentation": True, "training": True, "evaluation": {"scale", "flip"}}
    blocks = parameters.model_dump(mode="json", include=shaping)
    return {
        "class_names": list(class_names),
        "model_config": parameters.model.model_dump(mode="json"),
        "config": {**blocks, "data": data},
    }


def stops_early(state: RunState, patience: int | None) -> bool:
    """Whether the last ``patience`` validations have all missed the best mIoU; it follows from the history."""
    since_best = [row for row in state.history if row["epoch"] > state.best_epoch and row["val_miou"] is not None]
    return patience is not None and len(since_best) >= patience


def due(epoch: int, every: int) -> bool:
    """Whether something done every so many epochs falls on this zero-based epoch."""
    return (epoch + 1) % every == 0
