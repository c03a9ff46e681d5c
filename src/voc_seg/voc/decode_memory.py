"""Memory of decoding: a limit over all threads, and Pillow's limit on large images."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from PIL import Image

_DECODE_BYTES = 10
"""Bytes per pixel while a file is decoded: four in Pillow, three or four in a conversion, three in NumPy."""
_RESULT_BYTES = 4
"""Bytes per pixel of a decoded image and mask."""
_MAX_BYTES = 2**30
_in_use = 0
_changed = threading.Condition()
_per_thread = threading.local()
_allowing = 0
_filter_lock = threading.Lock()
_filters = ExitStack()


@contextmanager
def allow_large_images() -> Iterator[None]:
    """Silence Pillow's warning about images above half its size limit; cameras make such images.

    Warning filters belong to the whole process: the first thread to enter sets one, the last to leave removes it.
    """
    global _allowing
    with _filter_lock:
        if not _allowing:
            _filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        _allowing += 1
    try:
        yield
    finally:
        with _filter_lock:
            _allowing -= 1
            if not _allowing:
                _filters.close()


@contextmanager
def hold_decode_memory() -> Iterator[None]:
    """Count everything this thread decodes as in use until exit: an image is kept while its mask is decoded."""
    _per_thread.held = 0
    try:
        yield
    finally:
        _release(_per_thread.held)
        del _per_thread.held


@contextmanager
def decode_memory(pixels: int) -> Iterator[None]:
    """Wait until the limit over all threads leaves room for this many pixels; a sole user never waits."""
    held = getattr(_per_thread, "held", None)
    if held is None:
        size = pixels * _DECODE_BYTES
        _acquire(size)
        try:
            yield
        finally:
            _release(size)
        return
    more = max(0, pixels * (_DECODE_BYTES + _RESULT_BYTES) - held)
    _acquire(more, wait=not held)  # a thread that holds memory does not wait: two such threads would deadlock
    _per_thread.held += more
    yield


def _acquire(size: int, wait: bool = True) -> None:
    global _in_use
    with _changed:
        if wait:
            _changed.wait_for(lambda: not _in_use or _in_use + size <= _MAX_BYTES)
        _in_use += size


def _release(size: int) -> None:
    global _in_use
    with _changed:
        _in_use -= size
        _changed.notify_all()
