"""``training.minutes``: what fits into a time by hand, and runs on a simulated clock."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from voc_seg.config import Parameters
from voc_seg.engine import budget, training
from voc_seg.engine.plan import Plan
from voc_seg.engine.run import EpochReport
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

PLAN = Plan(minutes=1, step_seconds=1, validation_seconds=10)


class TestPlan:
    @pytest.mark.parametrize(
        ("done", "steps", "seconds"),
        [(0, 4, 4 + 10), (0, 5, 5 + 10), (0, 6, 6 + 20), (0, 11, 11 + 30), (3, 6, 3 + 20), (5, 6, 1 + 10), (6, 6, 0)],
    )
    def test_seconds_by_hand(self, done: int, steps: int, seconds: float) -> None:
        """A validation every five steps and one at the end, which may be the same."""
        assert PLAN.seconds_to(steps, done, 5) == seconds

    def test_the_longest_by_hand(self) -> None:
        """98 % of a minute: 18 steps with four validations take 58 s, 19 take 59 s."""
        assert PLAN.longest(0, 5) == 18
        assert replace(PLAN, used_seconds=1).longest(0, 5) == 17
        assert replace(PLAN, used_seconds=40).longest(12, 5) == 15, "three steps and one validation in 18.8 s, not two"
        assert replace(PLAN, used_seconds=59).longest(12, 5) == 12
        assert replace(PLAN, used_seconds=55).longest(12, 5) == 12, "not even a validation fits"

    def test_overrun_by_hand(self) -> None:
        plan = replace(PLAN, steps=18, used_seconds=30)
        assert plan.overrun(9, 5) == pytest.approx((30 + 9 + 30) / 60 - 0.98)


class Clock:
    """A clock that advances by what steps and images take."""

    def __init__(self, step: Callable[[int], float]) -> None:
        self.now, self.step, self.steps = 1000.0, step, 0

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stepped(*given: Any, take: Callable = training.train_step) -> Any:
            self.now, self.steps = self.now + self.step(self.steps), self.steps + 1
            return take(*given)

        def validated(*given: Any, take: Callable = training.validate) -> Any:
            self.now += 4.0
            return take(*given)

        def predicted(*given: Any, take: Callable = budget.queue_predictions) -> Any:
            self.now += 2.0
            return take(*given)

        monkeypatch.setattr(training, "train_step", stepped)
        monkeypatch.setattr(training, "validate", validated)
        monkeypatch.setattr(budget, "queue_predictions", predicted)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.mark.usefixtures("narrow_encoder")
class TestRuns:
    """Half a minute, two steps an epoch, a validation of 4 s every third epoch."""

    @pytest.fixture
    def train(
        self, train_store: SampleStore, val_store: SampleStore, make_parameters: Callable[..., Parameters]
    ) -> Any:
        def train(start: dict[str, Any] | None = None, /, **settings: Any) -> Any:
            settings = {"minutes": 0.5, "validate_every": 3, "epochs": 1, "checkpoint": {"every_epochs": 99}} | settings
            return fit(train_store, val_store, CLASS_NAMES, make_parameters(training=settings), start)

        return train

    def test_the_run_ends_in_time(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Of 29.4 s, four steps and one trial image take 6; the rest is for 11 steps and three validations."""
        clock = Clock(lambda step: 1.0)
        clock.patch(monkeypatch)
        with caplog.at_level(logging.INFO):
            last = list(train())[-1]
        assert clock.now - 1000 == 4 + 2 + 11 + 3 * 4
        assert last.checkpoint["plan"]["steps"] == last.history[-1]["step"] == 15
        assert "planned 15 steps, 7.5 epochs (1 s a step, 4 s a validation)" in caplog.text
        assert [row["epoch"] for row in last.history] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert [row["epoch"] for row in last.history if row["val_miou"] is not None] == [3, 6, 8]
        assert last.history[-1]["learning_rate"] == pytest.approx(0.01 * (1 - 14 / 15) ** 0.9)
        assert 0.2 < last.history[-1]["train_loss"] / last.history[-2]["train_loss"] < 5, "a mean over one step"

    def test_computing_the_features_of_a_frozen_encoder_comes_on_top(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(lambda step: 1.0)
        clock.patch(monkeypatch)

        def compute(*given: Any) -> None:
            clock.now += 100

        monkeypatch.setattr(training, "cache_features", compute)
        assert list(train())[-1].checkpoint["plan"]["steps"] == 15

    def test_a_machine_that_slows_down_is_planned_for_again(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        clock = Clock(lambda step: 0.5 if step < 8 else 1.0)
        clock.patch(monkeypatch)
        with caplog.at_level(logging.INFO):
            last = list(train())[-1]
        assert "the speed has changed" in caplog.text
        assert 25 <= clock.now - 1000 <= 31
        assert last.checkpoint["plan"]["steps"] == last.checkpoint["step"]

    def test_resuming_keeps_the_plan(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch, kept: Callable, assert_same_state: Callable
    ) -> None:
        Clock(lambda step: 1.0).patch(monkeypatch)
        every_step = {"checkpoint": {"every_minutes": 1e-9, "every_epochs": 1}}
        reports: list[EpochReport] = list(kept(train(**every_step)))
        planned = [one.checkpoint for one in reports if one.checkpoint and one.checkpoint["plan"]["steps"]]
        assert len(planned) > 9
        expected = planned[-1]
        for start in planned[1:-1:3]:
            monkeypatch.undo()
            Clock(lambda step: 1.0).patch(monkeypatch)
            found = list(kept(train(start, resume=True, **every_step)))[-1].checkpoint
            for key in ("model", "optimizer", "history", "step", "epoch", "best_miou", "plan"):
                assert_same_state({key: found[key]}, {key: expected[key]})

    def test_more_minutes_continue_a_run_that_is_over(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch, kept: Callable, caplog: pytest.LogCaptureFixture
    ) -> None:
        clock = Clock(lambda step: 1.0)
        clock.patch(monkeypatch)
        last = list(kept(train()))[-1].checkpoint
        (nothing,) = train(last, resume=True)
        assert nothing.checkpoint == {}
        assert "has used training.minutes, which is 0.5. Raise it to continue" in caplog.text
        used, before = last["plan"]["used_seconds"], clock.now
        more = list(kept(train(last, resume=True, minutes=1)))[-1].checkpoint
        assert more["step"] > last["step"]
        assert 0.9 * 60 <= used + clock.now - before <= 60
        assert "Planned for 0.5 minutes, now for 1 minutes" in caplog.text

    def test_a_time_too_short_for_anything_still_gives_a_model(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        Clock(lambda step: 1.0).patch(monkeypatch)
        last = list(train(minutes=0.01, schedule={"warmup_epochs": 5}))[-1]
        assert last.best_model
        assert last.checkpoint["step"] == 5, "planned after four"
        assert "Validations take" in caplog.text
        assert "warmup_epochs=5 takes more than half" in caplog.text
        assert "too short for one epoch" not in caplog.text

    def test_a_time_shorter_than_an_epoch_is_said_to_be(
        self, train: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        Clock(lambda step: 1.0).patch(monkeypatch)
        monkeypatch.setattr(budget, "_UNTIMED", 1)
        list(train(minutes=0.01, batch_size=1))
        assert "training.minutes=0.01 is too short for one epoch: only 75 % of the training" in caplog.text
