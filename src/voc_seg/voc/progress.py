"""The progress of work that takes a while: a bar on a terminal, a line a minute elsewhere."""

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

EVERY_SECONDS = 60
"""Between two lines that say how far the work is, where no bar does."""
_PATIENCE_SECONDS = 2.0
"""Work that is done sooner shows no bar."""


@contextmanager
def progress_bar(
    text: str, total: int | None, unit: Literal["images", "bytes"] = "images", done: int = 0
) -> Iterator[Callable[[int], None]]:
    """A bar that appears on a terminal once the work has taken two seconds, and goes when it is done.

    Where the console is a file or a pipe, the log has a line a minute instead.

    Args:
        text: What is being done.
        total: How much there is to do, in units; None where nobody knows.
        unit: Bytes are shown as sizes, with their speed.
        done: Units that were done before.

    Yields:
        ``advance(units)``, to be called whenever some more are done.
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
            if now - said >= EVERY_SECONDS:
                said = now
                logger.info("%s: %s", text, _so_far(int(bar.tasks[0].completed), total, unit))
        elif not bar.live.is_started and now - started > _PATIENCE_SECONDS:
            with suppress(OSError):  # a terminal that has hung up ends no work
                bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:  # else stop() would print an empty line
            with suppress(OSError):
                bar.stop()


def _so_far(done: int, total: int | None, unit: str) -> str:
    shown = decimal if unit == "bytes" else "{:,}".format
    of = "" if total is None else f" of {shown(total)}"
    return f"{shown(done)}{of}" + (" images" if unit == "images" else "")


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 3:07 min, 2:05 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
