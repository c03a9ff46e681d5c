"""Files that are there whole or not at all, whatever interrupts their writing."""

import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from .errors import VocSegError

_SYNCING = 16
"""Files brought to the disk at once: a file system takes many in one go; one by one, thousands take minutes."""


@contextmanager
def replacing(path: Path, size: int | None = None) -> Iterator[Path]:
    """Write to the path it gives; when all went well that file takes the place of ``path``, in one step.

    The file is on the disk before it takes the name, and the name before this returns (fsync of both), so that
    after a crash of the machine there is the old file or the new one.

    Args:
        path: The file to write; its folder is made.
        size: Bytes it will have, about; for the message when there is no room.

    Raises:
        VocSegError: The disk is full, the folder cannot be written to, or the like. The old file is untouched.
    """
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        os.replace(partial, path)
        sync_folder(path.parent)
    except BaseException as error:
        _remove(partial)
        # Libraries wrap what the system said: torch.save gives a RuntimeError of its own then.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError):
            raise
        raise VocSegError(_explanation(path, cause, size)) from error


def partial_of(path: Path) -> Path:
    """Where :func:`replacing` writes a file; what is there when nobody does was left by a process that was killed."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Fill the folder it gives; when all went well it takes the place of ``folder`` with everything in it.

    Two folders cannot be exchanged in one step. Killed between the two, the old one is found again by
    :func:`recover_folder`, which whoever reads the folder calls first.

    Raises:
        VocSegError: As for :func:`replacing`. The old folder is untouched.
    """
    recover_folder(folder)
    partial, old = _beside(folder, "partial"), _beside(folder, "old")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        written = [partial, *partial.rglob("*")]
        with ThreadPoolExecutor(_SYNCING) as pool:
            list(pool.map(lambda path: sync_folder(path) if path.is_dir() else _sync(path), written))
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(partial, folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        recover_folder(folder)
        if not isinstance(error, OSError):
            raise
        raise VocSegError(_explanation(folder, error, None)) from error


def recover_folder(folder: Path) -> None:
    """Give a folder its name back that :func:`replacing_folder` had taken away when it was killed."""
    old = _beside(folder, "old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)  # or it would come back when the new one is deleted
    elif old.exists():
        os.replace(old, folder)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f"{folder.name}.{ending}")


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; Windows, which opens no folders, does so by itself."""
    if os.name != "posix":
        return
    try:
        _sync(folder)
    except OSError as error:
        # Some network and shared file systems cannot do that to a folder.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(partial: Path) -> None:
    try:  # it may have filled the disk
        partial.unlink(missing_ok=True)
    except OSError:
        return  # what is told is why it could not be written


def _explanation(path: Path, error: OSError, size: int | None) -> str:
    needed = f" It takes about {decimal(size)}." if size else ""
    return (
        f"Could not write {path}: {error.strerror or error}.{needed}{_room(path)} What was there before is untouched. "
        "Make room, or make the folder one that can be written to, and run again."
    )


def _room(path: Path) -> str:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        return f" {decimal(shutil.disk_usage(folder).free)} are free there."
    except OSError:
        return ""
