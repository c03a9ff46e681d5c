"""Device and precision: ``auto`` resolves to what is available; other values are checked first."""

import os

import pytest
import torch

from voc_seg.config import RuntimeConfig
from voc_seg.engine import runtime as module
from voc_seg.engine.runtime import Runtime, choose_runtime, deterministic, has_fast_bf16, loader_workers
from voc_seg.system.errors import VocSegError


def test_auto_resolves_to_a_device_that_computes() -> None:
    runtime = choose_runtime(RuntimeConfig())
    with runtime.autocast():
        assert torch.ones(2, device=runtime.device).sum().item() == 2
    assert runtime.device.type in {"cpu", "cuda", "mps"}
    assert runtime.dtype in {torch.float32, torch.bfloat16, torch.float16}


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_an_absent_device_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(VocSegError, match=rf"runtime\.device is {device}.*runtime\.device=auto"):
        choose_runtime(RuntimeConfig(device=device))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_an_explicit_precision_is_taken(precision: str, dtype: torch.dtype) -> None:
    assert choose_runtime(RuntimeConfig(device="cpu", precision=precision)).dtype is dtype


@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_precision_is_bf16_where_the_device_has_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(module, "has_fast_bf16", lambda device: fast)
    assert choose_runtime(RuntimeConfig(device="cpu", precision="auto")).dtype is dtype


def test_a_torch_without_the_private_checks_means_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert has_fast_bf16(torch.device("cpu")) is False


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_computes_in_the_chosen_precision(dtype: torch.dtype) -> None:
    layer = torch.nn.Conv2d(3, 2, 1)
    with Runtime(torch.device("cpu"), dtype).autocast():
        assert layer(torch.ones(1, 3, 2, 2)).dtype is dtype
    assert layer.weight.dtype is torch.float32


def test_its_name_says_device_and_precision() -> None:
    assert str(Runtime(torch.device("cpu"), torch.bfloat16)).startswith("cpu")
    assert str(Runtime(torch.device("cpu"), torch.bfloat16)).endswith("bf16")
    assert str(Runtime(torch.device("cpu"), torch.float32)).endswith("fp32")


@pytest.mark.parametrize(
    ("device", "asked", "workers"), [("cpu", "auto", 0), ("cuda", "auto", 3), ("cpu", 2, 2), ("cuda", 0, 0)]
)
def test_loader_workers(monkeypatch: pytest.MonkeyPatch, device: str, asked: str | int, workers: int) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert loader_workers(RuntimeConfig(workers=asked), torch.device(device)) == workers


@pytest.mark.parametrize(
    ("device", "wanted", "kept"), [("cpu", True, True), ("cpu", False, False), ("cuda", True, False)]
)
def test_memory_is_kept_on_the_cpu_if_wanted(
    monkeypatch: pytest.MonkeyPatch, device: str, wanted: bool, kept: bool
) -> None:
    monkeypatch.setattr(module, "keep_freed_memory", lambda wanted: wanted)
    assert Runtime(torch.device(device), torch.float32, wanted).keep_freed_memory() is kept


@pytest.mark.parametrize("wanted", [True, False])
def test_deterministic_algorithms_last_as_long_as_the_context(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with deterministic(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
        assert torch.is_deterministic_algorithms_warn_only_enabled() is wanted  # a warning where torch has none
        assert torch.backends.cudnn.benchmark is not wanted
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if wanted else None)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
