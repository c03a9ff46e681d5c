"""Progress of slow work: a bar on a terminal, a log line a minute elsewhere."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from rich import get_console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

logger = logging.getLogger(__name__)

LOG_SECONDS = 60
"""Between log lines where the console is not a terminal."""
_DELAY_SECONDS = 2.0
"""Shorter work shows no bar."""


@contextmanager
def progress_bar(
    text: str, total: int | None, unit: Literal["images", "bytes"] = "images", done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal after two seconds of work, and remove it at the end.

    Where the console is a file or a pipe, the log has a line a minute instead.

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
    started = said = time.perf_counter()

    def advance(units: int) -> None:
        nonlocal said
        bar.advance(task, units)
        now = time.perf_counter()
        if not on_terminal:
            if now - said >= LOG_SECONDS:
                said = now
                logger.info("%s: %s", text, _so_far(int(bar.tasks[0].completed), total, unit))
        elif not bar.live.is_started and now - started > _DELAY_SECONDS:
            with suppress(OSError):  # a closed terminal must not stop the work
                bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:  # otherwise stop() prints an empty line
            with suppress(OSError):
                bar.stop()


def _so_far(done: int, total: int | None, unit: str) -> str:
    shown = decimal if unit == "bytes" else "{:,}".format
    of = "" if total is None else f" of {shown(total)}"
    return f"{shown(done)}{of}" + (" images" if unit == "images" else "")


def duration(seconds: float) -> str:
    """Format seconds: 45 s, 3:07 min, 2:05 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
