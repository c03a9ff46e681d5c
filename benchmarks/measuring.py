"""What every benchmark here shares: the machine it ran on, sides measured in turn, medians and ratios."""

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
    """One line for a results table: processor, threads, versions, precision that ``auto`` gives."""
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


def alternate(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every side, ``repeats`` rounds of one call each, after a round that is not counted.

    A side that gives a float has taken its own time.
    What the machine does besides falls on all sides alike, so quote ratios within a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(repeats + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            own = side()
            if round_:
                seconds[name].append(own if isinstance(own, float) else time.perf_counter() - started)
    return seconds


def ratio(of: list[float], to: list[float]) -> float:
    """Median over the rounds of how many times quicker the first is."""
    return statistics.median(other / one for one, other in zip(of, to))


def print_table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Floats with three digits, everything else as it is."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)
