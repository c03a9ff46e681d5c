"""GPUs that the installed torch has no kernels for are refused, and the message names suitable wheels."""

import warnings

import pytest
import torch

from voc_seg.config import RuntimeConfig
from voc_seg.engine import runtime
from voc_seg.engine.cuda_support import has_kernels, missing_kernels
from voc_seg.engine.runtime import choose_runtime
from voc_seg.system.errors import VocSegError

CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # of PyPI's torch 2.14
CUDA_126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CARDS = {"P100": (6, 0), "V100": (7, 0), "T4": (7, 5), "A100": (8, 0), "RTX 4090": (8, 9), "H100": (9, 0)}


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        *[(CARDS[name], CUDA_13, name not in ("P100", "V100")) for name in CARDS],
        *[(CARDS[name], CUDA_126, True) for name in CARDS],
        ((10, 3), CUDA_13, True),  # B300: machine code of 10.0
        ((12, 1), CUDA_13, True),
        ((11, 0), CUDA_13, False),  # another major version, and no PTX
        ((12, 0), CUDA_126, False),
        ((12, 0), [*CUDA_126, "compute_90"], True),  # PTX is compiled for later GPUs
        ((8, 0), ["sm_86"], False),  # code for a later minor version does not run on an earlier one
        ((8, 9), ["compute_90"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 1), ["sm_120a"], False),  # a: only that one
        ((12, 1), ["sm_120f"], True),  # f: its family
        ((6, 1), ["gfx90a", "sm_5"], False),
    ],
)
def test_what_code_runs_where(capability: tuple[int, int], built: list[str], runs: bool) -> None:
    assert has_kernels(capability, built) is runs


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with these GPUs (none by default) and the torch of PyPI."""
    cards: list[str] = []

    def start() -> int:
        # As torch does when it first looks at the GPUs.
        warnings.warn("Found GPU0 Tesla which is of compute capability (CC) 6.0.\nThe following ...", stacklevel=1)
        warnings.warn("\nTesla with CUDA capability sm_60 is not compatible ...\n", stacklevel=1)
        return 0

    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "current_device", start)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Tesla {cards[device]}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: CARDS[cards[torch.device(device).index]])
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CUDA_13)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    runtime._warn_once.cache_clear()
    return cards


INDEX = "torch<2.15' torchvision --index-url https://download.pytorch.org/whl/cu126"


@pytest.mark.parametrize("card", ["P100", "V100"])
def test_auto_takes_the_cpu_with_one_warning(card: str, machine: list[str], caplog: pytest.LogCaptureFixture) -> None:
    machine.append(card)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_runtime(RuntimeConfig()).device == torch.device("cpu")
        choose_runtime(RuntimeConfig())
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    major, minor = CARDS[card]
    for part in ("on the CPU", f"Tesla {card} (cuda:0)", f"capability {major}.{minor}", "sm_75, sm_80", INDEX):
        assert part in record.getMessage()


def test_auto_takes_another_card_that_computes(machine: list[str], caplog: pytest.LogCaptureFixture) -> None:
    machine += ["P100", "T4"]
    assert choose_runtime(RuntimeConfig()).device == torch.device("cuda", 1)
    assert "Computing on cuda:1. Tesla P100 (cuda:0) has compute capability 6.0" in caplog.text


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_card_asked_for_by_name_is_refused(device: str, machine: list[str]) -> None:
    machine += ["V100", "T4"]
    with pytest.raises(VocSegError, match=rf"runtime\.device is {device}\. Tesla V100.*runtime\.device=cpu") as caught:
        choose_runtime(RuntimeConfig(device=device))
    assert INDEX in str(caught.value)
    assert choose_runtime(RuntimeConfig(device="cuda:1")).device == torch.device("cuda", 1)


def test_cards_that_compute_are_taken_in_silence(machine: list[str], caplog: pytest.LogCaptureFixture) -> None:
    machine += ["RTX 4090", "P100"]
    assert choose_runtime(RuntimeConfig()).device == torch.device("cuda", 0)
    assert not caplog.records


@pytest.mark.parametrize("built", [[], ["gfx90a", "gfx1100"]])
def test_other_builds_are_left_alone(built: list[str], machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    machine.append("P100")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    monkeypatch.setattr(torch.version, "hip", "6.4" if built else None)
    assert missing_kernels(0) == ""


@pytest.mark.parametrize(("machines", "device"), [("1", "cpu"), ("2", None)])
def test_several_processes_come_to_the_same_end(
    machine: list[str], monkeypatch: pytest.MonkeyPatch, machines: str, device: str | None
) -> None:
    machine += ["T4", "P100"]
    variables = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in {**variables, "GROUP_WORLD_SIZE": machines}.items():
        monkeypatch.setenv(name, value)
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(VocSegError, match=r"Tesla P100 \(cuda:1\)"):
            choose_runtime(RuntimeConfig(device="cuda"))
        if device:
            assert choose_runtime(RuntimeConfig()).device.type == device
        else:
            with pytest.raises(VocSegError, match="cpu everywhere"):
                choose_runtime(RuntimeConfig())
