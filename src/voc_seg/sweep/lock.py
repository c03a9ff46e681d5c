"""A lock that a process shares with those it starts."""

import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def hold(path: Path) -> BinaryIO | None:
    """Lock a file while this process has it open, or (on POSIX) a process that was given its descriptor.

    A sweep that is killed leaves its runs behind; with the descriptor theirs as well, no other sweep begins them anew.

    Returns:
        The open file; None where another process holds it.
    """
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    return file
