"""What a run tells of its device."""

from types import SimpleNamespace

import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine import device_facts as module
from voc_seg.engine import run
from voc_seg.engine.device_facts import device_facts, gpu_memory, memory_left
from voc_seg.engine.failures import explain_failures
from voc_seg.engine.runtime import Runtime
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

CUDA = torch.device("cuda:0")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A card whose memory is nearly full."""
    card = SimpleNamespace(
        mem_get_info=lambda: (3 * 10**8, 15 * 10**9),
        memory_allocated=lambda: 72 * 10**8,
        memory_reserved=lambda device: 8,
        max_memory_allocated=lambda device: 7,
    )
    monkeypatch.setattr(torch, "get_device_module", lambda device: card)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: CUDA)
    return card


def test_a_cpu_has_a_name_and_no_memory_to_tell_of() -> None:
    cpu = Runtime(torch.device("cpu"), torch.bfloat16)
    assert device_facts(cpu) == {"device": "cpu", "precision": "bf16", "torch": torch.__version__}
    assert gpu_memory(cpu.device) is None


def test_a_card_tells_its_peak(card: SimpleNamespace) -> None:
    assert gpu_memory(CUDA) == (7, 8)


def test_the_first_peak_is_of_the_run_alone(
    monkeypatch: pytest.MonkeyPatch, train_store: SampleStore, val_store: SampleStore, parameters: Parameters
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(run, "reset_gpu_peak", asked.append)
    run.start_run(train_store, val_store, CLASS_NAMES, parameters, None, "")
    assert asked == [torch.device("cpu")]


def test_a_checkpoint_names_device_and_versions(
    train_store: SampleStore, val_store: SampleStore, parameters: Parameters
) -> None:
    started = run.start_run(train_store, val_store, CLASS_NAMES, parameters, None, "")
    assert started.report().checkpoint["hardware"] == device_facts(started.runtime)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("out of memory")])
def test_exhausted_memory_says_how_much_is_used_and_free(card: SimpleNamespace, error: Exception) -> None:
    with pytest.raises(VocSegError) as caught, explain_failures("Do this."):
        raise error
    assert str(caught.value) == (
        "Out of memory. Of 15.0 GB on the GPU 0.3 are free; this process used 7.2. Do this."
    )  # fmt: skip


def test_a_card_that_does_not_answer_says_nothing(card: SimpleNamespace) -> None:
    def broken() -> None:
        raise RuntimeError("the context is destroyed")

    card.mem_get_info = broken
    assert memory_left() == ""


def test_a_cuda_card_names_its_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    monkeypatch.setattr(module, "Path", lambda path: SimpleNamespace(read_text=lambda: "580.65\n"))
    facts = device_facts(Runtime(CUDA, torch.float16))
    expected = {"device": "Tesla T4", "precision": "fp16", "cuda": "13.0", "cudnn": "91900", "driver": "580.65"}
    assert facts == expected | {"torch": torch.__version__}
