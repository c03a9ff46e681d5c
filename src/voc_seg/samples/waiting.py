"""Loader workers: waiting for them while they work, and handing their batches over in shared memory."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from torch import Tensor
from torch.utils.data import get_worker_info

from voc_seg.system.errors import VocSegError

T = TypeVar("T")

POLL = 1.0
"""Seconds between two checks of workers that have not delivered yet; the loader's ``timeout``."""
_IDLE = 45
"""Consecutive checks without a working worker until a batch counts as lost. Checks and not seconds, because a suspended
machine has not waited."""
_BLIND = 600
"""Checks without a batch where the system does not report process states."""
_TICKS = 20
"""Clock ticks of processor time, usually 10 ms each, that idle workers may use in ``_IDLE`` checks."""


def poll_batches(loader: Iterator[T], interrupted: Callable[[], bool]) -> Iterator[T]:
    """Yield the batches of a loader with ``timeout=POLL``; stop early if the run is interrupted while waiting.

    Args:
        loader: Iterator of a ``DataLoader``.
        interrupted: Whether the run has been asked to stop.

    Raises:
        VocSegError: No batch arrives and no worker is starting, reading from a slow disk or computing.
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
                raise VocSegError(f"No batch arrives, and the loader workers are idle. {shared_memory_advice()}")
        yield batch


def _activity() -> tuple[bool, int]:
    """Whether all workers sleep (other than for disk I/O), and their processor time in ticks; -1 if unknown."""
    ticks = 0
    for process in multiprocessing.active_children():
        if not process.daemon:
            continue
        try:
            # proc(5): the name in brackets may contain anything; after it come the state and, 12th and 13th, the times.
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True, -1
        if fields[0] != "S":  # R: running or runnable, D: waiting for a disk, T: stopped
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


def share_in_worker(*tensors: Tensor) -> None:
    """In a loader worker, move the tensors of a batch into shared memory.

    An error raised here reaches the main process; the thread that sends batches would only print it.
    """
    if get_worker_info():
        for tensor in tensors:
            tensor.share_memory_()
