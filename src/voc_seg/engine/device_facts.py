"""Facts about the device of a run: its name, the versions of its software, and the memory of a GPU."""

import platform
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from .runtime import Runtime


class GpuMemory(NamedTuple):
    """Memory of a GPU in bytes: the peak of the tensors of this process, and what it has reserved for them."""

    peak: int
    reserved: int


def gpu_memory(device: torch.device) -> GpuMemory | None:
    """Return the memory used since :func:`reset_gpu_peak`, without waiting for the GPU; None for a CPU."""
    if device.type == "cpu":
        return None
    if device.type == "mps":  # records no peak
        return GpuMemory(torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory())
    module = torch.get_device_module(device)
    reserved = module.memory_reserved(device) if hasattr(module, "memory_reserved") else 0
    return GpuMemory(module.max_memory_allocated(device), reserved)


def reset_gpu_peak(device: torch.device) -> None:
    """Restart the measurement of the peak; nothing on devices that record none."""
    if device.type not in ("cpu", "mps"):
        torch.get_device_module(device).reset_peak_memory_stats(device)


def memory_left() -> str:
    """Return a sentence on used and free GPU memory, for messages about exhausted memory; empty if unknown."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    module = torch.get_device_module(accelerator) if accelerator else None
    if module is None or not hasattr(module, "mem_get_info"):
        return ""
    try:
        free, total = module.mem_get_info()
        mine = module.memory_allocated()
    except RuntimeError:  # the device is broken or was never used
        return ""
    return f" Of {total / 1e9:.1f} GB on the GPU {free / 1e9:.1f} are free; this process used {mine / 1e9:.1f}."


def device_facts(runtime: Runtime) -> dict[str, str]:
    """Return device, precision and the software versions that may change the last digits of a result."""
    facts = {"device": runtime.device_name, "precision": runtime.precision, "torch": str(torch.__version__)}
    if runtime.device.type == "cuda":
        facts["cuda"] = str(torch.version.hip or torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())
        with suppress(OSError):  # only on Linux
            facts["driver"] = Path("/sys/module/nvidia/version").read_text().strip()
    return facts


def processor_name() -> str:
    """Return the model of the CPU: the name by its maker on Linux, else what Python knows."""
    with suppress(OSError):  # only on Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
