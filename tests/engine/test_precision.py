"""Half precision: gradient scaling, skipped steps, layouts, and which precision a card gets."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from voc_seg.config import OptimizerConfig, Parameters, RuntimeConfig
from voc_seg.engine.failures import require_gradient_scale
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.resuming import warn_precision_changed
from voc_seg.engine.runtime import Runtime, choose_runtime, deterministic
from voc_seg.engine.training import fit, train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import Batch
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("narrow_encoder")

FP16 = Runtime(torch.device("cpu"), torch.float16)
FP32 = Runtime(torch.device("cpu"), torch.float32)
CARDS = {"P100": (6, 0), "V100": (7, 0), "T4": (7, 5), "RTX 3060": (8, 6), "RTX 4090": (8, 9), "H100": (9, 0)}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this a machine with one card and a torch that has kernels for all of them."""

    def choose(name: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: CARDS[name])
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_60", "sm_70", "sm_75", "sm_80", "sm_90"])
        monkeypatch.setattr(torch.version, "hip", None)

    return choose


@pytest.mark.parametrize(
    ("name", "precision", "layout"),
    [
        ("P100", "fp32", torch.contiguous_format),
        ("V100", "fp16", torch.channels_last),
        ("T4", "fp16", torch.channels_last),
        ("RTX 3060", "bf16", torch.channels_last),
        ("RTX 4090", "bf16", torch.channels_last),
        ("H100", "bf16", torch.channels_last),
    ],
)
def test_auto_is_what_the_tensor_cores_compute_in(
    card: Callable, name: str, precision: str, layout: torch.memory_format, caplog: pytest.LogCaptureFixture
) -> None:
    card(name)
    runtime = choose_runtime(RuntimeConfig())
    assert (runtime.precision, runtime.memory_format) == (precision, layout)
    assert not caplog.records


@pytest.mark.parametrize(("name", "layout"), [("T4", torch.contiguous_format), ("H100", torch.channels_last)])
def test_float32_without_tensor_cores_uses_contiguous_memory(
    card: Callable, name: str, layout: torch.memory_format
) -> None:
    card(name)
    assert choose_runtime(RuntimeConfig(precision="fp32")).memory_format is layout


def test_bfloat16_on_a_card_that_emulates_it_warns(card: Callable, caplog: pytest.LogCaptureFixture) -> None:
    card("T4")
    assert choose_runtime(RuntimeConfig(precision="bf16")).precision == "bf16"
    assert "T4 has no bfloat16 arithmetic" in caplog.text and "runtime.precision=auto" in caplog.text


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)
    return Batch(images, torch.randint(0, 21, (2, 64, 64), generator=generator, dtype=torch.uint8), ("a", "b"), 0, 2)


def _network(parameters: Parameters, fused: bool = False) -> tuple[Any, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = build_model(parameters.model, len(CLASS_NAMES)).eval()
    return model, build_optimizer(model, OptimizerConfig(), fused)


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


def test_fused_sgd_has_no_momentum_from_a_step_that_was_skipped(parameters: Parameters) -> None:
    found = []
    for fused in (True, False):
        model, optimizer = _network(parameters, fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-24)
        with deterministic(True):  # torch then fills memory without a value with NaN
            for _ in range(3):
                train_step(model, optimizer, [_batch()], FP16, scaler)
        assert scaler.get_scale() == 2.0**16
        found.append(model.decoder.classify.weight.detach())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_fused_sgd_takes_the_steps_of_the_plain_one(parameters: Parameters) -> None:
    found = []
    for fused in (True, False):
        model, optimizer = _network(parameters, fused)
        for _ in range(3):
            train_step(model, optimizer, [_batch()], FP32)
        found.append(model.decoder.classify.weight.detach())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
