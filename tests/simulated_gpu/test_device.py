"""The simulated GPU itself: it computes what the CPU does, and counts and refuses what CUDA would."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow


def test_results_are_those_of_the_cpu(gpu: ModuleType) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    images = torch.randn(2, 3, 9, 9)
    layers(images).square().sum().backward()
    expected = [parameter.grad for parameter in layers.parameters()]
    layers.zero_grad()
    layers.to("simgpu")(images.to("simgpu")).square().sum().backward()
    for parameter, gradient in zip(layers.parameters(), expected, strict=True):
        assert parameter.grad.device == torch.device("simgpu", 0)
        assert torch.equal(parameter.grad.cpu(), gradient)


def test_launches_are_counted_and_views_are_none(gpu: ModuleType) -> None:
    values = torch.ones(4, 6, device="simgpu")
    with gpu.counting() as counts:
        _ = values.view(2, 12).transpose(0, 1)[1:].unfold(0, 2, 1)
        values.add_(1)
        torch._foreach_mul_([values, values[1:]], 2.0)
    assert dict(counts.launches) == {"add": 1, "_foreach_mul_": 1}
    assert not counts.waits and not counts.copies


WAITING: dict[str, tuple[Callable[[torch.Tensor], object], int]] = {
    "item": (lambda values: values[0].item(), 1),
    "a condition": (lambda values: bool(values[0] > 0), 1),
    "to the host": (lambda values: values.cpu(), 1),
    "a boolean index": (lambda values: values[values > 1], 1),
    "values by a boolean index": (lambda values: values.__setitem__(values > 0, values[:2]), 1),
    "one value by a boolean index": (lambda values: values.__setitem__(values > 0, 1.0), 0),
    "nonzero": (lambda values: values.nonzero(), 1),
    "bincount": (lambda values: values.long().bincount(), 2),
    "equal": (lambda values: torch.equal(values, values + 1), 1),
    "a constant": (lambda values: torch.tensor([1.0, 2.0], device=values.device), 1),
    "pageable memory": (lambda values: torch.ones(3).to(values.device, non_blocking=True), 1),
    "pinned memory": (lambda values: torch.ones(3).pin_memory().to(values.device, non_blocking=True), 0),
    "pinned memory, blocking": (lambda values: torch.ones(3).pin_memory().to(values.device), 1),
    "an integer index": (lambda values: values[values.long()], 0),
    "full": (lambda values: torch.full((2,), 3.0, device=values.device), 0),
    "device": (lambda values: torch.accelerator.synchronize(values.device), 1),
    "event": (lambda values: torch.accelerator.current_stream(values.device).record_event().synchronize(), 1),
}


@pytest.mark.parametrize("name", WAITING)
def test_waits_of_the_host(gpu: ModuleType, name: str) -> None:
    ask, waits = WAITING[name]
    values = torch.arange(3.0).to("simgpu")
    with gpu.counting() as counts:
        ask(values)
    assert counts.waits.total() == waits, counts


def test_copies_have_bytes_and_types(gpu: ModuleType) -> None:
    values = torch.zeros(2, 5, dtype=torch.int64, device="simgpu")
    with gpu.counting() as counts:
        values.to("cpu", torch.uint8)
        values.to(torch.uint8).cpu()
        values.to("cpu", torch.uint8, non_blocking=True)
        torch.zeros(3, dtype=torch.uint8).to("simgpu", torch.float32)
    assert [(copy.bytes, copy.source, copy.target, copy.host_converts) for copy in counts.copies] == [
        (80, "Long", "Byte", True),  # converted on the host, after the bus
        (10, "Byte", "Byte", False),
        (10, "Long", "Byte", False),  # converted on the device
        (12, "Byte", "Float", True),
    ]
    assert (counts.bytes(to_host=True), counts.bytes(to_host=False), counts.host_conversions) == (100, 12, 2)


def test_values_that_nobody_waited_for_are_rubbish(gpu: ModuleType) -> None:
    loss = torch.tensor([1.5], device="simgpu")
    with gpu.counting() as counts:
        early = loss.to("cpu", non_blocking=True)
        event = torch.Event("simgpu")
        event.record()
        loss.add_(1)  # a later step; the copy has the value of its own time
    assert not counts.waits
    assert early.is_pinned() and early.isnan().all()
    event.synchronize()
    assert early.tolist() == [1.5]


def test_devices_do_not_mix(gpu: ModuleType) -> None:
    first, second, host = torch.ones(2, device="simgpu:0"), torch.ones(2, device="simgpu:1"), torch.ones(2)
    for other in (second, host):
        for operator in (torch.add, torch.dot, torch._foreach_add):
            with pytest.raises(RuntimeError, match="same device"):
                operator(*(([first], [other]) if operator is torch._foreach_add else (first, other)))
    with pytest.raises(RuntimeError, match="same device"):
        nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2, device="simgpu"))
    assert (first * torch.tensor(2.0)).tolist() == [2, 2]  # a number may lie anywhere
    assert second.to("simgpu:0").add(first).device == torch.device("simgpu", 0)


def test_random_numbers_are_the_devices_own(gpu: ModuleType) -> None:
    torch.manual_seed(3)
    host = torch.get_rng_state()
    drawn = torch.rand(4, device="simgpu")
    assert torch.equal(torch.get_rng_state(), host)
    state = torch.get_device_module("simgpu").get_rng_state("simgpu:0")
    other = torch.rand(4, device="simgpu:1")
    assert torch.equal(drawn.cpu(), other.cpu())  # seeded alike, drawn from apart
    again = torch.rand(4, device="simgpu")
    torch.simgpu.set_rng_state(state, "simgpu:0")
    assert torch.equal(torch.rand(4, device="simgpu").cpu(), again.cpu())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_has_the_lists_of_cuda(gpu: ModuleType, dtype: torch.dtype) -> None:
    layer, values = nn.Linear(3, 3).to("simgpu"), torch.ones(2, 3, device="simgpu")
    with torch.autocast("simgpu", dtype=dtype):
        low = layer(values)
        assert low.dtype is dtype
        assert low.softmax(1).dtype is torch.float32
        assert torch.cat([low, values]).dtype is torch.float32
    assert layer(values).dtype is torch.float32


def test_a_gradient_scaler_works_on_it(gpu: ModuleType) -> None:
    weight = nn.Parameter(torch.ones(2, device="simgpu"))
    optimizer, scaler = torch.optim.SGD([weight], lr=1.0), torch.amp.GradScaler("simgpu", init_scale=4.0)
    for factor, expected in ((0.5, 0.5), (float("inf"), 0.5)):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer), scaler.update()
        assert weight.tolist() == [expected] * 2
    assert scaler.get_scale() == 2.0


def test_memory_is_measured_and_runs_out(gpu: ModuleType) -> None:
    before = torch.simgpu.memory_allocated("simgpu:1")
    torch.simgpu.reset_peak_memory_stats("simgpu:1")
    block = torch.empty(1000, device="simgpu:1")
    assert torch.simgpu.memory_allocated("simgpu:1") - before == 4096  # in blocks of 512
    assert torch.accelerator.memory_allocated("simgpu:1") - before == 4096
    del block
    torch.accelerator.empty_cache()
    assert torch.simgpu.memory_allocated("simgpu:1") == before
    assert torch.simgpu.max_memory_allocated("simgpu:1") - before == 4096
    gpu.limit_memory(before + 4096, device=1)
    try:
        torch.empty(1000, device="simgpu:1")
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(2000, device="simgpu:1")
        assert torch.simgpu.mem_get_info("simgpu:1") == (4096, before + 4096)
    finally:
        gpu.limit_memory(None, device=1)


def test_tensors_are_saved_and_loaded(gpu: ModuleType, tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(3.0, device="simgpu:1")}, tmp_path / "a.pth")
    for location, device in ((None, "simgpu:1"), ("cpu", "cpu")):
        weight = torch.load(tmp_path / "a.pth", weights_only=True, map_location=location)["weight"]
        assert weight.device == torch.device(device)
        assert weight.tolist() == [0, 1, 2]
