"""``training.minutes``: measure the speed of a run, plan its length, and correct the plan if the speed changes."""

import itertools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from voc_seg.samples.store import SampleStore
from voc_seg.system.progress import duration

from .distributed import broadcast_from_rank0, world_size
from .failures import explain_failures, validation_memory_advice
from .freezing import train_mode
from .frozen import queue_cached_predictions
from .plan import Plan
from .prediction import Pending, queue_predictions
from .progress import RunProgress
from .run import TrainingRun
from .runtime import cudnn_benchmark

logger = logging.getLogger(__name__)

_UNTIMED = 2
"""First steps of a process, in which loader workers start and kernels are chosen."""
_MEASURED = 0.02
"""Part of the minutes over which the speed is measured before the first plan."""
_ENOUGH_STEPS = 256
"""Steps after which the speed is known in any case."""
_CHECKS = 20
"""Times that a plan is compared with the clock."""
_TOLERANCE = 0.05
"""Part of the minutes by which a run may end early or late before it is planned again."""
_PROBES = 8
"""Validation images whose time is measured before the first plan."""


class Budget:
    """Plans a run with ``training.minutes`` and does nothing in others.

    The learning rate depends on the step and the planned steps, never on the clock, and checkpoints hold the plan.
    Rank 0 measures and decides.
    """

    def __init__(self, run: TrainingRun, val: SampleStore, progress: RunProgress) -> None:
        self._run, self._val, self._progress = run, val, progress
        self._first = self._checked = run.state.step
        self._since = (time.monotonic(), run.state.step)  # of the steps that are being timed

    def before_step(self) -> None:
        """Look at the clock where it is time to; every rank calls this before every step."""
        run, step = self._run, self._run.state.step
        if run.parameters.training.minutes is None:
            return
        if step == self._first + _UNTIMED:
            self._since = (time.monotonic(), step)
        if not self._is_due(step):
            return
        if not run.state.plan.steps and not broadcast_from_rank0(self._has_measured):
            return
        before, (since, first), started = run.state.plan, self._since, time.monotonic()
        probed = before.validation_seconds if before.steps else self._time_validation()
        self._since = (since + time.monotonic() - started, first)  # that was no step
        run.state.plan = Plan(**broadcast_from_rank0(lambda: asdict(self._plan(probed))))
        self._checked, self._since = step, (time.monotonic(), step)
        if run.state.plan.steps != before.steps:
            self._announce(before)

    def validated(self, seconds: float) -> None:
        """Take the time of a validation into account."""
        plan, (since, step) = self._run.state.plan, self._since
        if plan.steps:
            self._run.state.plan = replace(plan, validation_seconds=seconds)
        self._since = (since + seconds, step)

    def _is_due(self, step: int) -> bool:
        taken = step - self._first
        if self._run.state.plan.steps:
            return step - self._checked >= max(2 * _UNTIMED, self._run.state.plan.steps // _CHECKS)
        return taken >= 2 * _UNTIMED and taken & (taken - 1) == 0  # powers of two: the same on every rank

    def _has_measured(self) -> bool:
        since, step = self._since
        seconds = 60 * (self._run.parameters.training.minutes or 0.0)
        return time.monotonic() - since >= _MEASURED * seconds or self._run.state.step - step >= _ENOUGH_STEPS

    def _plan(self, validation_seconds: float) -> Plan:
        """The plan from here on: the present one with newer measurements while it is near enough."""
        run, (since, first) = self._run, self._since
        before, step = run.state.plan, run.state.step
        measured = (time.monotonic() - since) / (step - first)
        plan = Plan(
            before.steps, run.parameters.training.minutes or 0.0,
            (measured + before.step_seconds) / 2 if before.steps else measured,
            validation_seconds, run.used_seconds(),
        )  # fmt: skip
        if before.steps and abs(plan.overrun(step, run.length.validation_period)) <= _TOLERANCE:
            return plan
        return replace(plan, steps=max(step + 1, plan.longest(step, run.length.validation_period)))

    def _time_validation(self) -> float:
        """Measure what a validation takes on a few images, as its first may come late in the run."""
        run, images = self._run, len(self._val)
        limit = _MEASURED * 60 * (run.parameters.training.minutes or 0.0)
        run.scored.eval()
        seconds: list[float] = []
        with cudnn_benchmark(False), explain_failures(validation_memory_advice(run.parameters)):
            started = time.perf_counter()
            for found in self._few_predictions():
                float(found.loss)  # waits for the device
                seconds.append(time.perf_counter() - started)
                if sum(seconds) > limit:
                    break
                started = time.perf_counter()
        train_mode(run.model, run.parameters.training)
        timed = seconds[1:] or seconds  # the first chooses kernels
        return sum(timed) / len(timed) * math.ceil(images / world_size())

    def _few_predictions(self) -> Iterator[Pending]:
        """Predict a few validation images one after the other, as a validation does."""
        run, images = self._run, len(self._val)
        evaluation, image_size = run.parameters.evaluation.of_validation, run.parameters.augmentation.image_size
        if run.features:
            cached = queue_cached_predictions(run.scored, run.features, self._val, evaluation, run.runtime, image_size)
            yield from itertools.islice(cached, _PROBES)
            return
        for number in range(0, images, math.ceil(images / _PROBES)):
            yield from queue_predictions(run.scored, [self._val[number]], evaluation, run.runtime, image_size, 0, 1)

    def _announce(self, before: Plan) -> None:
        run, plan = self._run, self._run.state.plan
        self._progress.planned(run.length.epochs, plan.steps)
        speed = f"{plan.step_seconds:.3g} s a step, {duration(plan.validation_seconds)} a validation"
        if before.steps:
            logger.info(
                "training.minutes=%g: the speed has changed (%s); now %d steps instead of %d, %.1f epochs",
                plan.minutes, speed, plan.steps, before.steps, plan.steps / run.steps_per_epoch,
            )  # fmt: skip
        else:
            logger.info(
                "training.minutes=%g: planned %d steps, %.1f epochs (%s)",
                plan.minutes, plan.steps, plan.steps / run.steps_per_epoch, speed,
            )  # fmt: skip
        validating = plan.seconds_to(plan.steps, run.state.step, run.length.validation_period) - plan.step_seconds * (
            plan.steps - run.state.step
        )
        if not before.steps and validating > 60 * plan.minutes / 2:
            logger.warning(
                "Validations take %s of training.minutes=%g. Raise training.minutes or training.validate_every, or "
                "lower evaluation.scale.", duration(validating), plan.minutes,
            )  # fmt: skip
        if not before.steps and plan.steps < run.steps_per_epoch:
            logger.warning(
                "training.minutes=%g is too short for one epoch: only %d %% of the training images are seen. Raise it.",
                plan.minutes, 100 * plan.steps // run.steps_per_epoch,
            )  # fmt: skip
        if run.length.warmup_is_shortened and not before.steps:
            logger.warning(
                "training.schedule.warmup_epochs=%g takes more than half of the planned steps; it ends after half.",
                run.parameters.training.schedule.warmup_epochs,
            )
