"""Keep the CPU memory of tensors from step to step, instead of returning it to the kernel and faulting it in again."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Numbers of glibc's malloc.h; mallopt(3) says what they do.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_KEEPING = {_M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 64 * 2**20, _M_MMAP_MAX: 0}
# Not the values at process start, but those glibc's dynamic thresholds reach once a large block was freed.
_AFTERWARDS = {
    _M_TRIM_THRESHOLD: 64 * 2**20,
    _M_TOP_PAD: 128 * 2**10,
    _M_MMAP_THRESHOLD: 32 * 2**20,
    _M_MMAP_MAX: 65_536,
}


@contextmanager
def keep_freed_memory(wanted: bool = True) -> Iterator[bool]:
    """Have glibc keep freed blocks for the next step while the context lasts.

    glibc maps every large block and unmaps it when freed, so the kernel zeroes the same hundreds of megabytes at every
    training step. In this context blocks come from the heap, which is not trimmed: the memory of the process stays at
    its peak and is returned at the end.

    Args:
        wanted: False does nothing.

    Yields:
        Whether it took effect: other C libraries and platforms are left as they are.
    """
    libc = _glibc() if wanted else None
    if libc is None:
        yield False
        return
    kept = [libc.mallopt(option, value) for option, value in _KEEPING.items()]
    try:
        yield all(kept)
    finally:
        for option, value in _AFTERWARDS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except OSError:
        return None
