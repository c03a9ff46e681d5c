"""Half precision: gradient scaling, skipped steps, clipping and resuming."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from voc_seg.config import OptimizerConfig, Parameters
from voc_seg.engine.failures import require_gradient_scale
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.resuming import warn_precision_changed
from voc_seg.engine.runtime import Runtime, deterministic
from voc_seg.engine.training import fit, train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import Batch
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("narrow_encoder")

FP16 = Runtime(torch.device("cpu"), torch.float16)
FP32 = Runtime(torch.device("cpu"), torch.float32)


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)
    return Batch(images, torch.randint(0, 21, (2, 64, 64), generator=generator, dtype=torch.uint8), ("a", "b"), 0, 2)


def _network(parameters: Parameters, fused: bool = False, name: str = "sgd") -> tuple[Any, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = build_model(parameters.model, len(CLASS_NAMES)).eval()
    return model, build_optimizer(model, OptimizerConfig(name=name), fused)


def test_a_step_in_float16_is_that_of_float32_up_to_rounding(parameters: Parameters) -> None:
    found = []
    for runtime in (FP32, FP16):
        model, optimizer = _network(parameters)
        loss = float(train_step(model, optimizer, [_batch()], runtime, runtime.gradient_scaler()))
        found.append((loss, model.decoder.classify.weight.detach()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-2)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-2, atol=1e-4)


def test_a_gradient_that_overflows_skips_the_step_and_halves_the_scale(parameters: Parameters) -> None:
    model, optimizer = _network(parameters)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {name: value.clone() for name, value in model.named_parameters()}
    loss = float(train_step(model, optimizer, [_batch()], FP16, scaler))
    assert loss == pytest.approx(3, abs=2)  # finite: the step is no failure
    assert scaler.get_scale() == 2.0**39
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_gradients_that_overflow_without_scaling_end_the_run() -> None:
    require_gradient_scale(torch.amp.GradScaler("cpu", init_scale=1.0), 7)
    require_gradient_scale(torch.amp.GradScaler("cpu", enabled=False), 7)
    scaler = torch.amp.GradScaler("cpu", init_scale=0.5)
    scaler.scale(torch.ones(()))  # the scale becomes a tensor
    with pytest.raises(VocSegError, match=r"do not fit into float16 .*0\.5 after step 7.*runtime\.precision=fp32"):
        require_gradient_scale(scaler, 7)


@pytest.mark.parametrize("runtime", [FP32, FP16])
@pytest.mark.parametrize("limit", [1e-3, 1e6])
def test_the_gradient_is_limited_after_its_scale_is_undone(
    parameters: Parameters, runtime: Runtime, limit: float
) -> None:
    model, optimizer = _network(parameters)
    train_step(model, optimizer, [_batch()], runtime, runtime.gradient_scaler(), limit)
    norm = float(torch.nn.utils.get_total_norm([value.grad for value in model.parameters() if value.grad is not None]))
    assert norm == pytest.approx(limit, rel=1e-2) if limit < 1 else 1e-3 < norm < limit


def test_the_scale_is_in_the_checkpoint(
    train_store: SampleStore, val_store: SampleStore, make_parameters: Callable[..., Parameters]
) -> None:
    parameters = make_parameters(training={"epochs": 1}, runtime={"precision": "fp16"})
    *_, last = fit(train_store, val_store, CLASS_NAMES, parameters)
    assert 1 < last.checkpoint["scaler"]["scale"] <= 65536  # where it begins, halved for each skipped step
    assert last.checkpoint["precision"] == "fp16"


def test_resuming_in_another_precision_warns(caplog: pytest.LogCaptureFixture) -> None:
    warn_precision_changed({"precision": "bf16"}, "bf16")
    warn_precision_changed({}, "bf16")  # of earlier versions
    assert not caplog.records
    warn_precision_changed({"precision": "fp16"}, "fp32")
    assert "Trained in fp16 so far, from here on in fp32" in caplog.text


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_optimizer_has_no_momentum_from_a_step_that_was_skipped(parameters: Parameters, name: str) -> None:
    found = []
    for fused in (True, False):
        model, optimizer = _network(parameters, fused, name)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-24)
        with deterministic(True):  # torch then fills memory without a value with NaN
            for _ in range(3):
                train_step(model, optimizer, [_batch()], FP16, scaler)
        assert scaler.get_scale() == 2.0**16
        found.append(model.decoder.classify.weight.detach())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cuda", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_optimizers_are_fused_on_cuda_alone(
    parameters: Parameters, monkeypatch: pytest.MonkeyPatch, cuda: bool, name: str
) -> None:
    model = build_model(parameters.model, len(CLASS_NAMES))
    monkeypatch.setattr(torch.nn.Parameter, "is_cuda", cuda, raising=False)
    optimizer = build_optimizer(model, OptimizerConfig(name=name))
    assert all(bool(group["fused"]) is cuda for group in optimizer.param_groups)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_optimizer_takes_the_steps_of_the_plain_one(parameters: Parameters, name: str) -> None:
    found = []
    for fused in (True, False):
        model, optimizer = _network(parameters, fused, name)
        for _ in range(3):
            train_step(model, optimizer, [_batch()], FP32)
        found.append(model.decoder.classify.weight.detach())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
