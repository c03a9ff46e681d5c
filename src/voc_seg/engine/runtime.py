"""Device and precision of a run."""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from voc_seg.config import RuntimeConfig
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted
from voc_seg.system.torchrun import process_info

from .cuda_support import ignore_unsupported_gpu_warning, missing_kernels
from .memory import keep_freed_memory

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

_PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


@dataclass(frozen=True)
class Runtime:
    """Device of the tensors and precision of the network."""

    device: torch.device
    dtype: torch.dtype
    keep_memory: bool = True

    def autocast(self) -> torch.autocast:
        """Context in which convolutions run in the chosen precision; master weights stay float32."""
        enabled = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype if enabled else torch.bfloat16, enabled=enabled)

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """Return the scaler that keeps small gradients from vanishing in float16; it does nothing otherwise."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and weights: channels-last, which costs time only in float32 without tensor cores."""
        slow = self.device.type == "cuda" and self.dtype is torch.float32 and not _has_tf32(self.device)
        return torch.contiguous_format if slow else torch.channels_last

    def place(self, model: Network) -> Network:
        """Return the network on the device, in the layout of its memory."""
        return model.to(self.device).to(memory_format=self.memory_format)

    @property
    def asynchronous(self) -> bool:
        """Whether operations are queued, so that reading a number at once would make the device wait for the host."""
        return self.device.type not in ("cpu", "mps")

    def keep_freed_memory(self) -> AbstractContextManager[bool]:
        """Context in which freed CPU memory is kept for the next step; GPUs have their own allocator."""
        return keep_freed_memory(self.keep_memory and self.device.type == "cpu")

    @property
    def precision(self) -> str:
        """``bf16``, ``fp16`` or ``fp32``."""
        return _PRECISIONS[self.dtype]

    @property
    def device_name(self) -> str:
        """The GPU's name, or the type of another device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else f"{self.device}"

    def __str__(self) -> str:
        threads = f", {counted(torch.get_num_threads(), 'thread')}" if self.device.type == "cpu" else ""
        return f"{self.device_name}{threads}, {self.precision}"


def choose_runtime(config: RuntimeConfig) -> Runtime:
    """Resolve ``auto`` to the fastest on this machine; under torchrun every process gets its own GPU.

    Raises:
        VocSegError: The requested device is unavailable or torch has no kernels for it, or there are fewer GPUs than
            processes.
    """
    device = _choose_device(config.device)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        torch.cuda.set_device(device)  # the loader's thread that pins memory would otherwise open a context on GPU 0
    dtypes = {name: dtype for dtype, name in _PRECISIONS.items()}
    dtype = _fastest_dtype(device) if config.precision == "auto" else dtypes[config.precision]
    if dtype is torch.bfloat16 and device.type == "cuda" and not has_fast_bf16(device):
        _warn_once(
            f"{torch.cuda.get_device_name(device)} has no bfloat16 arithmetic and emulates it slowly: "
            "runtime.precision=auto chooses a faster precision."
        )
    if dtype is torch.float16 and device.type == "cpu":
        _warn_once("runtime.precision=fp16 is very slow on CPUs: auto chooses a faster precision.")
    return Runtime(device, dtype, config.keep_memory)


def _fastest_dtype(device: torch.device) -> torch.dtype:
    """Return the precision that the device's matrix units compute in."""
    if has_fast_bf16(device):
        return torch.bfloat16
    # Tensor cores of Volta and Turing (7.0 to 7.5) know float16 only: docs.nvidia.com/cuda/cuda-c-programming-guide,
    # "Compute Capabilities".
    if device.type == "cuda" and not torch.version.hip and torch.cuda.get_device_capability(device) >= (7, 0):
        return torch.float16
    return torch.float32


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
    """Return the number of loader processes; ``auto`` gives a GPU up to eight, Apple's up to two.

    On a CPU it gives none: reading a crop takes about a hundredth of its training step, and every worker takes a core
    from the network (benchmarks/README.md).
    """
    if config.workers != "auto":
        return config.workers
    # A cluster job may be limited to fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = {"cuda": 8, "mps": 2}.get(device.type, 0)
    return min(most, max(1, cores // process_info().local_world_size))


@contextmanager
def cudnn_benchmark(wanted: bool) -> Iterator[None]:
    """Context in which cuDNN measures which kernels are fastest for each shape, which pays where shapes repeat."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted and not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


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


def _has_tf32(device: torch.device) -> bool:
    """Whether float32 convolutions run on tensor cores: compute capability 8.0 and later."""
    return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware has bfloat16 arithmetic: AVX512_BF16 or AMX on CPUs, compute capability 8.0 on GPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Private functions of torch, hence the guard; float32 is the safe answer without them.
        checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(check() for check in checks if check)
    return False
