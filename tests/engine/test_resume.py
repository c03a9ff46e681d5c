"""A run that was interrupted anywhere and resumed equals the uninterrupted run, to the bit."""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine import run as training_run
from voc_seg.engine import training
from voc_seg.engine.run import EpochReport
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import InterruptedRunError
from voc_seg.voc.classes import CLASS_NAMES

EVERY_STEP = {"checkpoint": {"every_minutes": 1e-9}}
# Four scenes, two epochs. A batch of 3 leaves one of 1; early stopping needs a score that falls.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "uneven": {"training": {"batch_size": 3}},
    "accumulation": {"training": {"batch_size": 1, "accumulation": 3}},
    "ema": {"training": {"ema_decay": 0.9, "validate_every": 2, "epochs": 3}},
    "early_stopping": {"training": {"early_stopping": 1, "epochs": 9, "optimizer": {"learning_rate": 1e-6}}},
    "adamw": {
        "training": {
            "ema_decay": 0.9,
            "ema_warmup": True,
            "optimizer": {"name": "adamw", "learning_rate": 0.001, "layer_decay": 0.7, "weight_decay": 0.05},
        }
    },
    "frozen": {"training": {"frozen_stages": 2, "freeze_batch_norm": True, "schedule": {"warmup_epochs": 1.5}}},
    "auxiliary": {
        "model": {"width": 16, "auxiliary": 0.4},
        "training": {"batch_size": 1, "accumulation": 2, "ema_decay": 0.9},
    },
    "frozen encoder": {"training": {"frozen_stages": "all", "batch_size": 1, "accumulation": 3, "ema_decay": 0.9}},
    "bf16": {"runtime": {"precision": "bf16"}},
    "fp16": {"training": {"clip_gradient": 1.0}, "runtime": {"precision": "fp16"}},
    "one_worker": {"runtime": {"workers": 1}},
    "all": {
        "training": {"batch_size": 1, "accumulation": 2, "ema_decay": 0.9, "early_stopping": 5},
        "augmentation": {"colour_jitter": 0.2},
        "runtime": {"workers": 2, "precision": "bf16"},
    },
}

Make = Callable[..., Parameters]

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def run(train_store: SampleStore, val_store: SampleStore, make_parameters: Make, kept: Callable) -> Callable:
    def play(checkpoint: dict[str, Any] | None = None, **blocks: Any) -> list[EpochReport]:
        blocks["training"] = {"epochs": 2, **blocks.get("training", {})}
        return list(kept(fit(train_store, val_store, CLASS_NAMES, make_parameters(**blocks), checkpoint)))

    return play


def _every_step(blocks: dict[str, Any]) -> dict[str, Any]:
    return {**blocks, "training": {**blocks.get("training", {}), **EVERY_STEP}}


def _best(reports: list[EpochReport]) -> dict[str, Any]:
    return next((report.best_model for report in reversed(reports) if report.best_model), {})


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.slow) if name == "all" else name for name in VARIANTS]
)
def test_resuming_equals_running_straight_through(run: Callable, assert_same_state: Callable, variant: str) -> None:
    blocks = VARIANTS[variant]
    straight = run(
        **{**blocks, "runtime": {**blocks.get("runtime", {}), "workers": 0}}
    )  # the number of workers does not matter
    stopped = run(**_every_step(blocks))
    assert_same_state(stopped[-1].checkpoint, straight[-1].checkpoint)

    assert variant != "early_stopping" or len(straight[-1].history) < 9
    points = [number for number, report in enumerate(stopped[:-1]) if report.checkpoint]
    assert {bool(stopped[number].checkpoint["position"]) for number in points} == {True, False}
    # All of the plain run; of the others one between epochs, one within, and but one where workers must be started.
    chosen = {"plain": points, "one_worker": points[:1], "all": points[:1]}.get(variant, points[1:3])
    for number in chosen:
        torch.manual_seed(4711)
        resumed = run(stopped[number].checkpoint, **blocks)
        assert_same_state(resumed[-1].checkpoint, straight[-1].checkpoint, f"resumed from report {number}")
        assert_same_state(resumed[-1].history, straight[-1].history)
        # The best model is already on disk, or is written again.
        assert_same_state(_best(stopped[: number + 1] + resumed), _best(straight))


def test_nothing_is_read_again_on_resuming(
    run: Callable, monkeypatch: pytest.MonkeyPatch, train_store: SampleStore
) -> None:
    stopped = run(**_every_step({}))
    read: list[int] = []
    original = SampleStore.__getitem__

    def watched(store: SampleStore, index: int) -> Any:
        if store.path == train_store.path:
            read.append(index)
        return original(store, index)

    monkeypatch.setattr(SampleStore, "__getitem__", watched)
    assert stopped[0].checkpoint["position"] == 2
    run(stopped[0].checkpoint)
    assert len(read) == 2 * len(train_store) - 2


def test_more_epochs_on_resume_are_what_that_number_from_the_start_gives(
    run: Callable, assert_same_state: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    constant = {"schedule": {"name": "constant"}}
    first = run(training={"epochs": 1, **constant})
    more = run(first[-1].checkpoint, training=constant)
    assert_same_state(more[-1].checkpoint, run(training=constant)[-1].checkpoint)
    assert "from the start" not in caplog.text


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "the poly schedule is stretched over them from here on, so the rate jumps"),
        ({"schedule": {"name": "constant"}, "validate_every": 2}, "epoch 1, then the last one, was validated"),
    ],
)
def test_where_more_epochs_cannot_equal_that_it_is_said(
    run: Callable, caplog: pytest.LogCaptureFixture, options: dict[str, Any], why: str
) -> None:
    first = run(training={"epochs": 1, **options})
    run(first[-1].checkpoint, training={"epochs": 2, **options})
    assert f"Planned for 1 epoch, now for 2. The result differs from a run planned for 2: {why}." in caplog.text


@pytest.fixture(scope="module")
def undisturbed(run: Callable) -> dict[str, Any]:
    return run()[-1].checkpoint


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
class TestSignals:
    @pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
    def signum(self, request: pytest.FixtureRequest) -> int:
        return request.param

    @pytest.fixture
    def send_at(self, monkeypatch: pytest.MonkeyPatch, signum: int) -> Callable[[str, int], None]:
        """Send this process the signal in the n-th call of a function of the training or run module."""

        def arm(name: str, call: int) -> None:
            module = training if hasattr(training, name) else training_run
            original, calls = getattr(module, name), itertools.count()

            def armed(*args: Any) -> Any:
                if next(calls) == call:
                    os.kill(os.getpid(), signum)
                return original(*args)

            monkeypatch.setattr(module, name, armed)

        return arm

    def _interrupted(self, run_parts: tuple, kept: Callable, signum: int) -> list[EpochReport]:
        reports = []
        with pytest.raises(InterruptedRunError, match="Stopped") as caught:
            for report in kept(fit(*run_parts)):
                reports.append(report)
        assert caught.value.exit_code == 128 + signum
        return reports

    @pytest.mark.parametrize(
        ("name", "call", "step", "position"),
        [
            ("train_step", 0, 1, 2),
            ("train_step", 1, 2, 4),  # the last of the epoch: before its validation
            ("validate", 1, 4, 4),  # in the middle of it
            ("save_state", 0, 2, 4),  # while writing the checkpoint before the first validation
            ("save_state", 1, 2, 0),  # while writing the checkpoint of an epoch, which is then enough
        ],
    )
    def test_the_step_is_finished_and_a_checkpoint_written(
        self,
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Make,
        run: Callable,
        kept: Callable,
        assert_same_state: Callable,
        send_at: Callable[[str, int], None],
        signum: int,
        undisturbed: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        call: int,
        step: int,
        position: int,
    ) -> None:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        send_at(name, call)
        parts = (train_store, val_store, CLASS_NAMES, make_parameters(training={"epochs": 2}))
        reports = self._interrupted(parts, kept, signum)
        monkeypatch.undo()
        checkpoint = reports[-1].checkpoint
        assert (checkpoint["step"], checkpoint["position"]) == (step, position)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        resumed = run(checkpoint)
        assert_same_state(resumed[-1].checkpoint, undisturbed)

    def test_a_signal_in_the_last_validation_does_not_pass_for_a_finished_run(
        self,
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Make,
        kept: Callable,
        send_at: Callable[[str, int], None],
        signum: int,
    ) -> None:
        send_at("validate", 1)
        parts = (train_store, val_store, CLASS_NAMES, make_parameters(training={"epochs": 2}))
        reports = self._interrupted(parts, kept, signum)
        assert (reports[-1].checkpoint["epoch"], len(reports[-1].history)) == (1, 1)
