"""Shared by all benchmarks: device, description of the machine, variants measured in turn, medians and ratios."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table

from voc_seg.config import RuntimeConfig
from voc_seg.engine.device_facts import device_facts, processor_name
from voc_seg.engine.runtime import Runtime, choose_runtime, cudnn_benchmark

console = Console(width=110)
_ABOVE = {"device", "precision", "torch"}


CPU = torch.device("cpu")


def read_recipe(name: str) -> dict[str, Any]:
    """Return the settings of ``conf/NAME``, without those of ``conf/base``."""
    path = Path(__file__).resolve().parents[1] / "conf" / name / "parameters.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option of benchmarks that compute: the same values as ``runtime.device``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda, cuda:1 and so on")


def finish(device: torch.device) -> None:
    """Wait until the device has computed everything that is queued: a clock read before would time the queueing."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def describe_machine(device: str = "auto") -> None:
    """Print one line for a results table: processor, threads, versions, device and precision.

    Args:
        device: As ``runtime.device``.
    """
    runtime = choose_runtime(RuntimeConfig(device=device))
    console.print(
        f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, torch {torch.__version__}; computing on {runtime}",
        highlight=False,
    )
    if runtime.device.type == "cuda":
        versions = ", ".join(f"{key} {value}" for key, value in device_facts(runtime).items() if key not in _ABOVE)
        console.print(versions, highlight=False)


def alternate(
    variants: Mapping[str, Callable[[], object]], repeats: int, device: torch.device = CPU
) -> dict[str, list[float]]:
    """Seconds of every variant in ``repeats`` rounds of one call each, after a round that is not counted.

    Every second round is in reverse order, as a variant may be slower or faster after a certain other one.

    A variant that returns a float has measured its own time. Other work on the machine affects all variants of a round
    alike, so quote ratios within a round. The time includes what ``device`` still computes when the call returns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(repeats + 1):
        for name, variant in reversed(variants.items()) if round_ % 2 else variants.items():
            finish(device)
            started = time.perf_counter()
            own = variant()
            finish(device)
            if round_:
                seconds[name].append(own if isinstance(own, float) else time.perf_counter() - started)
    return seconds


def seconds_a_step(step: Callable[[], None], steps: int, runtime: Runtime) -> float:
    """Mean of several steps after one untimed step, which leaves caches as a step of this variant does."""
    with runtime.keep_freed_memory(), cudnn_benchmark(True):
        step()
        finish(runtime.device)
        started = time.perf_counter()
        for _ in range(steps):
            step()
        finish(runtime.device)
        return (time.perf_counter() - started) / steps


def ratio(of: list[float], to: list[float]) -> float:
    """Median over the rounds of how many times faster the first is."""
    return statistics.median(other / one for one, other in zip(of, to))


def print_table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Floats with three digits, everything else unchanged."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)
