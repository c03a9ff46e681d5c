"""Work on many images at once, in order, with flat memory."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain, repeat
from queue import SimpleQueue
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_MOST_THREADS = 8
_MOST_BYTES = 2**29
"""Of results that are held at a time: threads times the largest image would be gigabytes."""
_WAIT = 60.0
"""Seconds that who gives up on the results waits for threads at work; an interrupted run does not wait at all."""


def parallel_map(function: Callable[[A], B], items: Iterable[A], sizes: Sequence[int] = ()) -> Iterator[B]:
    """``map`` over threads: results come in the order of the items, and only a few are held at a time.

    Threads suffice where Pillow and NumPy do the work, as they release the GIL. (``Executor.map`` would take in all
    items at once, and hold all results that nobody has asked for.) The threads are daemons, unlike those of an
    executor: one that is stuck, on a disk that does not answer, keeps nobody from ending the run.

    Args:
        function: Called by several threads at once.
        items: Taken in one by one.
        sizes: Bytes of each result, where they are large: half a gigabyte of results is held at a time, or one.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
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
            del job, future, item  # or a waiting thread would hold a picture

    pool = [threading.Thread(target=work, daemon=True, name=f"in_parallel_{number}") for number in range(threads)]
    for thread in pool:
        thread.start()
    wait, held = _WAIT, 0
    waiting: deque[int] = deque()
    try:
        for item, size in zip(items, chain(sizes, repeat(0))):
            while running and (held + size > _MOST_BYTES or len(running) > 2 * threads):
                held -= waiting.popleft()
                yield running.popleft().result()
            future: Future[B] = Future()
            running.append(future)
            waiting.append(size)
            held += size
            jobs.put((future, item))
        while running:
            yield running.popleft().result()
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
