"""A parallel map with ordered results and bounded memory."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from itertools import chain, repeat
from queue import SimpleQueue
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_MAX_THREADS = 8
_MAX_BYTES = 2**29
"""Limit on results held at a time: threads times the largest image would be gigabytes."""
_WAIT = 60.0
"""Seconds to wait for running threads when the caller stops early; an interrupted run does not wait."""


def parallel_map(function: Callable[[A], B], items: Iterable[A], sizes: Sequence[int] = ()) -> Iterator[B]:
    """Map a function over items in threads; results keep the order of the items, and only a few are held.

    Threads suffice because Pillow and NumPy release the GIL. ``Executor.map`` would take all items at once and hold all
    results. The threads are daemons, unlike an executor's, so one that hangs on a disk cannot block the end of a run.

    Args:
        function: Called by several threads at once.
        items: Consumed one by one.
        sizes: Bytes of each result, if large; at most half a gigabyte (or one result) is held at a time.
    """
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    running: deque[Future[B]] = deque()
    jobs: SimpleQueue[tuple[Future[B], A] | None] = SimpleQueue()

    def work() -> None:
        while (job := jobs.get()) is not None:
            future, item = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)
            del job, future, item  # a waiting thread would keep the image alive

    pool = [threading.Thread(target=work, daemon=True, name=f"parallel_map_{number}") for number in range(threads)]
    for thread in pool:
        thread.start()
    wait, held = _WAIT, 0
    waiting: deque[int] = deque()
    try:
        for item, size in zip(items, chain(sizes, repeat(0))):
            while running and (held + size > _MAX_BYTES or len(running) > 2 * threads):
                held -= waiting.popleft()
                yield _result(running.popleft())
            future: Future[B] = Future()
            running.append(future)
            waiting.append(size)
            held += size
            jobs.put((future, item))
        while running:
            yield _result(running.popleft())
    except (KeyboardInterrupt, SystemExit):
        wait = 0
        raise
    finally:
        for future in running:
            future.cancel()
        for _ in pool:
            jobs.put(None)
        for thread in pool:
            thread.join(wait)


def _result(future: Future[B]) -> B:
    """Return what a future holds, waiting a second at a time.

    A signal that arrives just before the wait begins does not end it; Python handles it at the next turn of the loop.
    """
    while not future.done():
        futures.wait([future], timeout=1)
    return future.result()
