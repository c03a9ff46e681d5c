"""Shared by all benchmarks: describe the machine, measure variants in turn, medians and ratios."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

console = Console(width=110)


def describe_machine() -> None:
    """Print one line for a results table: processor, threads, versions, precision of ``auto``."""
    from voc_seg.config import RuntimeConfig
    from voc_seg.engine.runtime import choose_runtime

    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        lines = info.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    console.print(
        f"{model}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, torch {torch.__version__}; auto is {choose_runtime(RuntimeConfig())}",
        highlight=False,
    )


def alternate(variants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every variant in ``repeats`` rounds of one call each, after a round that is not counted.

    A variant that returns a float has measured its own time. Other work on the machine affects all variants of a round
    alike, so quote ratios within a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(repeats + 1):
        for name, variant in variants.items():
            started = time.perf_counter()
            own = variant()
            if round_:
                seconds[name].append(own if isinstance(own, float) else time.perf_counter() - started)
    return seconds


def ratio(of: list[float], to: list[float]) -> float:
    """Median over the rounds of how many times faster the first is."""
    return statistics.median(other / one for one, other in zip(of, to))


def print_table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Floats with three digits, everything else unchanged."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)
