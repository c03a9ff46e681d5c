"""A simulated GPU, known to torch as the device type ``simgpu``; importing this registers it for the whole process.

Its tensors lie in host memory and are computed by the CPU's kernels, so results equal the CPU's. It has CUDA's autocast
lists, its own random numbers, pinned memory and two devices, refuses operators that mix devices, and counts what the
host asks of it. A copy to pinned memory that nobody has waited for delivers rubbish until the next wait.
"""

import importlib.util
import sys
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any, NamedTuple

import torch

NAME = "simgpu"
TOTAL_MEMORY = 16 * 1024**3
"""Bytes that ``mem_get_info`` reports as the size of a device without a limit."""


def _load_file(name: str, path: Path, loader: Any = None) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Beside this file, but pytest's importlib mode has no folder of tests on the path.
building = _load_file("simgpu_building", Path(__file__).with_name("building.py"))
_library = building.build()
_backend = _load_file("simgpu_backend", _library, ExtensionFileLoader("simgpu_backend", str(_library)))


class Copy(NamedTuple):
    """A copy over the bus; ``source`` and ``target`` are data types as C++ names them (``Byte``, ``Long``)."""

    to_host: bool
    bytes: int
    source: str
    target: str
    waits: bool
    host_converts: bool


@dataclass
class Counts:
    """What the host asked of the device: launches by operator, waits by cause, copies in their order."""

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    copies: list[Copy] = field(default_factory=list)

    def bytes(self, to_host: bool) -> int:
        """Bytes copied in one direction."""
        return sum(copy.bytes for copy in self.copies if copy.to_host is to_host)

    @property
    def host_conversions(self) -> int:
        """Copies whose data type the host converts."""
        return sum(copy.host_converts for copy in self.copies)

    def __str__(self) -> str:
        conversions = f", {self.host_conversions} converted on the host" if self.host_conversions else ""
        return (
            f"{self.launches.total()} launches, {self.waits.total()} waits {dict(self.waits)}, {len(self.copies)} "
            f"copies: {self.bytes(to_host=False)} bytes to the device, {self.bytes(to_host=True)} to the host"
            f"{conversions}"
        )


@contextmanager
def counting() -> Iterator[Counts]:
    """Context that counts, over all threads; the counts are there when it ends."""
    counts = Counts()
    _backend.start()
    try:
        yield counts
    finally:
        launches, waits, copies = _backend.stop()
        counts.launches.update(launches)
        counts.waits.update(waits)
        counts.copies += [Copy(*copy) for copy in copies]


def limit_memory(total: int | None, device: int = 0) -> None:
    """Let a device run out of memory at so many bytes; None ends that."""
    _backend.set_limit(device, 2**64 - 1 if total is None else total)


def _index(device: Any = None) -> int:
    if isinstance(device, int):
        return device
    index = None if device is None else torch.device(device).index
    return _backend.current() if index is None else index


def _mem_get_info(device: Any = None) -> tuple[int, int]:
    total = min(TOTAL_MEMORY, _backend.limit(_index(device)))
    return total - _backend.allocated(_index(device)), total


@contextmanager
def _current(device: Any) -> Iterator[None]:
    before = _backend.current()
    _backend.set_current(_index(device))
    try:
        yield
    finally:
        _backend.set_current(before)


def _device_module() -> types.ModuleType:
    """The module ``torch.simgpu``, with the functions of ``torch.cuda`` that torch and this project call."""
    module = types.ModuleType(f"torch.{NAME}")
    functions = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_is_in_bad_fork": lambda: False,
        "_lazy_init": lambda: None,
        "device_count": lambda: _backend.DEVICES,
        "current_device": _backend.current,
        "set_device": lambda device: _backend.set_current(_index(device)),
        "device": _current,
        "get_device_name": lambda device=None: "Simulated GPU",
        "manual_seed": lambda seed: _backend.seed(_backend.current(), seed),
        "manual_seed_all": lambda seed: [_backend.seed(index, seed) for index in range(_backend.DEVICES)],
        "get_rng_state": lambda device=None: _backend.get_rng_state(_index(device)),
        "set_rng_state": lambda state, device=None: _backend.set_rng_state(_index(device), state),
        "get_rng_state_all": lambda: [_backend.get_rng_state(index) for index in range(_backend.DEVICES)],
        "set_rng_state_all": lambda states: [_backend.set_rng_state(*pair) for pair in enumerate(states)],
        "get_amp_supported_dtype": lambda: [torch.float16, torch.bfloat16],
        "synchronize": lambda device=None: _backend.synchronize(),
        "empty_cache": lambda: None,
        "memory_allocated": lambda device=None: _backend.allocated(_index(device)),
        "memory_reserved": lambda device=None: _backend.allocated(_index(device)),
        "max_memory_allocated": lambda device=None: _backend.peak(_index(device)),
        "max_memory_reserved": lambda device=None: _backend.peak(_index(device)),
        "reset_peak_memory_stats": lambda device=None: _backend.reset_peak(_index(device)),
        "mem_get_info": _mem_get_info,
    }
    for name, function in functions.items():
        setattr(module, name, function)
    return module


torch.utils.rename_privateuse1_backend(NAME)
torch._register_device_module(NAME, _device_module())
sys.modules[f"torch.{NAME}"] = getattr(torch, NAME)
torch.utils.generate_methods_for_privateuse1_backend()
