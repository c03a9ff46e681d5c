"""What a run tells of a GPU's memory, and the advice when it runs out."""

import re
from collections.abc import Callable, Iterator

import pytest
import torch

from voc_seg.engine.device_facts import device_facts, gpu_memory, reset_gpu_peak
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import Runtime
from voc_seg.system.errors import VocSegError

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("narrow_encoder")]

Fit = Callable[..., list[EpochReport]]
LEFT = 150 * 10**6
"""Bytes that are left free. The crops below need several times that."""


@pytest.fixture
def nearly_full(gpu: torch.device, fit_on: Fit) -> Iterator[None]:
    """Little memory is left, after a training whose libraries have taken theirs."""
    fit_on(str(gpu), training={"epochs": 1})
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(gpu)
    if free < 4 * LEFT:
        pytest.skip("other programs hold the memory of the GPU")
    filler = torch.empty(free - LEFT, dtype=torch.uint8, device=gpu)
    yield
    del filler
    torch.cuda.empty_cache()


def test_the_advice_names_used_and_free_memory(gpu: torch.device, nearly_full: None, fit_on: Fit) -> None:
    total = torch.cuda.mem_get_info(gpu)[1]
    blocks = {"augmentation": {"crop_size": 1024, "scale": [10, 11]}, "training": {"epochs": 1, "batch_size": 4}}
    with pytest.raises(VocSegError, match=r"^Out of memory\. Of ") as caught:
        fit_on(str(gpu), **blocks)
    text = str(caught.value)
    numbers = re.search(r"Of ([\d.]+) GB on the GPU ([\d.]+) are free; this process used ([\d.]+)\.", text)
    assert numbers, text
    said, free, used = map(float, numbers.groups())
    assert said == pytest.approx(total / 1e9, abs=0.1)
    assert free <= 0.3
    assert 0 < used <= said
    assert "training.batch_size=2,training.accumulation=2" in text


def test_the_history_has_the_memory_of_each_epoch(gpu: torch.device, fit_on: Fit) -> None:
    history = fit_on(str(gpu), training={"epochs": 2})[-1].history
    for row in history:
        assert 0 < row["gpu_peak_bytes"] <= row["gpu_reserved_bytes"]


def test_the_peak_starts_again(gpu: torch.device) -> None:
    large = torch.empty(10**8, dtype=torch.uint8, device=gpu)
    before = gpu_memory(gpu)
    del large
    reset_gpu_peak(gpu)
    after = gpu_memory(gpu)
    assert before and after
    assert before.peak - after.peak >= 10**8


def test_the_facts_name_card_and_versions(gpu: torch.device) -> None:
    facts = device_facts(Runtime(gpu, torch.float32))
    assert facts["device"] == torch.cuda.get_device_name(gpu)
    assert facts["torch"] == torch.__version__
    assert all(facts[key] not in ("", "None") for key in ("cuda", "cudnn"))
