"""The progress of a training run: a line that rich redraws on a terminal, log lines elsewhere."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import torch
from rich.progress import BarColumn, Progress, TextColumn

from voc_seg.config import TrainingConfig
from voc_seg.metrics.confusion import is_baseline
from voc_seg.system.progress import LOG_SECONDS, ProgressLog, bars_hidden, duration

from .checkpoint import RunState
from .device_facts import gpu_memory

logger = logging.getLogger(__name__)

_FIRST_STEPS = 3
"""Steps that take much longer than the others: loader workers start, kernels are chosen."""
_MEASURED_STEPS = 5
"""Steps after them before the time left is estimated."""

_MEMORY_SECONDS = 1.0
"""Between two looks at a GPU's memory: torch gathers a hundred statistics for each."""


class RunProgress:
    """Shows steps as they pass and sums up each epoch in one line."""

    def __init__(self, epochs: int | None, steps_per_epoch: int, state: RunState) -> None:
        self.epochs = epochs
        self.steps = state.plan.steps or (epochs * steps_per_epoch if epochs else None)
        self.begun = time.perf_counter()
        self.measured_from = (self.begun, state.step + _FIRST_STEPS)
        self.done = state.step
        self.said = self.begun
        self.used, self.measured_memory = "", 0.0
        self.bar = Progress(
            TextColumn("{task.description} {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=20),
            TextColumn("loss {task.fields[loss]}  best {task.fields[best]}"),
            TextColumn("{task.fields[speed]:.1f} images/s{task.fields[used]}  {task.fields[left]}"),
            transient=True,
            disable=bars_hidden(),
        )
        self.best = _best(state)
        self.task = self.bar.add_task(
            "epoch", total=self.steps, completed=state.step,
            epoch=state.epoch + 1, epochs=epochs or "?", loss="-", best=self.best, speed=0.0, used="", left="",
        )  # fmt: skip

    def __enter__(self) -> "RunProgress":
        with suppress(OSError):  # a closed terminal must not end the training
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # it would hide the error that ended the training
            self.bar.stop()

    def planned(self, epochs: int | None, steps: int) -> None:
        """Show how long the run is, which with ``training.minutes`` is known only after a while."""
        self.epochs, self.steps = epochs, steps
        self.bar.update(self.task, total=steps, epochs=epochs or "?")

    def step(self, epoch: int, loss: float, images_per_second: float, device: torch.device) -> None:
        """Show a finished optimiser step, and the memory of a GPU."""
        now = time.perf_counter()
        if now - self.measured_memory >= _MEMORY_SECONDS:
            self.measured_memory, memory = now, gpu_memory(device)
            self.used = f"  {memory.peak / 1e9:.1f} GB" if memory else ""
        self.done += 1
        if self.done == self.measured_from[1]:
            self.measured_from = (now, self.done)
        left = self._left(now)
        self.bar.update(
            self.task, advance=1, description="epoch", epoch=epoch + 1, loss=f"{loss:.3f}", speed=images_per_second,
            best=self.best, used=self.used, left=left,
        )  # fmt: skip
        if bars_hidden() and now - self.said >= LOG_SECONDS:
            self.said = now
            logger.info(
                "epoch %d/%s  step %d/%s  loss %.3f  %.1f images/s%s%s",
                epoch + 1, self.epochs or "?", self.done, self.steps or "?", loss, images_per_second, self.used,
                left and f"  {left}",
            )  # fmt: skip

    def _left(self, now: float) -> str:
        """The time left, including validations, as text; empty until enough steps have been measured."""
        since, step = self.measured_from
        if self.steps is None or self.done - step < _MEASURED_STEPS:
            return ""
        return f"{duration((now - since) / (self.done - step) * (self.steps - self.done))} left"

    def validating(self, images: int) -> Callable[[], None]:
        """Show that validation has begun.

        Args:
            images: Number of images that this rank validates on.

        Returns:
            A function to call after each image.
        """
        log, done = ProgressLog("validating", images), 0

        def advance() -> None:
            nonlocal done
            done += 1
            self.bar.update(self.task, left=f"{done} of {images} images")
            if bars_hidden():
                log.advance(1)

        self.bar.update(self.task, description="validating", left="")
        return advance

    def epoch(self, state: RunState, config: TrainingConfig, baseline: float | None = None) -> None:
        """Log the epoch in the last row of the history; ``baseline`` is the mIoU of an all-background prediction."""
        row = state.history[-1]
        if row["val_miou"] is None:
            validated = ""
        else:
            remark = _remark(row["val_miou"], baseline)
            monitored = "" if config.monitor == "miou" else f"  {config.monitor} {row['val_monitored']:.3f}"
            best = " best" if row["is_best"] and config.select == "best" else ""
            validated = f"  val mIoU {row['val_miou']:.3f}{remark}{monitored}{best}"
        self.best = _best(state)
        now = self.said = time.perf_counter()
        left, is_done = self._left(now), self.steps is not None and state.step >= self.steps
        # Short enough for one line of 80 columns behind time and level; the history has the rest.
        logger.info(
            "epoch %d/%s  loss %.3f%s%s",
            state.epoch, self.epochs or "?", row["train_loss"], validated,
            f"  done in {duration(now - self.begun)}" if is_done else left and f"  {left}",
        )  # fmt: skip


def _remark(miou: float, baseline: float | None) -> str:
    if baseline is None or not is_baseline(miou, baseline):
        return ""
    return " = baseline" if round(miou, 3) == round(baseline, 3) else " < baseline"


def _best(state: RunState) -> str:
    return f"mIoU {state.best_miou:.3f}" if state.best_epoch else "-"
