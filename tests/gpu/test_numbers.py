"""Losses, scores and checkpoints of a GPU against the CPU's, and exact resuming."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from voc_seg.config import EvaluationConfig, OptimizerConfig, Parameters, RuntimeConfig
from voc_seg.engine.evaluation import evaluate
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import Runtime, choose_runtime
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model, restore_model
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("narrow_encoder")]

CPU = torch.device("cpu")
Fit = Callable[..., list[EpochReport]]


STEPS = 6


def losses(store: SampleStore, parameters: Parameters, runtime: Runtime) -> list[float]:
    """Losses of a few steps, without dropout: a GPU draws it from its own generator."""
    torch.manual_seed(0)
    config = parameters.model.model_copy(update={"dropout": 0.0})
    model = runtime.place(build_model(config, len(CLASS_NAMES))).train()
    # Slowly: batch norm over two crops turns a difference in the last digit into one in the second within some steps.
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1e-4))
    scaler = torch.amp.GradScaler(runtime.device.type, init_scale=256.0, enabled=runtime.dtype is torch.float16)
    batches = training_batches(store, parameters.augmentation, 2, 0, range(STEPS // 2), pin_memory=runtime.asynchronous)
    found = [float(train_step(model, optimizer, [batch], runtime, scaler)) for batch in batches]
    assert len(found) == STEPS
    return found


@pytest.mark.parametrize(
    ("precision", "tf32", "first", "others"),
    [
        (torch.float32, False, 1e-4, 1e-2),
        (torch.float32, True, 5e-3, 2e-2),
        (torch.bfloat16, True, 3e-2, 5e-2),
        (torch.float16, True, 1e-2, 2e-2),
    ],
)
def test_losses_are_near_the_cpus(
    gpu: torch.device,
    train_store: SampleStore,
    parameters: Parameters,
    monkeypatch: pytest.MonkeyPatch,
    precision: torch.dtype,
    tf32: bool,
    first: float,
    others: float,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    expected = losses(train_store, parameters, Runtime(CPU, torch.float32))
    found = losses(train_store, parameters, Runtime(gpu, precision))
    assert found[0] == pytest.approx(expected[0], rel=first)
    assert found == pytest.approx(expected, rel=others)


def test_both_layouts_give_the_same_losses(
    gpu: torch.device, train_store: SampleStore, parameters: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        monkeypatch.setattr(Runtime, "memory_format", layout)
        found.append(losses(train_store, parameters, Runtime(gpu, torch.float32)))
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_an_evaluation_is_near_the_cpus(gpu: torch.device, val_store: SampleStore, fit_on: Fit) -> None:
    best = fit_on(str(gpu), training={"epochs": 1})[-1].best_model
    expected, found = (
        evaluate(restore_model(best), val_store, EvaluationConfig(scale=0.5), Runtime(device, torch.float32))
        for device in (CPU, gpu)
    )
    assert found.score.loss == pytest.approx(expected.score.loss, rel=1e-2)
    assert found.score.confusion.sum() == expected.score.confusion.sum()
    for image_id, mask in expected.masks.items():
        assert (found.masks[image_id] == mask).mean() > 0.95


def test_auto_is_a_precision_that_trains(gpu: torch.device, fit_on: Fit) -> None:
    runtime = {"precision": "auto"}
    history = fit_on(str(gpu), training={"epochs": 1}, runtime=runtime)[-1].history
    expected = fit_on("cpu", training={"epochs": 1})[-1].history
    assert history[0]["train_loss"] == pytest.approx(expected[0]["train_loss"], rel=0.2)


@pytest.mark.parametrize(
    "training", [{"batch_size": 3}, {"batch_size": 1, "accumulation": 2, "ema_decay": 0.9}, {"clip_gradient": 1.0}]
)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_compiled_run_is_that_of_the_plain_network(
    gpu: torch.device, fit_on: Fit, precision: str, training: dict[str, Any]
) -> None:
    """Losses are read one step late and gradients are accumulated although CUDA graphs reuse their memory."""
    runtime, slowly = {"precision": precision}, {"epochs": 3, "optimizer": {"learning_rate": 1e-4}, **training}
    plain = fit_on(str(gpu), training=slowly, runtime=runtime)
    compiled = fit_on(str(gpu), training={**slowly, "compile": True}, runtime=runtime)
    for row, expected in zip(compiled[-1].history, plain[-1].history, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=5e-2)
        assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=5e-2)
    assert list(compiled[-1].checkpoint["model"]) == list(plain[-1].checkpoint["model"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_deterministic_run_resumes_to_the_bit(gpu: torch.device, fit_on: Fit, precision: str) -> None:
    """Weights, momentum, generators and the gradient scale; dropout draws from the GPU's generator."""
    training = {"epochs": 2, "deterministic": True, "checkpoint": {"every_minutes": 1e-9}}
    blocks = {"model": {"dropout": 0.5}, "training": training, "runtime": {"precision": precision}}
    whole = fit_on(str(gpu), **blocks)
    middle = next(report.checkpoint for report in whole if report.checkpoint.get("position"))
    torch.manual_seed(4711)
    resumed, expected = fit_on(str(gpu), middle, **blocks)[-1].checkpoint, whole[-1].checkpoint
    assert resumed["scaler"] == expected["scaler"]
    assert bool(expected["scaler"]) == (precision == "fp16")
    for name, value in expected["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    for number, state in expected["optimizer"]["state"].items():
        assert torch.equal(resumed["optimizer"]["state"][number]["momentum_buffer"], state["momentum_buffer"])
    for kind in ("torch", "cuda"):
        for one, other in zip(_tensors(resumed["rng"][kind]), _tensors(expected["rng"][kind]), strict=True):
            assert torch.equal(one, other), kind


def _tensors(states: Any) -> list[torch.Tensor]:
    return [states] if isinstance(states, torch.Tensor) else states


@pytest.mark.parametrize("devices", [("cuda:0", "cpu"), ("cpu", "cuda:0")], ids="->".join)
def test_a_checkpoint_resumes_on_the_other_device(fit_on: Fit, devices: tuple[str, str]) -> None:
    first, second = devices
    optimizer = {"learning_rate": 1e-4}
    blocks = {"model": {"dropout": 0.0}, "training": {"epochs": 2, "ema_decay": 0.9, "optimizer": optimizer}}
    whole = fit_on(first, **blocks)
    checkpoint = next(report.checkpoint for report in whole if report.checkpoint.get("epoch") == 1)
    resumed = fit_on(second, checkpoint, **blocks)
    assert [row["epoch"] for row in resumed[-1].history] == [1, 2]
    expected = whole[-1].history[-1]
    for number in ("train_loss", "val_loss"):
        assert resumed[-1].history[-1][number] == pytest.approx(expected[number], rel=2e-2)


_ON_THE_SECOND = """
import sys
import torch
from voc_seg.config import Parameters
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

train, val, settings = sys.argv[1:]
list(fit(SampleStore(train), SampleStore(val), CLASS_NAMES, Parameters.model_validate_json(settings)))
sys.exit(int(torch._C._cuda_hasPrimaryContext(0)))
"""


def test_a_run_on_the_second_gpu_leaves_the_first_alone(
    train_store: SampleStore, val_store: SampleStore, make_parameters: Callable[..., Parameters]
) -> None:
    """Not even a context, a few hundred megabytes, is opened there; torch pins memory in a thread."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    settings = make_parameters(training={"epochs": 1}, runtime={"device": "cuda:1", "workers": 1}).model_dump_json()
    arguments = str(train_store.path), str(val_store.path), settings
    done = subprocess.run([sys.executable, "-c", _ON_THE_SECOND, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_runtime_is_that_of_the_card(gpu: torch.device) -> None:
    runtime = choose_runtime(RuntimeConfig())
    assert runtime.device.type == "cuda"
    capability = torch.cuda.get_device_capability(runtime.device)
    expected = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    assert runtime.precision == expected or torch.version.hip
    assert runtime.device_name == torch.cuda.get_device_name(gpu)
