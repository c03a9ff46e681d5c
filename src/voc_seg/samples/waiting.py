"""Waiting for loader workers: as long as they work, and until the run is asked to stop."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from voc_seg.system.errors import VocSegError

T = TypeVar("T")

POLL = 1.0
"""Seconds between two looks at workers that have not delivered yet; the loader's ``timeout``."""
_IDLE = 45
"""Looks in a row that find no worker at work, after which a batch is lost. Looks and not seconds, as a machine that was
suspended has not waited."""
_BLIND = 600
"""Looks without a batch where the system does not say what its processes do."""
_TICKS = 20
"""Of processor time in ``_IDLE`` looks, each usually 10 ms: a worker that only waits wakes up now and then as well."""


def poll_batches(loader: Iterator[T], interrupted: Callable[[], bool]) -> Iterator[T]:
    """The batches of a loader with ``timeout=POLL``; they end early when the run is interrupted in a wait.

    Args:
        loader: Iterator of a ``DataLoader``.
        interrupted: Whether the run has been asked to stop.

    Raises:
        VocSegError: No batch comes and no worker works: none that starts, reads from a slow disk or computes.
    """
    while True:
        idle, since = 0, 0
        while True:
            try:
                batch = next(loader)
            except StopIteration:
                return
            except RuntimeError as error:
                if not str(error).startswith("DataLoader timed out"):
                    raise
            else:
                break
            if interrupted():
                return
            asleep, ticks = _activity()
            if not idle or not asleep or ticks - since > _TICKS:
                idle, since = 0, ticks
            idle += 1
            if idle > (_BLIND if ticks < 0 else _IDLE):
                raise VocSegError(f"No batch comes, and the loader workers do nothing. {shared_memory_advice()}")
        yield batch


def _activity() -> tuple[bool, int]:
    """Whether all workers sleep (not in a read of a disk), and processor time they have used; -1 where unknown."""
    ticks = 0
    for process in multiprocessing.active_children():
        if not process.daemon:
            continue
        try:
            # proc(5): the name in brackets may hold anything; behind it the state, and as 12th and 13th the times.
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True, -1
        if fields[0] != "S":  # R runs or would, D waits for a disk, T was stopped by somebody
            return False, 0
        ticks += int(fields[11]) + int(fields[12])
    return True, ticks


def shared_memory_advice() -> str:
    """What to do when batches cannot be handed over."""
    room = ""
    if os.path.isdir("/dev/shm"):  # noqa: PTH112
        usage = shutil.disk_usage("/dev/shm")
        room = f" (/dev/shm has {usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB free)"
    return (
        f"Most often there is too little shared memory{room}: runtime.workers=0 needs none; in Docker, "
        "--shm-size=2g gives more."
    )
