"""The epoch line and the times in it."""

import logging
from typing import Any

import pytest
import torch

from voc_seg.config import TrainingConfig
from voc_seg.engine import progress as module
from voc_seg.engine.checkpoint import RunState
from voc_seg.engine.device_facts import GpuMemory
from voc_seg.engine.progress import RunProgress
from voc_seg.system.progress import duration

ROW = {
    "train_loss": 0.5,
    "val_miou": 0.25,
    "val_pixel_accuracy": 0.75,
    "images_per_second": 9.0,
    "is_best": True,
    "val_monitored": 0.25,
}

CPU = torch.device("cpu")


class Clock:
    """Replaces ``time`` in the module; ``now`` is the time it returns."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_the_time_left_is_not_said_before_enough_steps_and_leaves_the_first_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with caplog.at_level(logging.INFO), RunProgress(10, 10, RunState()) as progress:
        for step in range(1, 11):
            clock.now += 30 if step <= 3 else 1
            progress.step(0, 0.5, 9.0, CPU)
            left = progress.bar.tasks[0].fields["left"]
            assert left == ("" if step < 8 else f"{duration(100 - step)} left")
        progress.epoch(RunState(epoch=1, step=10, history=[ROW]), TrainingConfig())
    assert caplog.messages[-1].endswith("  1:30 min left")


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_are_logged_once_a_minute_where_there_is_no_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, terminal: bool
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "bars_hidden", lambda: not terminal)
    with caplog.at_level(logging.INFO), RunProgress(2, 100, RunState()) as progress:
        for _ in range(12):
            clock.now += 10
            progress.step(0, 0.5, 9.0, CPU)
    expected = ["epoch 1/2  step 6/200  loss 0.500  9.0 images/s", "epoch 1/2  step 12/200  loss 0.500  9.0 images/s"]
    assert caplog.messages == ([] if terminal else [expected[0], expected[1] + "  31:20 min left"])


def test_the_memory_of_a_gpu_is_looked_at_once_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, looks = Clock(), []

    def memory(device: torch.device) -> GpuMemory:
        looks.append(clock.now)
        return GpuMemory(31 * 10**8, 0)

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "gpu_memory", memory)
    monkeypatch.setattr(module, "bars_hidden", lambda: True)
    with caplog.at_level(logging.INFO), RunProgress(2, 100, RunState()) as progress:
        for _ in range(120):
            clock.now += 0.5
            progress.step(0, 0.5, 9.0, torch.device("cuda"))
        assert progress.bar.tasks[0].fields["used"] == "  3.1 GB"
    assert looks == [*range(1, 61)]
    assert "loss 0.500  9.0 images/s  3.1 GB" in caplog.text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_validation_is_logged_where_there_is_no_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, terminal: bool
) -> None:
    clock = Clock()
    monkeypatch.setattr("voc_seg.system.progress.time", clock)
    monkeypatch.setattr(module, "bars_hidden", lambda: not terminal)
    with caplog.at_level(logging.INFO), RunProgress(2, 100, RunState()) as progress:
        advance = progress.validating(40)
        for _ in range(20):
            clock.now += 4
            advance()
        assert progress.bar.tasks[0].fields["left"] == "20 of 40 images"
    expected = ["validating: 3 of 40 images", "validating: 18 of 40 images"]
    assert caplog.messages == ([] if terminal else expected)


def _line(caplog: pytest.LogCaptureFixture, settings: dict[str, Any] | None = None, **changes: object) -> str:
    with caplog.at_level(logging.INFO), RunProgress(10, 4, RunState()) as progress:
        for _ in range(8):
            progress.step(0, 0.5, 9.0, CPU)
        progress.epoch(RunState(epoch=1, step=4, history=[{**ROW, **changes}]), TrainingConfig(**settings or {}))
    return caplog.messages[-1]


def test_an_epoch_line_says_loss_score_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    line = _line(caplog)
    assert line.startswith("epoch 1/10  loss 0.500  val mIoU 0.250 best  ")
    assert line.endswith(" left")
    assert len(line) <= 62


@pytest.mark.parametrize(("baseline", "shown"), [(0.2, ""), (0.2502, " = baseline"), (0.3, " < baseline")])
def test_a_score_no_better_than_the_baseline_is_called_so(
    caplog: pytest.LogCaptureFixture, baseline: float, shown: str
) -> None:
    with caplog.at_level(logging.INFO), RunProgress(10, 4, RunState()) as progress:
        progress.epoch(RunState(epoch=1, step=4, history=[ROW]), TrainingConfig(), baseline)
    assert f"val mIoU 0.250{shown} best" in caplog.messages[-1]


def test_only_the_best_epoch_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    assert "best" not in _line(caplog, is_best=False)
    assert "best" not in _line(caplog, {"select": "last"})


def test_another_score_that_is_monitored_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    assert "val mIoU 0.250  class:cat 0.125 best" in _line(caplog, {"monitor": "class:cat"}, val_monitored=0.125)


def test_an_epoch_without_validation_has_no_score(caplog: pytest.LogCaptureFixture) -> None:
    line = _line(caplog, val_miou=None, val_pixel_accuracy=None, is_best=False)
    assert "mIoU" not in line
    assert "None" not in line


def test_a_resumed_run_counts_on(caplog: pytest.LogCaptureFixture) -> None:
    state = RunState(epoch=8, step=32, best_epoch=4, best_miou=0.3, history=[ROW] * 8)
    with caplog.at_level(logging.INFO), RunProgress(10, 4, state) as progress:
        assert progress.bar.tasks[0].completed == 32
        assert progress.bar.tasks[0].fields["best"] == "mIoU 0.300"
        progress.epoch(RunState(epoch=9, step=36, history=[ROW] * 9), TrainingConfig())
    assert caplog.messages[-1].startswith("epoch 9/10")


def test_a_run_without_validation_so_far_shows_no_score() -> None:
    state = RunState(epoch=1, step=4, history=[{**ROW, "val_miou": None}])
    assert RunProgress(10, 4, state).bar.tasks[0].fields["best"] == "-"
