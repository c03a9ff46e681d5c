"""``training.batch_size: auto``: as many crops at a time as fit, with the same number in a step."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine import batch_size
from voc_seg.engine.batch_size import settle_batch_size
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

Make = Callable[..., Parameters]
CPU, GPU = (Runtime(torch.device(name), torch.float32) for name in ("cpu", "cuda:0"))


@pytest.fixture
def room_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Gives a GPU room for so many crops; returns the sizes that are tried."""
    tried: list[int] = []

    def limit(crops: int, error: RuntimeError | None = None) -> list[int]:
        def try_steps(parameters: Parameters, classes: int, runtime: Runtime, size: int) -> None:
            tried.append(size)
            if size > crops:
                raise error or torch.OutOfMemoryError

        monkeypatch.setattr(batch_size, "_try_steps", try_steps)
        monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: None)
        return tried

    return limit


def _settled(make: Make, runtime: Runtime, accumulation: int, checkpoint: Any = None) -> tuple[int, int]:
    parameters = make(training={"batch_size": "auto", "accumulation": accumulation})
    training = settle_batch_size(parameters, 21, runtime, checkpoint).training
    return training.crops, training.accumulation


def test_the_steps_it_tries_are_those_of_the_training(make_parameters: Make, narrow_encoder: None) -> None:
    parameters = make_parameters(model={"auxiliary": 0.4}, training={"ema_decay": 0.9})
    batch_size._try_steps(parameters, 3, CPU, 1)


@pytest.mark.parametrize(
    ("accumulation", "room", "found", "tried"),
    [
        (1, 99, (4, 1), [4]),
        (4, 99, (16, 1), [16]),
        (4, 5, (4, 4), [16, 8, 4]),
        (4, 1, (1, 16), [16, 8, 4, 2, 1]),
        (3, 99, (4, 3), [4]),  # 12 is no power of two
    ],
)
def test_a_gpu_gets_the_largest_power_of_two(
    make_parameters: Make, room_for: Callable, accumulation: int, room: int, found: tuple, tried: list[int]
) -> None:
    seen = room_for(room)
    assert _settled(make_parameters, GPU, accumulation) == found
    assert seen == tried


@pytest.mark.parametrize("library", ["CUBLAS", "CUDNN"])
def test_libraries_run_out_of_memory_too(make_parameters: Make, room_for: Callable, library: str) -> None:
    room_for(2, RuntimeError(f"CUDA error: {library}_STATUS_ALLOC_FAILED when calling create(handle)"))
    assert _settled(make_parameters, GPU, 1) == (2, 2)


def test_another_error_is_raised(make_parameters: Make, room_for: Callable) -> None:
    room_for(2, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal"):
        _settled(make_parameters, GPU, 1)


def test_a_cpu_keeps_batches_of_four(make_parameters: Make, room_for: Callable) -> None:
    assert not room_for(1)
    assert _settled(make_parameters, CPU, 4) == (4, 4)


def test_it_is_said(make_parameters: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _settled(make_parameters, CPU, 2)
    assert "batch_size=auto: 4 crops at a time, training.accumulation=2, 8 crops in a step" in caplog.text


def test_no_room_for_a_crop_is_refused(make_parameters: Make, room_for: Callable) -> None:
    room_for(0)
    with pytest.raises(VocSegError, match=r"not even one crop fits.*augmentation\.crop_size"):
        _settled(make_parameters, GPU, 1)


@pytest.mark.parametrize(("processes", "accumulation"), [(5, 2), (8, 2), (9, 4), (16, 4), (17, 8)])
def test_more_processes_than_crops_are_refused(
    make_parameters: Make, room_for: Callable, monkeypatch: pytest.MonkeyPatch, processes: int, accumulation: int
) -> None:
    room_for(99)
    monkeypatch.setattr(batch_size, "world_size", lambda: processes)
    with pytest.raises(VocSegError, match=rf"steps of 12 crops.*{processes} proc.*accumulation to {accumulation},"):
        _settled(make_parameters, GPU, 3)
    assert _settled(make_parameters, GPU, accumulation) == (4 * accumulation, 1)


@pytest.mark.parametrize(("accumulation", "found"), [(4, (8, 2)), (3, (4, 3))])
def test_a_resumed_run_keeps_its_batches(
    make_parameters: Make, room_for: Callable, accumulation: int, found: tuple[int, int]
) -> None:
    seen = room_for(99)
    checkpoint = {"config": {"training": {"batch_size": 8, "accumulation": 2}}}
    assert _settled(make_parameters, GPU, accumulation, checkpoint) == found
    assert not seen


@pytest.mark.parametrize("config", [None, {}, {"training": None}, {"training": {"batch_size": "4"}}])
def test_a_damaged_checkpoint_is_left_to_the_checks_that_follow(
    make_parameters: Make, room_for: Callable, config: Any
) -> None:
    room_for(99)
    assert _settled(make_parameters, GPU, 2, {"config": config, "epoch": 1}) == (4, 2)


@pytest.mark.usefixtures("narrow_encoder")
def test_a_run_equals_one_with_the_numbers(
    train_store: SampleStore, val_store: SampleStore, make_parameters: Make
) -> None:
    last = [
        list(fit(train_store, val_store, CLASS_NAMES, make_parameters(training={"batch_size": size, "epochs": 1})))[-1]
        for size in ("auto", 4)
    ]
    assert last[0].checkpoint["config"] == last[1].checkpoint["config"]
    assert last[0].history[-1]["train_loss"] == last[1].history[-1]["train_loss"]


@pytest.mark.usefixtures("narrow_encoder")
def test_steps_are_tried_with_momentum_moving_average_and_the_loss_of_the_settings(
    make_parameters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    for name in ("build_optimizer", "MovingAverage", "build_loss"):
        build = getattr(batch_size, name)
        monkeypatch.setattr(batch_size, name, lambda *given, build=build: made.append(build(*given)) or made[-1])
    batch_size._try_steps(make_parameters(training={"ema_decay": 0.9, "loss": {"dice": 1}}), 21, CPU, 2)
    optimizer, average, loss = made
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert all("momentum_buffer" in optimizer.state[weight] for weight in weights)
    assert int(average.n_averaged) == 2
    assert loss.config.dice == 1
