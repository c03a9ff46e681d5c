"""A training run: the network and everything that changes with its steps, built from settings or a checkpoint."""

import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from voc_seg.config import Parameters
from voc_seg.metrics.confusion import mean_iou, pixel_accuracy
from voc_seg.models.head import Head
from voc_seg.models.registry import build_model, restore_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import Batch
from voc_seg.samples.feature_batches import FeatureBatch
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError

from .batch_size import settle_batch_size
from .checkpoint import Row, RunState, export_best_model, load_state, require_same_run, save_state
from .class_pixels import class_pixels_of_run
from .data_parallel import convert_sync_layers
from .delayed import DelayedRead
from .device_facts import device_facts, gpu_memory, reset_gpu_peak
from .distributed import broadcast_rng_state, world_size
from .evaluation import Score
from .freezing import freeze_stages, warn_untrained_frozen
from .frozen import FrozenFeatures, require_same_scale
from .length import Length
from .losses import Loss, build_loss, with_auxiliary
from .normalisation import with_statistics
from .optimisation import MovingAverage, build_optimizer, learning_rate
from .resuming import (
    data_fingerprint,
    reset_best_if_scale_changed,
    run_fingerprint,
    warn_precision_changed,
    warn_schedule_changed,
)
from .runtime import Runtime, choose_runtime

logger = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch", "step", "train_loss", "val_loss", "val_miou", "val_pixel_accuracy", "learning_rate",
    "images_per_second", "data_seconds", "epoch_seconds", "is_best", "val_scale",
    "gpu_peak_bytes", "gpu_reserved_bytes", "val_monitored",
)  # fmt: skip

_CROPS_FOR_STATISTICS = 8
"""With fewer crops per process, a message suggests batch norm over the whole batch."""


@dataclass(frozen=True)
class EpochReport:
    """Outputs of an epoch or of a part of one; an empty dict leaves that file unchanged."""

    checkpoint: dict[str, Any]
    best_model: dict[str, Any]
    history: list[Row]


@dataclass(frozen=True)
class Step:
    """An optimiser step whose loss has not been read yet: zero-based number, learning rate and image ids."""

    loss: DelayedRead
    number: int
    rate: float
    ids: tuple[str, ...]


@dataclass
class TrainingRun:
    """The state of a training run; ``fingerprint`` identifies the run in its checkpoints."""

    parameters: Parameters
    runtime: Runtime
    model: SegmentationNet
    ema: MovingAverage | None
    optimizer: torch.optim.Optimizer
    state: RunState
    fingerprint: dict[str, Any]
    steps_per_epoch: int
    has_checkpoint: bool
    scaler: GradScaler
    loss: Loss
    features: FrozenFeatures | None = None  # with training.frozen_stages=all: what the decoder is trained on
    unread: deque[Step] = field(default_factory=deque)
    last_loss: float = math.nan  # of the newest step whose loss has been read
    saved_at: float = field(default_factory=lambda: time.monotonic())  # seconds
    started_at: float = field(default_factory=lambda: time.monotonic())
    used_before: float = 0.0  # seconds of training.minutes used by earlier processes

    @property
    def scored(self) -> SegmentationNet:
        """The network that is validated and kept as the best model."""
        return cast(SegmentationNet, self.ema.module) if self.ema else self.model

    @property
    def trained(self) -> nn.Module:
        """What training steps call: the network, or its decoder where features are stored."""
        return Head(self.model, self.features.used) if self.features else self.model

    @property
    def length(self) -> Length:
        """Its epochs and steps."""
        return Length(self.parameters.training, self.state, self.steps_per_epoch)

    def used_seconds(self) -> float:
        """How much of ``training.minutes`` has been used, by this process and those before it."""
        return self.used_before + time.monotonic() - self.started_at

    def rate_at(self, step: int) -> float:
        """The learning rate of a zero-based step."""
        length, peak = self.length, self.parameters.training.optimizer.learning_rate
        return learning_rate(step, length.steps, peak, length.schedule, self.steps_per_epoch)

    def checkpoint_overdue(self) -> bool:
        """Whether the last checkpoint is older than ``training.checkpoint.every_minutes``."""
        minutes = self.parameters.training.checkpoint.every_minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes

    def report(self, checkpoint: bool = True, best: bool = False) -> EpochReport:
        """The history, with a checkpoint and a copy of the best model where asked for."""
        state, about = self.state, self.fingerprint
        saved, exported = {}, {}
        if checkpoint:
            if state.plan.minutes:
                state.plan = replace(state.plan, used_seconds=self.used_seconds())
            about = about | {"hardware": device_facts(self.runtime)}
            saved = save_state(self.model, self.ema, self.optimizer, self.scaler, state, about)
            self.has_checkpoint, self.saved_at = True, time.monotonic()
        if best:
            loss = state.history[-1]["val_loss"]
            exported = export_best_model(self.scored, about, state.epoch, state.best_miou, loss)
        return EpochReport(saved, exported, state.history)

    def finish_step(self, loss: Tensor, rate: float, group: Sequence[Batch | FeatureBatch], started: float) -> None:
        """Count an optimiser step over a group of batches; ``started`` is when loading them began."""
        if self.ema:
            self.ema.update_parameters(self.model)
        ids = tuple(itertools.chain.from_iterable(batch.ids for batch in group))
        delayed = DelayedRead(loss, asynchronous=self.runtime.asynchronous)
        self.unread.append(Step(delayed, self.state.step, rate, ids))
        self.state.step += 1
        self.state.position += sum(batch.whole for batch in group)
        self.state.seconds += time.perf_counter() - started

    def finish_epoch(self, score: Score | None, seconds: float) -> bool:
        """Append the epoch to the history; return whether its network is the model from now on.

        That is the best so far, or with ``training.select`` ``last`` or ``ema`` the newest that was validated.

        Args:
            score: Of its validation, if it had one.
            seconds: Time its validation took.
        """
        state, memory = self.state, gpu_memory(self.runtime.device)
        reset_gpu_peak(self.runtime.device)
        state.epoch += 1
        # Fewer steps where training.minutes ends within the epoch.
        taken = min(self.steps_per_epoch, state.step - int(sum(row.get("step") or 0 for row in state.history[-1:])))
        config, names = self.parameters.training, self.fingerprint["class_names"]
        monitored = score.monitored(config.monitor, names) if score else None
        is_best = monitored is not None and (config.select != "best" or monitored > state.best_monitored)
        if score and is_best:
            state.best_epoch, state.best_miou = state.epoch, mean_iou(score.confusion)
        state.history.append(
            {
                "epoch": state.epoch,
                "step": state.step,
                "train_loss": state.loss / taken,
                "val_loss": score.loss if score else None,
                "val_miou": mean_iou(score.confusion) if score else None,
                "val_pixel_accuracy": pixel_accuracy(score.confusion) if score else None,
                "learning_rate": self.rate_at(state.step - 1),
                "images_per_second": state.position / state.seconds,
                "data_seconds": state.waited,
                "epoch_seconds": state.seconds + seconds,
                "is_best": is_best,
                "val_scale": self.parameters.evaluation.scale if score else None,
                "gpu_peak_bytes": memory.peak if memory else None,
                "gpu_reserved_bytes": memory.reserved if memory else None,
                "val_monitored": monitored,
            }
        )
        state.position, state.loss, state.seconds, state.waited = 0, 0.0, 0.0, 0.0
        return is_best


def start_run(
    train: SampleStore,
    val: SampleStore,
    class_names: tuple[str, ...],
    parameters: Parameters,
    checkpoint: dict[str, Any] | None,
    launch: str,
) -> TrainingRun:
    """Build a run, or restore it from a checkpoint; the arguments are those of ``engine.training.fit``.

    Raises:
        VocSegError: A split is empty, or the checkpoint belongs to another run.
    """
    if not len(train) or not len(val):
        raise VocSegError(f"Training needs images: train has {len(train)}, val {len(val)}.")
    runtime = choose_runtime(parameters.runtime)
    parameters = with_statistics(parameters, train.origin)
    parameters = settle_batch_size(parameters, len(class_names), runtime, checkpoint)
    reset_gpu_peak(runtime.device)  # of tried batch sizes and of runs before this one
    config = parameters.training
    torch.manual_seed(parameters.seed)
    fingerprint = run_fingerprint(class_names, parameters, data_fingerprint(train, val)) | {"launch": launch}
    if checkpoint:
        require_same_run(checkpoint, fingerprint)
        require_same_scale(checkpoint, parameters)
        model = cast(SegmentationNet, restore_model(checkpoint))  # no ensemble is trained
    else:
        model = build_model(parameters.model, len(class_names), parameters.data.model_input, class_names)
    class_pixels = class_pixels_of_run(train, class_names, config.loss, checkpoint)
    fingerprint |= {"class_pixels": class_pixels} if class_pixels else {}
    loss = build_loss(config.loss, class_pixels, runtime.device)
    loss = with_auxiliary(loss, parameters.model.auxiliary)
    freeze_stages(model, config.frozen_stages)
    model = convert_sync_layers(runtime.place(model), config.sync_batch_norm)
    ema = MovingAverage(model, config.ema_decay, config.ema_warmup) if config.ema_decay else None
    optimizer, scaler = build_optimizer(model, config.optimizer), runtime.gradient_scaler()
    state = load_state(checkpoint, ema, optimizer, scaler) if checkpoint else RunState()
    broadcast_rng_state(runtime.device)
    steps_per_epoch = math.ceil(len(train) / (config.crops * config.accumulation))
    state.plan = Length(config, state, steps_per_epoch).resumed()
    return TrainingRun(
        parameters, runtime, model, ema, optimizer, state, fingerprint, steps_per_epoch, checkpoint is not None, scaler,
        loss, used_before=state.plan.used_seconds,
    )  # fmt: skip


def announce(run: TrainingRun, train: SampleStore, val: SampleStore, checkpoint: dict[str, Any] | None) -> None:
    """Log where and on what a run trains, and where resuming changes its course."""
    config = run.parameters.training
    if checkpoint:
        warn_schedule_changed(checkpoint, config)
        warn_precision_changed(checkpoint, run.runtime.precision)
        reset_best_if_scale_changed(checkpoint, run.state, run.parameters)
    else:
        warn_untrained_frozen(run.parameters)
    devices = f"{world_size()} x {run.runtime}" if world_size() > 1 else f"{run.runtime}"
    logger.info("Training on %s: %d images, validating on %d", devices, len(train), len(val))
    if world_size() > 1 and not config.sync_batch_norm and config.crops < _CROPS_FOR_STATISTICS * world_size():
        logger.info(
            "Batch norm sees %.3g crops in each process; training.sync_batch_norm=true lets it see all %d of a batch",
            config.crops / world_size(), config.crops,
        )  # fmt: skip
