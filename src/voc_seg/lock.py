"""A lock that ends with the process that holds it, however that ends."""

import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def hold(path: Path, with_children: bool = False) -> BinaryIO | None:
    """Lock a file for as long as this process has it open.

    Args:
        path: The file; made where it is not there. It may stay: what counts is the lock.
        with_children: On POSIX, a process that this one starts and gives the descriptor holds the lock as well.

    Returns:
        The open file; None where another process holds it.

    Raises:
        OSError: The file cannot be made, or the file system has no locks.
    """
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            # flock belongs to the open file, lockf to this process: loader workers would outlive it with the former.
            lock = fcntl.flock if with_children else fcntl.lockf
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file
