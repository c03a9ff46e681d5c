"""Training, validation, evaluation, inference and the sanity check give the CPU's numbers, to the bit in fp32."""

import gc
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from voc_seg.config import EvaluationConfig, InferenceConfig, Parameters, RuntimeConfig
from voc_seg.datasets.model_file import host_copy
from voc_seg.engine import runtime
from voc_seg.engine.evaluation import evaluate
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.overfit import overfit
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import fit
from voc_seg.models.exchange import model_digest, to_safetensors
from voc_seg.models.registry import restore_model
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("narrow_encoder")

GPU = "simgpu:0"
WITHOUT_DROPOUT = {"dropout": 0.0}  # which a device draws from its own generator
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "EMA": {"ema_decay": 0.9},
    "accumulation": {"batch_size": 1, "accumulation": 2},
    "frozen stages": {"frozen_stages": 2, "freeze_batch_norm": True},
    "frozen encoder": {"frozen_stages": "all", "ema_decay": 0.9},
}
Fit = Callable[..., list[EpochReport]]


def numbers(reports: list[EpochReport]) -> list[dict[str, Any]]:
    """The history without times and memory."""
    return [
        {key: value for key, value in row.items() if "second" not in key and not key.startswith("gpu_")}
        for row in reports[-1].history
    ]


def best(reports: list[EpochReport]) -> dict[str, Any]:
    return next(report.best_model for report in reversed(reports) if report.best_model)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_is_the_cpus(fit_on: Fit, assert_same_state: Callable, variant: str) -> None:
    blocks = {"model": WITHOUT_DROPOUT, "training": {"epochs": 2, **VARIANTS[variant]}}
    host, device = fit_on("cpu", **blocks), fit_on(GPU, **blocks)
    assert numbers(device) == numbers(host)
    for part in ("model", "ema", "optimizer"):
        assert_same_state(device[-1].checkpoint[part], host[-1].checkpoint[part], part)
    assert model_digest(best(device)) == model_digest(best(host))


def test_a_deterministic_training_is_near_the_cpus(fit_on: Fit) -> None:
    """To the bit it cannot be: torch then interpolates by other operators, except on a CPU."""
    blocks = {"model": WITHOUT_DROPOUT, "training": {"epochs": 1, "deterministic": True}}
    host, device = (fit_on(name, **blocks)[-1].history[-1] for name in ("cpu", GPU))
    for number in ("train_loss", "val_loss"):
        assert device[number] == pytest.approx(host[number], rel=1e-5)


def test_a_training_on_the_second_device_leaves_the_first_alone(fit_on: Fit) -> None:
    blocks = {"model": WITHOUT_DROPOUT, "training": {"epochs": 1}}
    torch.simgpu.reset_peak_memory_stats(GPU)
    used = torch.simgpu.max_memory_allocated(GPU)
    second = fit_on("simgpu:1", **blocks)
    assert torch.simgpu.max_memory_allocated(GPU) == used
    assert numbers(second) == numbers(fit_on(GPU, **blocks))


def test_a_run_resumes_on_another_device(fit_on: Fit) -> None:
    blocks = {"model": WITHOUT_DROPOUT, "training": {"epochs": 2}}
    whole = {name: fit_on(name, **blocks) for name in ("cpu", GPU)}
    for first, second in (("cpu", GPU), (GPU, "cpu"), (GPU, "simgpu:1")):
        checkpoint = next(report.checkpoint for report in whole[first] if report.checkpoint.get("position"))
        assert numbers(fit_on(second, checkpoint, **blocks)) == numbers(whole["cpu"]), (first, second)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_with_dropout_a_run_resumes_exactly(fit_on: Fit, assert_same_state: Callable, precision: str) -> None:
    """Dropout draws from the device's generator; fp16 scales gradients by what its earlier steps were like."""
    training = {"epochs": 2, "checkpoint": {"every_minutes": 1e-9}}
    blocks = {"model": {"dropout": 0.5}, "training": training, "runtime": {"precision": precision}}
    whole = fit_on(GPU, **blocks)
    points = [report.checkpoint for report in whole[:-1] if report.checkpoint][1:3]
    assert {bool(point["position"]) for point in points} == {True, False}
    for point in points:
        torch.manual_seed(4711)
        resumed = fit_on(GPU, point, **blocks)
        assert numbers(resumed) == numbers(whole)
        for part in ("model", "optimizer", "scaler", "rng"):
            assert_same_state(resumed[-1].checkpoint[part], whole[-1].checkpoint[part], part)


def test_a_checkpoint_is_written_from_a_copy_on_the_host(gpu: ModuleType) -> None:
    """Steps that follow change the weights while it is written."""
    weights = torch.arange(6.0).to(GPU)
    copied = host_copy({"model": {"weight": weights}, "history": [1], "epoch": 2})
    weights.zero_()
    assert copied["model"]["weight"].device.type == "cpu"
    assert copied["model"]["weight"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (copied["history"], copied["epoch"]) == ([1], 2)


def test_a_training_in_bf16_is_near_that_in_fp32(fit_on: Fit) -> None:
    blocks = {"model": WITHOUT_DROPOUT, "training": {"epochs": 2}}
    losses = [
        [row["train_loss"] for row in fit_on(GPU, **blocks, runtime={"precision": precision})[-1].history]
        for precision in ("fp32", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_out_of_memory_ends_with_advice(gpu: ModuleType, fit_on: Fit) -> None:
    gpu.limit_memory(torch.simgpu.memory_allocated(GPU) + 2**21)
    try:
        with pytest.raises(VocSegError, match=r"memory.*training\.batch_size=1"):
            fit_on(GPU)
    finally:
        gpu.limit_memory(None)


def test_as_many_crops_at_a_time_as_fit(gpu: ModuleType, fit_on: Fit) -> None:
    blocks = {"training": {"epochs": 1, "batch_size": "auto", "accumulation": 2}}
    gc.collect()  # the runs before
    before = torch.simgpu.memory_allocated(GPU)
    last = fit_on(GPU, **blocks)[-1]
    assert last.checkpoint["config"]["training"]["batch_size"] == 8
    gc.collect()
    # The run has only four images, and that is its peak.
    gpu.limit_memory(before + (last.history[0]["gpu_peak_bytes"] - before) * 4 // 3)
    try:
        training = fit_on(GPU, **blocks)[-1].checkpoint["config"]["training"]
    finally:
        gpu.limit_memory(None)
    assert (training["batch_size"], training["accumulation"]) == (4, 2)


def test_peak_memory_is_that_of_the_run_alone(fit_on: Fit) -> None:
    """Neither of batch sizes that were tried nor of what this process did before."""
    size = 2**29
    before = torch.empty(size, dtype=torch.uint8, device=GPU)
    del before
    assert fit_on(GPU, training={"epochs": 1})[-1].history[0]["gpu_peak_bytes"] < size


@pytest.fixture(scope="module")
def saved(gpu: ModuleType, make_parameters: Callable, train_store: SampleStore, val_store: SampleStore) -> dict:
    """A best model, trained on the device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "_choose_device", lambda name: torch.device(GPU))
        return best(list(fit(train_store, val_store, CLASS_NAMES, make_parameters(training={"epochs": 1}))))


def test_a_best_model_is_for_any_machine(saved: dict) -> None:
    assert {value.device for value in saved["model"].values()} == {torch.device("cpu")}
    assert to_safetensors(saved, {})


@pytest.mark.parametrize("settings", [{"scale": 1.0}, {"scale": 0.5, "flip": True}, {"scales": [0.5, 1.0]}])
def test_an_evaluation_is_the_cpus(
    saved: dict, use: Callable[[str], None], val_store: SampleStore, settings: dict[str, Any]
) -> None:
    found = []
    for device in ("cpu", GPU):
        use(device)
        chosen = choose_runtime(RuntimeConfig(precision="fp32"))
        found.append(evaluate(restore_model(saved), val_store, EvaluationConfig(**settings), chosen))
    host, device = found
    assert np.array_equal(device.score.confusion, host.score.confusion)
    assert device.score.loss == host.score.loss
    assert device.images == host.images
    for name, mask in host.masks.items():
        assert np.array_equal(device.masks[name], mask)


@pytest.mark.parametrize("tile", [1024, 128])
def test_inference_is_the_cpus(saved: dict, use: Callable[[str], None], val_store: SampleStore, tile: int) -> None:
    config, masks = InferenceConfig(tile=tile), []
    for device in ("cpu", GPU):
        use(device)
        segment = load_segmenter(saved, config, choose_runtime(RuntimeConfig(precision="fp32")))
        masks.append(segment(np.tile(val_store[0].image, (2, 2, 1))))
    assert np.array_equal(*masks)


def test_the_sanity_check_is_the_cpus(
    gpu: ModuleType, use: Callable[[str], None], make_parameters: Callable[..., Parameters], train_store: SampleStore
) -> None:
    parameters, found = make_parameters(sanity={"epochs": 2, "longer_side": 64}), []
    for device in ("cpu", GPU):
        use(device)
        found.append(overfit(train_store[0], CLASS_NAMES, parameters))
    host, device = found
    assert device.history == host.history
    assert device.metrics == host.metrics
    assert np.array_equal(device.prediction, host.prediction)
