"""Device, precision and memory layout on GPUs that people have, with the wheels that they install."""

import logging
from collections.abc import Callable

import pytest
import torch

from voc_seg.config import RuntimeConfig
from voc_seg.engine import runtime
from voc_seg.engine.runtime import Runtime, choose_runtime
from voc_seg.system.errors import VocSegError

CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # of PyPI's torch 2.14
CUDA_126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CARDS = {"P100": (6, 0), "V100": (7, 0), "T4": (7, 5), "RTX 3060": (8, 6), "RTX 4090": (8, 9), "H100": (9, 0)}
"""Compute capability by name."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine one with a card, ``mps`` or ``none``, and wheels of a version of CUDA."""

    def make(card: str, built: list[str] = CUDA_13) -> None:
        for name, value in {
            "is_available": card in CARDS,
            "device_count": int(card in CARDS),
            "current_device": 0,
            "set_device": None,
            "get_device_name": f"NVIDIA {card}",
            "get_device_capability": CARDS.get(card),
            "get_arch_list": built,
        }.items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: card == "mps")
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
        runtime._warn_once.cache_clear()

    return make


def described(found: Runtime) -> str:
    layout = {torch.contiguous_format: " contiguous", torch.channels_last: ""}[found.memory_format]
    return f"{found.device.type} {found.precision}{layout}"


@pytest.mark.parametrize(
    ("card", "built", "expected"),
    [
        ("P100", CUDA_13, "cpu fp32"),
        ("P100", CUDA_126, "cuda fp32 contiguous"),  # without tensor cores
        ("V100", CUDA_13, "cpu fp32"),
        ("V100", CUDA_126, "cuda fp16"),
        ("T4", CUDA_13, "cuda fp16"),
        ("T4", CUDA_126, "cuda fp16"),
        ("RTX 3060", CUDA_13, "cuda bf16"),
        ("RTX 4090", CUDA_13, "cuda bf16"),
        ("RTX 4090", CUDA_126, "cuda bf16"),
        ("H100", CUDA_13, "cuda bf16"),
        ("mps", [], "mps fp32"),
        ("none", [], "cpu fp32"),
    ],
)
def test_auto(
    machine: Callable[..., None], card: str, built: list[str], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine(card, built)
    assert described(choose_runtime(RuntimeConfig())) == expected
    assert bool(caplog.records) is (card in CARDS and expected == "cpu fp32")  # a GPU without kernels is named


@pytest.mark.parametrize("card", [*CARDS, "mps", "none"])
def test_fp32_is_taken_everywhere(machine: Callable[..., None], card: str, caplog: pytest.LogCaptureFixture) -> None:
    machine(card, CUDA_126)
    expected = {"P100": "cuda fp32 contiguous", "V100": "cuda fp32 contiguous", "T4": "cuda fp32 contiguous"}
    expected |= {"mps": "mps fp32", "none": "cpu fp32"}
    assert described(choose_runtime(RuntimeConfig(precision="fp32"))) == expected.get(card, "cuda fp32")
    assert not caplog.records


@pytest.mark.parametrize(
    ("card", "warns"),
    [
        ("P100", True),
        ("V100", True),
        ("T4", True),
        ("RTX 3060", False),
        ("RTX 4090", False),
        ("H100", False),
    ],
)
def test_bf16_warns_where_it_is_emulated(
    machine: Callable[..., None], card: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    machine(card, CUDA_126)
    assert described(choose_runtime(RuntimeConfig(precision="bf16"))) == "cuda bf16"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert bool(warnings) is warns
    assert all(f"{card} has no bfloat16 arithmetic" in message for message in warnings)


@pytest.mark.parametrize("card", ["V100", "T4", "RTX 3060", "RTX 4090", "H100"])
def test_fp16_is_taken_if_asked_for(machine: Callable[..., None], card: str) -> None:
    machine(card, CUDA_126)
    found = choose_runtime(RuntimeConfig(precision="fp16"))
    assert described(found) == "cuda fp16"
    assert found.dtype is torch.float16


@pytest.mark.parametrize(("card", "device"), [("P100", "cuda"), ("V100", "cuda:0"), ("mps", "cuda"), ("none", "mps")])
def test_what_cannot_compute_is_refused_by_name(machine: Callable[..., None], card: str, device: str) -> None:
    machine(card)
    with pytest.raises(VocSegError, match=rf"runtime\.device is {device}\b.*runtime\.device=(auto or )?cpu"):
        choose_runtime(RuntimeConfig(device=device))


def test_the_second_card_is_the_current_one_before_anything_pins_memory(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that pins memory would otherwise open a context on the first."""
    current: list[torch.device] = []
    machine("T4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert choose_runtime(RuntimeConfig(device="cuda:1")).device == torch.device("cuda", 1)
    assert current == [torch.device("cuda", 1)]
