"""The length of a run with ``training.minutes``: how many steps fit into the time that is left."""

import bisect
from dataclasses import dataclass

_RESERVE = 0.02
"""Part of the minutes that is not planned for: speeds vary, and the last files have to be written."""


@dataclass(frozen=True)
class Plan:
    """The plan of a run; all zero while there is none.

    | field              | meaning                                                   |
    |--------------------|-----------------------------------------------------------|
    | steps              | optimiser steps of the whole run                          |
    | minutes            | ``training.minutes`` that they were planned for           |
    | step_seconds       | measured time of a step                                   |
    | validation_seconds | measured time of a validation                             |
    | used_seconds       | time used when the plan or the checkpoint was made        |
    """

    steps: int = 0
    minutes: float = 0.0
    step_seconds: float = 0.0
    validation_seconds: float = 0.0
    used_seconds: float = 0.0

    def seconds_to(self, steps: int, done: int, period: int) -> float:
        """The time from one step of the run to a later one that ends it, with the validations in between.

        Args:
            steps: Of the run.
            done: Steps already taken; the validation after the last of them has been done if one was due.
            period: Steps between two validations; one follows the last step in any case.
        """
        validations = steps // period - done // period + (steps % period > 0) if steps > done else 0
        return (steps - done) * self.step_seconds + validations * self.validation_seconds

    def longest(self, done: int, period: int) -> int:
        """The largest number of steps of the run that fits into its minutes, at least ``done``."""
        left = 60 * self.minutes * (1 - _RESERVE) - self.used_seconds
        if left <= 0:
            return done
        most = done + int(left / max(self.step_seconds, 1e-6))
        fitting = range(done, most + 1)
        return done + bisect.bisect_right(fitting, left, key=lambda steps: self.seconds_to(steps, done, period)) - 1

    def overrun(self, done: int, period: int) -> float:
        """By what part of the minutes the run would end too late; negative if it would end too early."""
        end = self.used_seconds + self.seconds_to(self.steps, done, period)
        return end / (60 * self.minutes) - (1 - _RESERVE)
