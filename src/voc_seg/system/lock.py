"""A lock that ends with the process that holds it, however that ends."""

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
    """Lock a file for as long as this process has it open.

    Args:
        path: The file; made where it is not there, for all who may write to its folder. It may stay: what counts is
            the lock.
        with_children: On POSIX the lock belongs to the open file: a process that this one starts and gives the
            descriptor holds it as well, and a second call in this process does not get it.

    Returns:
        The open file; None where another process holds it.

    Raises:
        OSError: The file cannot be made or opened, or the file system has no locks (`locks_unsupported`).
    """
    file = path.open("ab")
    try:
        _share(file, path.parent)
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


def locks_unsupported(error: OSError) -> bool:
    """Whether an error of :func:`acquire_lock` says that the file system has no locks at all, as some network ones."""
    return error.errno in _NO_LOCKS


def lock_advice(path: Path) -> str:
    """What to do where :func:`acquire_lock` could not lock a file."""
    if os.path.lexists(path):
        return (
            f"The lock {path} cannot be opened, so there is no telling whether another process writes there. If none "
            "does, delete that file, or have its owner make it writable for you (chmod g+rw), and run again."
        )
    return "Make the folder writable and run again."


def _share(file: BinaryIO, folder: Path) -> None:
    """Let everybody who may write to the folder lock this file too, whatever the umask; its owner alone can say so."""
    if os.name != "posix":
        return
    about, own = folder.stat(), os.fstat(file.fileno())
    writers = about.st_mode & 0o022
    with suppress(OSError):
        if own.st_gid != about.st_gid and writers & 0o020:
            os.fchown(file.fileno(), -1, about.st_gid)
    with suppress(OSError):
        os.fchmod(file.fileno(), own.st_mode & 0o777 | writers | writers << 1)
