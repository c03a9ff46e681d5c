"""Neither a training step nor a validation image makes the host wait for the GPU."""

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from voc_seg.config import EvaluationConfig, Parameters
from voc_seg.engine import prediction
from voc_seg.engine.failures import require_finite_weights
from voc_seg.engine.freezing import train_mode
from voc_seg.engine.prediction import predict_all
from voc_seg.engine.run import start_run
from voc_seg.engine.runtime import Runtime, cudnn_benchmark
from voc_seg.engine.training import fit, train_step, validate
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("narrow_encoder")]

VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"runtime": {"precision": "bf16"}},
    "fp16": {"runtime": {"precision": "fp16"}},
    "accumulation": {"training": {"batch_size": 1, "accumulation": 2}},
    "clipped": {"training": {"clip_gradient": 1.0}, "runtime": {"precision": "fp16"}},
    "EMA": {"training": {"ema_decay": 0.9}},
}
FIRST_STEPS = 2
"""They copy constants to the GPU, choose kernels, and the moving average begins."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step(
    gpu: torch.device,
    no_waits: Callable,
    train_store: SampleStore,
    val_store: SampleStore,
    make_parameters: Callable[..., Parameters],
    variant: str,
) -> None:
    blocks = VARIANTS[variant]
    blocks = {**blocks, "runtime": {"device": str(gpu), **blocks.get("runtime", {})}}
    parameters = make_parameters(**blocks)
    config = parameters.training
    run = start_run(train_store, val_store, CLASS_NAMES, parameters, None, "")
    batches = training_batches(
        train_store, parameters.augmentation, config.batch_size, 0, range(4), pin_memory=run.runtime.asynchronous
    )
    groups = list(zip(*[batches] * config.accumulation))
    train_mode(run.model, config)
    with cudnn_benchmark(True):
        for number, group in enumerate(groups):
            with no_waits() if number >= FIRST_STEPS else nullcontext():
                loss = train_step(run.model, run.optimizer, list(group), run.runtime, run.scaler, config.clip_gradient)
                run.finish_step(loss, 0.01, list(group), time.perf_counter())
    assert len(groups) > FIRST_STEPS
    assert np.isfinite([float(*step.loss.read()) for step in run.unread]).all()


@pytest.mark.parametrize("in_strips", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_an_image_of_validation(
    gpu: torch.device,
    no_waits: Callable,
    val_store: SampleStore,
    parameters: Parameters,
    monkeypatch: pytest.MonkeyPatch,
    precision: torch.dtype,
    in_strips: bool,
) -> None:
    if in_strips:
        monkeypatch.setattr(prediction, "_WHOLE", 1)
        monkeypatch.setattr(prediction, "_STRIP", 2000)
    runtime = Runtime(gpu, precision)
    model = runtime.place(build_model(parameters.model, len(CLASS_NAMES))).eval()
    config = EvaluationConfig(scale=0.5, flip=True)

    def predict() -> dict[str, np.ndarray]:
        return {found.id: found.mask for found in predict_all(model, val_store, config, runtime)}

    before = predict()
    with no_waits():
        found = predict()
    assert found.keys() == before.keys() == set(val_store.ids)
    for image_id, mask in found.items():
        assert (mask == before[image_id]).mean() > 0.99  # kernels may be chosen afresh


def _waits(what: Callable[[], object]) -> int:
    """Number of times that the host waits for the GPU."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            what()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing CUDA operation" in str(warning.message) for warning in caught)


def test_waits_are_counted(gpu: torch.device) -> None:
    assert _waits(lambda: torch.ones(3, device=gpu).sum().item()) == 1


def test_an_epoch_waits_as_often_with_twice_the_steps(
    gpu: torch.device, train_store: SampleStore, val_store: SampleStore, make_parameters: Callable[..., Parameters]
) -> None:
    def train(batch_size: int) -> Callable[[], object]:
        training = {"epochs": 1, "batch_size": batch_size}
        parameters = make_parameters(training=training, runtime={"device": str(gpu), "precision": "fp16"})
        return lambda: list(fit(train_store, val_store, CLASS_NAMES, parameters))

    train(1)(), train(2)()  # constants stay on the device
    assert _waits(train(1)) == _waits(train(2))


def test_a_validation_is_read_at_its_end(gpu: torch.device, val_store: SampleStore, parameters: Parameters) -> None:
    runtime = Runtime(gpu, torch.float32)
    model = runtime.place(build_model(parameters.model, len(CLASS_NAMES)))

    def score() -> object:
        return validate(model, val_store, parameters, runtime)

    score()
    assert _waits(score) <= 2  # confusion matrix and loss


def test_all_weights_are_checked_in_one_wait(gpu: torch.device, parameters: Parameters) -> None:
    model = build_model(parameters.model, len(CLASS_NAMES)).to(gpu)
    assert _waits(lambda: require_finite_weights(model, 0, "")) == 1
