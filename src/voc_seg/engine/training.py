"""The training loop."""

import functools
import itertools
import logging
import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_

from voc_seg.config import Parameters
from voc_seg.config.model_input import RGB_INPUT, ModelInput
from voc_seg.metrics.confusion import all_background, mean_iou
from voc_seg.samples.batches import Batch
from voc_seg.samples.feature_batches import FeatureBatch
from voc_seg.samples.feature_cache import FeatureCache
from voc_seg.samples.store import SampleStore
from voc_seg.system.background import finish_writes
from voc_seg.system.errors import InterruptedRunError
from voc_seg.voc.classes import VOID

from .budget import Budget
from .compiling import compile_network
from .data_parallel import gradient_sync, set_batch_offset, wrap_ddp
from .distributed import all_reduce_sum, barrier, broadcast_buffers, world_size
from .failures import (
    DIVERGENCE_ADVICE,
    explain_failures,
    out_of_memory_advice,
    require_finite,
    require_finite_weights,
    require_gradient_scale,
    validation_memory_advice,
)
from .feeding import load_batches, network_input, next_group
from .freezing import train_mode
from .frozen import cache_features
from .interruption import Interruption
from .losses import loss_sum
from .optimisation import set_learning_rate, warn_unused
from .progress import RunProgress
from .resuming import already_finished
from .run import EpochReport, TrainingRun, announce, start_run
from .runtime import Runtime, cudnn_benchmark, deterministic
from .validation import validate

logger = logging.getLogger(__name__)

UNSCALED = GradScaler("cpu", enabled=False)
"""Passes losses and steps through unchanged."""


def fit(
    train: SampleStore,
    val: SampleStore,
    class_names: tuple[str, ...],
    parameters: Parameters,
    checkpoint: dict[str, Any] | None = None,
    launch: str = "",
    cache: FeatureCache | None = None,
) -> Iterator[EpochReport]:
    """Train a SegmentationNet; yield a report after every epoch and for every checkpoint within one.

    Under torchrun (``engine.distributed``) each rank takes its slice of every batch. All ranks yield the same reports
    except for batch-norm statistics: keep those of rank 0.

    Args:
        train: Training samples.
        val: Samples that decide which epoch is the best.
        class_names: Names by class index.
        parameters: All settings.
        checkpoint: Where to resume; None trains from scratch.
        launch: Stored in checkpoints, so that a restart by torchrun recognises its own.
        cache: Where features are stored with ``training.frozen_stages=all``; None: beside the training samples.

    Raises:
        VocSegError: A split is empty, the checkpoint belongs to another run, a loss or weight is not finite, memory
            runs out, or a loader worker dies.
        InterruptedRunError: After SIGTERM, SIGHUP or Ctrl-C. The report before it holds the checkpoint.
    """
    run = start_run(train, val, class_names, parameters, checkpoint, launch)
    state, parameters = run.state, run.parameters
    config = parameters.training
    if reason := already_finished(state, parameters):
        logger.warning("Nothing left to train: the newest checkpoint %s, or retrain without training.resume", reason)
        yield EpochReport({}, {}, state.history)
        return
    announce(run, train, val, checkpoint)
    warn_unused(config)
    run.features = cache_features(run.model, train, val, parameters, run.runtime, cache)
    run.started_at = time.monotonic()  # training.minutes does not include what is computed once for many runs

    with (
        explain_failures(out_of_memory_advice(parameters)),
        run.runtime.keep_freed_memory(),
        deterministic(config.deterministic),
        cudnn_benchmark(True),
        Interruption() as interruption,
        RunProgress(run.length.epochs, run.steps_per_epoch, state) as progress,
    ):
        batches = load_batches(train, run, interruption)
        model_input = run.model.model_input
        network = wrap_ddp(compile_network(run.trained, config, run.runtime))
        budget = Budget(run, val, progress)
        for epoch in itertools.count(state.epoch):
            train_mode(run.model, config)
            while state.position < len(train) and not interruption and not run.length.is_used_up():
                budget.before_step()
                started = time.perf_counter()
                group = next_group(batches, run, len(train))
                if not group:
                    break  # interrupted while waiting for a loader worker
                rate = run.rate_at(state.step)
                set_learning_rate(run.optimizer, rate)
                loss = train_step(
                    network, run.optimizer, group, run.runtime, run.scaler, config.clip_gradient, model_input, run.loss
                )
                run.finish_step(loss, rate, group, started)
                overdue = read_losses(run, interruption, unread=int(run.runtime.asynchronous))
                progress.step(epoch, run.last_loss, state.position / state.seconds, run.runtime.device)
                if overdue and not interruption:
                    read_losses(run, interruption)
                    require_finite_weights(run.model, state.step, DIVERGENCE_ADVICE)
                    yield run.report()

            read_losses(run, interruption)
            require_finite_weights(run.model, state.step, DIVERGENCE_ADVICE)
            require_gradient_scale(run.scaler, state.step)
            result, started = None, time.perf_counter()
            if (run.length.is_last(epoch) or is_due(epoch, config.validate_every)) and not interruption:
                if not run.has_checkpoint:
                    yield run.report()  # validation images may be far larger than crops and exhaust the memory
                advance = progress.validating(math.ceil(len(val) / world_size()))
                broadcast_buffers(run.scored)
                with explain_failures(validation_memory_advice(parameters)):
                    result = validate(run.scored, val, parameters, run.runtime, interruption, advance, run.features)
                interruption.synchronize()
            if interruption.signum is not None:  # an interrupted validation is repeated after resuming
                yield run.report()
                finish_writes()  # the message says that the checkpoint has been written
                barrier()  # if another rank ended first, torchrun would kill the one that writes
                raise InterruptedRunError(f"Stopped in {run.length.name(epoch)}.", interruption.signum)

            seconds = time.perf_counter() - started
            name = run.length.name(epoch)
            is_last, is_best = run.length.is_last(epoch), run.finish_epoch(result, seconds)
            if result:
                budget.validated(seconds)
            progress.epoch(state, config, mean_iou(all_background(result.confusion)) if result else None)
            finished = bool(already_finished(state, parameters))
            save = finished or is_due(epoch, config.checkpoint.every_epochs)
            yield run.report(checkpoint=save, best=is_best)
            if save:
                interruption.synchronize()  # rank 0 has written the files that evaluation reads
                if interruption.signum is not None:
                    finish_writes()
                    barrier()
                    raise InterruptedRunError(f"Stopped after {name}.", interruption.signum)
            if finished:
                finish_writes()  # an error is one of training, not of what follows
                break
    if not is_last:
        logger.info("Stopped early: %d validations without a better score (%s)", config.early_stopping, config.monitor)


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    group: Sequence[Batch | FeatureBatch],
    runtime: Runtime,
    scaler: GradScaler = UNSCALED,
    clip_gradient: float | None = None,
    model_input: ModelInput = RGB_INPUT,
    loss: Callable[..., Tensor] = loss_sum,
) -> Tensor:
    """Take one optimiser step over a group of batches; return the mean loss over its labelled pixels, ``float32 ()``.

    Each batch's summed loss is divided by the labelled pixels of the whole group on all ranks, so accumulation gives
    the gradient of one large batch however much of each part is void. Each rank returns its part of the loss, on the
    device: reading it would wait for the step. ``loss`` takes what the model returns, logits ``(N, classes, h, w)`` or
    a pair of them (:func:`with_auxiliary`), and targets ``(N, h, w)``.
    """
    # Counted on the host, where the targets are.
    (labelled,) = all_reduce_sum(sum(int((batch.targets != VOID).sum()) for batch in group))
    labelled = max(1, labelled)
    optimizer.zero_grad(set_to_none=True)
    losses = []
    for batch in group:
        inputs = network_input(batch, model_input, runtime)
        target = batch.targets.to(runtime.device, non_blocking=True)
        set_batch_offset(model, batch)
        with gradient_sync(model, last=batch is group[-1]):
            with runtime.autocast():
                outputs = model(inputs)
            value = loss(outputs, target) / labelled
            scaler.scale(value * world_size()).backward()  # DistributedDataParallel divides by them
        losses.append(value.detach())
    if clip_gradient is not None:
        scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), clip_gradient)
    scaler.step(optimizer)
    scaler.update()
    return functools.reduce(operator.add, losses)


def read_losses(run: TrainingRun, interruption: Interruption, unread: int = 0) -> bool:
    """Read the losses of finished steps, sum each over the ranks and add it to the epoch's.

    Args:
        run: Its steps and counters.
        interruption: Shared between the ranks on this occasion.
        unread: Newest steps to leave for later: the device may still compute them.

    Returns:
        Whether a checkpoint is overdue.

    Raises:
        VocSegError: A loss is not finite.
    """
    started, overdue = time.perf_counter(), False
    while len(run.unread) > unread:
        step = run.unread.popleft()
        (value,) = step.loss.read()
        loss, late = interruption.synchronize(float(value), run.checkpoint_overdue())
        require_finite(loss, step.number, step.rate, step.ids, DIVERGENCE_ADVICE)
        run.state.loss += loss
        run.last_loss = loss
        overdue = overdue or late
    run.state.seconds += time.perf_counter() - started
    return overdue


def is_due(epoch: int, every: int) -> bool:
    """Whether something done every ``every`` epochs falls on this zero-based epoch."""
    return (epoch + 1) % every == 0
