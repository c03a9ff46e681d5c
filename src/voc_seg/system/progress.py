"""A progress bar for slow work; silent if the console is not a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from rich import get_console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_DELAY_SECONDS = 2.0
"""Shorter work shows no bar."""


@contextmanager
def progress_bar(
    text: str, total: int | None, unit: Literal["images", "bytes"] = "images", done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal after two seconds of work, and remove it at the end.

    Args:
        text: Label of the work.
        total: Number of units; None if unknown.
        unit: Bytes are shown as sizes with a speed.
        done: Units already done.

    Yields:
        ``advance(units)``, to be called with each number of finished units.
    """
    amount = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=20), *amount, TimeRemainingColumn()]
    bar = Progress(*columns, transient=True)
    task = bar.add_task(text, total=total, completed=done)
    on_terminal = get_console().is_terminal
    started = time.perf_counter()

    def advance(units: int) -> None:
        bar.advance(task, units)
        if on_terminal and not bar.live.is_started and time.perf_counter() - started > _DELAY_SECONDS:
            with suppress(OSError):  # a closed terminal must not stop the work
                bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:  # otherwise stop() prints an empty line
            with suppress(OSError):
                bar.stop()


def duration(seconds: float) -> str:
    """Format seconds: 45 s, 3:07 min, 2:05 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
