"""Device and precision of a run."""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from voc_seg.config import RuntimeConfig
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import process_info

from .cuda_support import ignore_unsupported_gpu_warning, missing_kernels
from .memory import keep_freed_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """Device of the tensors and precision of the network."""

    device: torch.device
    dtype: torch.dtype
    keep_memory: bool = True

    def autocast(self) -> torch.autocast:
        """Context in which convolutions run in the chosen precision; master weights stay float32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype is torch.bfloat16)

    def keep_freed_memory(self) -> AbstractContextManager[bool]:
        """Context in which freed CPU memory is kept for the next step; GPUs have their own allocator."""
        return keep_freed_memory(self.keep_memory and self.device.type == "cpu")

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``."""
        return "bf16" if self.dtype is torch.bfloat16 else "fp32"

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else f"{self.device}"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{name}{threads}, {self.precision}"


def choose_runtime(config: RuntimeConfig) -> Runtime:
    """Resolve ``auto`` to the best of this machine; under torchrun every process gets its own GPU.

    Raises:
        VocSegError: The requested device is unavailable or torch has no kernels for it, or there are fewer GPUs than
            processes.
    """
    device = _choose_device(config.device)
    wants_bf16 = config.precision == "bf16" or (config.precision == "auto" and has_fast_bf16(device))
    return Runtime(device, torch.bfloat16 if wants_bf16 else torch.float32, config.keep_memory)


@ignore_unsupported_gpu_warning()
def _choose_device(name: str) -> torch.device:
    if process_info().world_size > 1:
        return _device_of_rank(name)
    if name == "auto":
        if torch.cuda.is_available():
            return _first_gpu_with_kernels()
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= available[device.type]:
        raise VocSegError(
            f"runtime.device is {name}, but torch {torch.__version__} sees {available[device.type]} such devices "
            "here. Use runtime.device=auto or cpu, or install a torch build with support for it (pytorch.org)."
        )
    if device.type == "cuda":
        _require_kernels(torch.cuda.current_device() if device.index is None else device.index, name)
    return device


def _first_gpu_with_kernels() -> torch.device:
    """Return the first GPU, starting at the current one, that torch has kernels for, or the CPU."""
    current = torch.cuda.current_device()
    others = [index for index in range(torch.cuda.device_count()) if index != current]
    reasons = []
    for index in (current, *others):
        if reason := missing_kernels(index):
            reasons.append(reason)
            continue
        if reasons:
            _warn_once(f"Computing on cuda:{index}. {reasons[0]}.")
        return torch.device("cuda", index)
    _warn_once(f"Computing on the CPU. {reasons[0]}.")
    return torch.device("cpu")


def _require_kernels(index: int, name: str) -> None:
    if reason := missing_kernels(index):
        raise VocSegError(f"runtime.device is {name}. {reason}, or use runtime.device=cpu.")


@cache
def _warn_once(text: str) -> None:
    """Log a warning once, although a run chooses its device in several places."""
    logger.warning("%s", text)


def _device_of_rank(name: str) -> torch.device:
    process, gpus = process_info(), torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise VocSegError(
            f"runtime.device is {name}, but {process.world_size} processes run. Use auto, cpu or cuda for them."
        )
    if process.local_world_size > gpus:
        raise VocSegError(
            f"torchrun started {process.local_world_size} processes on this machine, where torch {torch.__version__} "
            f"sees {gpus} GPUs. Start as many as there are: --nproc-per-node={max(1, gpus)}, or use runtime.device=cpu."
        )
    # Every process checks all GPUs of its machine, so that all decide alike.
    reasons = [reason for index in range(process.local_world_size) if (reason := missing_kernels(index))]
    if reasons and name == "auto" and process.nodes == 1:
        _warn_once(f"Computing on the CPU. {reasons[0]}.")
        return torch.device("cpu")
    if reasons:  # other machines may have other GPUs
        raise VocSegError(f"runtime.device is {name}. {reasons[0]}, or use runtime.device=cpu everywhere.")
    return torch.device("cuda", process.local_rank)


def loader_workers(config: RuntimeConfig, device: torch.device) -> int:
    """Return the number of loader processes; ``auto`` gives a GPU up to four.

    On a CPU it gives none: reading a crop takes about a hundredth of its training step, and every worker takes a core
    from the network (benchmarks/README.md).
    """
    if config.workers != "auto":
        return config.workers
    # A cluster job may be limited to fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, max(1, cores // process_info().local_world_size)) if device.type == "cuda" else 0


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Context in which torch uses only deterministic operations, and warns where none exists.

    CPUs do not need it: with a fixed number of threads they are deterministic.
    """
    if not wanted:
        yield
        return
    # Must be set before the first cuBLAS call: docs.nvidia.com/cuda/cublas, "Results Reproducibility".
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    mode, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warns)
        torch.backends.cudnn.benchmark = benchmark


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware has bfloat16 arithmetic: AVX512_BF16 or AMX on CPUs, compute capability 8.0 on GPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Private functions of torch, hence the guard; float32 is the safe answer without them.
        checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(check() for check in checks if check)
    return False
