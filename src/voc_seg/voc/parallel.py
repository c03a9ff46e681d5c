"""Work on many images at once, in order, with flat memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_MOST_THREADS = 8


def in_parallel(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``map`` over threads: results come in the order of the items, and only a few are held at a time.

    Threads suffice where Pillow and NumPy do the work, as they release the GIL. (``Executor.map`` would take in all
    items at once, and hold all results that nobody has asked for.)
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    running: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > 2 * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
