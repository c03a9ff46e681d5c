"""The training loop."""

import itertools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from voc_seg.config import Parameters, TrainingConfig
from voc_seg.metrics.confusion import all_background, mean_iou, pixel_accuracy
from voc_seg.models.registry import build_model, restore_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import Batch, normalise, training_batches
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import InterruptedRunError, VocSegError
from voc_seg.voc.classes import VOID

from .checkpoint import Row, RunState, export_best_model, load_state, require_same_run, save_state
from .data_parallel import convert_sync_layers, gradient_sync, set_batch_offset, wrap_ddp
from .distributed import all_reduce_sum, barrier, broadcast_buffers, broadcast_rng_state, rank, world_size
from .evaluation import Prediction, Score, accumulate, predict_all
from .failures import (
    DIVERGENCE_ADVICE,
    explain_failures,
    out_of_memory_advice,
    require_finite,
    require_finite_weights,
    validation_memory_advice,
)
from .interruption import Interruption
from .optimisation import build_optimizer, learning_rate, loss_sum, set_learning_rate
from .progress import RunProgress
from .resuming import (
    already_finished,
    data_fingerprint,
    reset_best_if_scale_changed,
    run_fingerprint,
    stops_early,
    warn_schedule_changed,
)
from .runtime import Runtime, choose_runtime, deterministic, loader_workers

logger = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch", "step", "train_loss", "val_loss", "val_miou", "val_pixel_accuracy", "learning_rate",
    "images_per_second", "data_seconds", "epoch_seconds", "is_best", "val_scale",
)  # fmt: skip


@dataclass(frozen=True)
class EpochReport:
    """What an epoch, or a part of one, leaves behind; an empty dict means: leave that file as it is."""

    checkpoint: dict[str, Any]
    best_model: dict[str, Any]
    history: list[Row]


_CROPS_FOR_STATISTICS = 8
"""A process with fewer is told that batch norm may see the whole batch."""


def fit(
    train: SampleStore,
    val: SampleStore,
    class_names: tuple[str, ...],
    parameters: Parameters,
    checkpoint: dict[str, Any] | None = None,
    launch: str = "",
) -> Iterator[EpochReport]:
    """Train a SegmentationNet, one report an epoch and one for each checkpoint within.

    Several processes that have joined (``engine.distributed``) train it together: each takes its part of every batch,
    and all give the same reports, but for batch-norm statistics, of which those of rank 0 are to be kept.

    Args:
        train: Samples to learn from.
        val: Samples to choose the best epoch by.
        class_names: Names by class index.
        parameters: All settings.
        checkpoint: To go on from; None starts anew.
        launch: Stands in the checkpoints: by it a restart of torchrun knows its own.

    Raises:
        VocSegError: No samples, a checkpoint of other settings, a loss or weights that are not finite, memory that
            ran out, a dead loader worker.
        InterruptedRunError: After SIGTERM or Ctrl-C; the report before has the checkpoint.
    """
    config = parameters.training
    if not len(train) or not len(val):
        raise VocSegError(f"Training needs images: train has {len(train)}, val {len(val)}.")
    runtime = choose_runtime(parameters.runtime)
    torch.manual_seed(parameters.seed)
    about = run_fingerprint(class_names, parameters, data_fingerprint(train, val)) | {"launch": launch}
    if checkpoint:
        require_same_run(checkpoint, about)
        model = restore_model(checkpoint)
    else:
        model = build_model(parameters.model, len(class_names))
    freeze_stages(model, config.frozen_stages)
    model = convert_sync_layers(model.to(runtime.device), config.sync_batch_norm)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)) if config.ema_decay else None
    scored = ema.module if ema else model
    optimizer = build_optimizer(model, config.optimizer)
    state = load_state(checkpoint, ema, optimizer) if checkpoint else RunState()
    broadcast_rng_state(runtime.device)
    if reason := already_finished(state, parameters):
        logger.warning("Nothing left to train: the newest checkpoint %s, or start anew without training.resume", reason)
        yield EpochReport({}, {}, state.history)
        return
    if checkpoint:
        warn_schedule_changed(checkpoint, config)
        reset_best_if_scale_changed(checkpoint, state, parameters)
    places = f"{world_size()} x {runtime}" if world_size() > 1 else f"{runtime}"
    logger.info("Training on %s: %d images, validating on %d", places, len(train), len(val))
    if world_size() > 1 and not config.sync_batch_norm and config.batch_size < _CROPS_FOR_STATISTICS * world_size():
        logger.info(
            "Batch norm sees %.3g crops in each process; training.sync_batch_norm=true lets it see all %d of a batch",
            config.batch_size / world_size(), config.batch_size,
        )  # fmt: skip

    steps_per_epoch = math.ceil(len(train) / (config.batch_size * config.accumulation))
    rate_at = partial(
        learning_rate, steps=config.epochs * steps_per_epoch, peak=config.optimizer.learning_rate,
        config=config.schedule, steps_per_epoch=steps_per_epoch,
    )  # fmt: skip
    epochs = range(state.epoch, config.epochs)

    with (
        explain_failures(out_of_memory_advice(parameters)),
        runtime.keep_freed_memory(),
        deterministic(config.deterministic),
        Interruption() as interruption,
        RunProgress(config.epochs, steps_per_epoch, state) as progress,
    ):
        batches = training_batches(
            train, parameters.augmentation, config.batch_size, parameters.seed, epochs,
            loader_workers(parameters.runtime, runtime.device), runtime.device.type == "cuda", state.position,
            rank(), world_size(), lambda: world_size() == 1 and bool(interruption),
        )  # fmt: skip
        network = wrap_ddp(model)
        saved, nothing_saved = time.monotonic(), checkpoint is None
        for epoch in epochs:
            train_mode(model, config)
            while state.position < len(train) and not interruption:
                started = time.perf_counter()
                left = math.ceil((len(train) - state.position) / config.batch_size)
                group = list(itertools.islice(batches, min(left, config.accumulation)))
                state.waited += time.perf_counter() - started
                if len(group) < min(left, config.accumulation):
                    break  # interrupted while it waited for a loader worker

                rate = rate_at(state.step)
                set_learning_rate(optimizer, rate)
                loss = train_step(network, optimizer, group, runtime)
                loss, late = interruption.agree(loss, is_overdue(saved, config.checkpoint.every_minutes))
                require_finite(loss, state.step, rate, group, DIVERGENCE_ADVICE)
                if ema:
                    ema.update_parameters(model)

                state.step += 1
                state.position += sum(batch.whole for batch in group)
                state.loss += loss
                state.seconds += time.perf_counter() - started
                progress.step(epoch, loss, state.position / state.seconds)
                if late and not interruption:
                    require_finite_weights(model, state.step, DIVERGENCE_ADVICE)
                    yield EpochReport(save_state(model, ema, optimizer, state, about), {}, state.history)
                    saved, nothing_saved = time.monotonic(), False

            require_finite_weights(model, state.step, DIVERGENCE_ADVICE)
            last = epoch + 1 == config.epochs
            started, result = time.perf_counter(), None
            if (last or is_due(epoch, config.validate_every)) and not interruption:
                if nothing_saved:  # images of val may be far larger than crops: this may be where memory runs out
                    yield EpochReport(save_state(model, ema, optimizer, state, about), {}, state.history)
                    nothing_saved = False
                progress.validating()
                broadcast_buffers(scored)
                with explain_failures(validation_memory_advice(parameters)):
                    result = validate(scored, val, parameters, runtime, interruption)
                interruption.agree()
            if interruption:  # in the middle of the steps or of the validation, which is then done again
                yield EpochReport(save_state(model, ema, optimizer, state, about), {}, state.history)
                barrier()  # whoever ends sooner has torchrun end the one that writes
                raise InterruptedRunError(f"Stopped in epoch {epoch + 1} of {config.epochs}.", interruption.signum)

            state.epoch = epoch + 1
            is_best = result is not None and mean_iou(result.confusion) > state.best_miou
            if is_best:
                state.best_epoch, state.best_miou = state.epoch, mean_iou(result.confusion)
            row = history_row(state, result, steps_per_epoch, rate_at(state.step - 1), time.perf_counter() - started)
            scale = parameters.evaluation.scale if result else None
            state.history.append(row | {"is_best": is_best, "val_scale": scale})
            state.position, state.loss, state.seconds, state.waited = 0, 0.0, 0.0, 0.0
            progress.epoch(state, mean_iou(all_background(result.confusion)) if result else None)
            last = last or stops_early(state, config.early_stopping, parameters.evaluation.scale)
            written = last or is_due(epoch, config.checkpoint.every_epochs)
            yield EpochReport(
                save_state(model, ema, optimizer, state, about) if written else {},
                export_best_model(scored, about, state.epoch, state.best_miou, row["val_loss"]) if is_best else {},
                state.history,
            )
            if written:
                saved, nothing_saved = time.monotonic(), False
                interruption.agree()  # all are here: rank 0 has written what an evaluation reads next
            if written and interruption:
                raise InterruptedRunError(f"Stopped after epoch {state.epoch} of {config.epochs}.", interruption.signum)
            if last:
                break
    if state.epoch < config.epochs:
        logger.info("Stopped early: %d validations without a better mIoU", config.early_stopping)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, group: list[Batch], runtime: Runtime) -> float:
    """One optimiser step over a group of batches; returns the mean loss over all its labelled pixels.

    Each batch's summed loss is divided by the labelled pixels of the whole group, so accumulation gives the
    gradient of one large batch whatever the share of void in each part. Several processes count the pixels of all
    of them, and each returns its part of the loss.
    """
    targets = [batch.targets.to(runtime.device, non_blocking=True) for batch in group]
    (labelled,) = all_reduce_sum(sum(int((target != VOID).sum()) for target in targets))
    labelled = max(1, labelled)
    optimizer.zero_grad(set_to_none=True)
    mean = 0.0
    for batch, target in zip(group, targets):
        images = normalise(batch.images.to(runtime.device, non_blocking=True))  # (N, 3, h, w)
        set_batch_offset(model, batch)
        with gradient_sync(model, last=batch is group[-1]):
            with runtime.autocast():
                logits = model(images)  # (N, classes, h, w)
            loss = loss_sum(logits, target) / labelled
            (loss * world_size()).backward()  # DistributedDataParallel divides by them
        mean += loss.detach()
    optimizer.step()
    return float(mean)


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
            if isinstance(layer, (nn.BatchNorm2d, nn.SyncBatchNorm)):
                layer.eval()


def validate(
    model: SegmentationNet,
    val: SampleStore,
    parameters: Parameters,
    runtime: Runtime,
    interruption: Interruption | None = None,
) -> Score:
    """Score a split at native size; an interruption ends it early, and the score is then of no use."""
    model.eval()

    def predictions() -> Iterator[Prediction]:
        config, image_size = parameters.evaluation, parameters.augmentation.image_size
        for prediction in predict_all(model, val, config, runtime, image_size, rank(), world_size()):
            yield prediction
            if interruption is not None and interruption.noted:
                return

    return accumulate(predictions())


def history_row(state: RunState, result: Score | None, steps: int, rate: float, seconds: float) -> Row:
    """The epoch that ends with this state, as it stands in the history; ``seconds`` are those of its validation."""
    return {
        "epoch": state.epoch,
        "step": state.step,
        "train_loss": state.loss / steps,
        "val_loss": result.loss if result else None,
        "val_miou": mean_iou(result.confusion) if result else None,
        "val_pixel_accuracy": pixel_accuracy(result.confusion) if result else None,
        "learning_rate": rate,
        "images_per_second": state.position / state.seconds,
        "data_seconds": state.waited,
        "epoch_seconds": state.seconds + seconds,
    }


def is_overdue(saved: float, minutes: float | None) -> bool:
    """Whether the last checkpoint, at a time of the monotonic clock, is older than that."""
    return minutes is not None and time.monotonic() - saved >= 60 * minutes


def is_due(epoch: int, every: int) -> bool:
    """Whether something done every so many epochs falls on this zero-based epoch."""
    return (epoch + 1) % every == 0
