"""Progress of slow work: a bar on a terminal, a log line now and then elsewhere."""

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

FIRST_LOG_SECONDS, LOG_SECONDS = 10, 60
"""Before the first log line where the console is not a terminal, and between the others."""
_DELAY_SECONDS = 2.0
"""Shorter work shows no bar."""

Unit = Literal["images", "frames", "steps", "bytes"]


def bars_hidden() -> bool:
    """Whether log lines take the place of bars: the console is a file or a pipe."""
    return not get_console().is_terminal


class ProgressLog:
    """Log lines about slow work: the first after ten seconds, then one a minute.

    Args:
        text: Label of the work.
        total: Number of units; None if unknown.
        unit: Bytes are shown as sizes.
        done: Units already done.
    """

    def __init__(self, text: str, total: int | None, unit: Unit = "images", done: int = 0) -> None:
        self._text, self._total, self._unit, self._done = text, total, unit, done
        self._due = time.perf_counter() + FIRST_LOG_SECONDS

    def advance(self, units: int) -> None:
        """Count finished units, and log a line if one is due."""
        self._done += units
        now = time.perf_counter()
        if now >= self._due:
            self._due = now + LOG_SECONDS
            logger.info("%s: %s", self._text, _so_far(self._done, self._total, self._unit))


@contextmanager
def progress_bar(text: str, total: int | None, unit: Unit = "images", done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal after two seconds of work, and remove it at the end; elsewhere log lines.

    Args:
        text: Label of the work.
        total: Number of units; None if unknown.
        unit: Bytes are shown as sizes with a speed.
        done: Units already done.

    Yields:
        ``advance(units)``, to be called with each number of finished units.
    """
    if bars_hidden():
        yield ProgressLog(text, total, unit, done).advance
        return
    amount = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=20), *amount, TimeRemainingColumn()]
    bar = Progress(*columns, transient=True)
    task = bar.add_task(text, total=total, completed=done)
    started = time.perf_counter()

    def advance(units: int) -> None:
        bar.advance(task, units)
        if not bar.live.is_started and time.perf_counter() - started > _DELAY_SECONDS:
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
    return f"{shown(done)}{of}" + (f" {unit}" if unit != "bytes" else "")


def duration(seconds: float) -> str:
    """Format seconds: 45 s, 3:07 min, 2:05 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
