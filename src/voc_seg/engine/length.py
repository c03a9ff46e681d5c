"""How long a run is: ``training.epochs``, or what has been planned for ``training.minutes``."""

import math
from dataclasses import dataclass, replace

from voc_seg.config import ScheduleConfig, TrainingConfig

from .checkpoint import RunState
from .plan import Plan


@dataclass(frozen=True)
class Length:
    """Epochs and steps of a run in its present state."""

    config: TrainingConfig
    state: RunState
    steps_per_epoch: int

    @property
    def epochs(self) -> int | None:
        """Epochs, the last of them perhaps not whole; None while they are not planned."""
        if self.config.minutes is None:
            return self.config.epochs
        begun = sum(int(row.get("step") or 0) for row in self.state.history[-1:])
        left = math.ceil((self.state.plan.steps - begun) / self.steps_per_epoch)
        return self.state.epoch + left if self.state.plan.steps else None

    @property
    def steps(self) -> int | None:
        """Optimiser steps; None while they are not planned."""
        if self.config.minutes is None:
            return self.config.epochs * self.steps_per_epoch
        return self.state.plan.steps or None

    @property
    def validation_period(self) -> int:
        """Steps between two validations."""
        return self.config.validate_every * self.steps_per_epoch

    @property
    def warmup_is_shortened(self) -> bool:
        """Whether the warm-up would take more than half of the planned steps."""
        return 0 < self.state.plan.steps < 2 * self.config.schedule.warmup_epochs * self.steps_per_epoch

    @property
    def schedule(self) -> ScheduleConfig:
        """``training.schedule`` with a warm-up of at most half of the planned steps."""
        if not self.warmup_is_shortened:
            return self.config.schedule
        half = self.state.plan.steps / self.steps_per_epoch / 2
        return self.config.schedule.model_copy(update={"warmup_epochs": half})

    def name(self, epoch: int) -> str:
        """``epoch 3 of 20``, for messages, of a zero-based epoch."""
        return f"epoch {epoch + 1}" + (f" of {self.epochs}" if self.epochs else "")

    def is_used_up(self) -> bool:
        """Whether a run of ``training.minutes`` has taken its planned steps; it may end within an epoch."""
        return 0 < self.state.plan.steps <= self.state.step

    def is_last(self, epoch: int) -> bool:
        """Whether the run ends with this zero-based epoch, whose steps have been taken."""
        return epoch + 1 == self.config.epochs if self.config.minutes is None else self.is_used_up()

    def resumed(self) -> Plan:
        """The plan to resume with: that of the checkpoint, or a new one if ``training.minutes`` has changed."""
        plan, minutes = self.state.plan, self.config.minutes
        if minutes is None:
            return Plan()
        if not plan.steps or plan.minutes == minutes:
            return plan
        changed = replace(plan, minutes=minutes)
        return replace(changed, steps=changed.longest(self.state.step, self.validation_period))
