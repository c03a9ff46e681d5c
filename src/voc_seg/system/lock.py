"""A file lock that is released when its process ends, however it ends."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def acquire_lock(path: Path, with_children: bool = False) -> BinaryIO | None:
    """Lock a file as long as this process keeps it open; return the file, or None if another process holds the lock.

    Args:
        path: The file; created if missing, for all users who may write to its folder. It may remain afterwards:
            only the lock counts.
        with_children: On POSIX the lock belongs to the open file: a child process that inherits the descriptor also
            holds it, and a second call in this process returns None.

    Raises:
        OSError: The file cannot be created or opened, or the file system has no locks (`locks_unsupported`).
    """
    file = path.open("ab")
    try:
        _grant_access(file, path.parent)
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            # flock belongs to the open file, lockf to this process: loader workers that outlive it would keep a flock.
            lock = fcntl.flock if with_children else fcntl.lockf
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file


def locks_unsupported(error: OSError) -> bool:
    """Return whether an error of `acquire_lock` means that the file system has no locks (some network ones)."""
    return error.errno in _NO_LOCKS


def lock_advice(path: Path) -> str:
    """Return advice for a file that `acquire_lock` could not lock."""
    if os.path.lexists(path):
        return (
            f"The lock {path} cannot be opened, so another process may be writing there. If none is, delete that file, "
            "or ask its owner to make it writable for you (chmod g+rw), and run again."
        )
    return "Make the folder writable and run again."


def _grant_access(file: BinaryIO, folder: Path) -> None:
    """Let all users who may write to the folder lock this file too, whatever the umask; only its owner can do so."""
    if os.name != "posix":
        return
    parent, own = folder.stat(), os.fstat(file.fileno())
    writers = parent.st_mode & 0o022
    with suppress(OSError):
        if own.st_gid != parent.st_gid and writers & 0o020:
            os.fchown(file.fileno(), -1, parent.st_gid)
    with suppress(OSError):
        os.fchmod(file.fileno(), own.st_mode & 0o777 | writers | writers << 1)
