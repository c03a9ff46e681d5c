"""Files that are written atomically: after any interruption there is the old file or the new one."""

import errno
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.filesize import decimal

from .errors import VocSegError

SCRATCH = "voc_seg-partial"
"""Suffix of files that are being written; distinctive, so that no file of a user has it."""
_LONGEST_NAME = 255  # bytes, the limit of nearly every file system


@contextmanager
def atomic_write(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; if the block succeeds, that file replaces ``path`` in one step.

    File and folder are synced (fsync), so even a crash of the machine leaves the old file or the new one. The folder is
    created. A link is kept: its target is replaced. ``size`` in bytes is for the message if the disk is full.

    Raises:
        VocSegError: The system refuses to write: a full disk, missing permissions. The old file is unchanged.
    """
    target = resolve_links(path)
    partial = partial_path(path)
    try:
        make_folder(target.parent)
        yield partial
        sync_file(partial)
        os.replace(partial, target)
        sync_folder(target.parent)
    except BaseException as error:
        with suppress(OSError):  # the first error is reported
            partial.unlink(missing_ok=True)  # it may have filled the disk
        # Libraries wrap the system's error: torch.save raises a RuntimeError.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError):
            raise
        raise VocSegError(failure_message(path, cause, size)) from error


def partial_path(path: Path) -> Path:
    """Return the path :func:`atomic_write` writes to; a leftover there is from a killed process."""
    target = resolve_links(path)
    name = f".{target.name}.{SCRATCH}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()}.{SCRATCH}"
    return target.with_name(name)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, including the missing target of a link. Raises OSError if that fails."""
    resolve_links(folder).mkdir(parents=True, exist_ok=True)


def unused_path(path: Path) -> Path:
    """Return an unused path in the same folder: ``a.kept.png`` for ``a.png``, then ``a.kept1.png`` and so on."""
    names = (f"{path.stem}.kept{number or ''}{path.suffix}" for number in itertools.count())
    return next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))


def is_mounted_file(path: Path) -> bool:
    """Return whether a file is a mount point (``docker -v FILE:FILE``), which cannot be replaced by renaming.

    Only Linux's list of mounts shows this: the file may be on the same device as its folder.
    """
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    # Field 5 is the mount point, with whitespace as octal escapes.
    name = re.sub(rb"[\\ \t\n]", lambda sign: b"\\%03o" % sign[0][0], os.fsencode(resolve_links(path)))
    return path.is_file() and any(line.split(b" ")[4:5] == [name] for line in lines)


def resolve_links(path: Path) -> Path:
    """Return the absolute path behind all links; ``Path.resolve`` raises on circular ones."""
    return Path(os.path.realpath(path))


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk; Windows cannot open folders and does this itself."""
    if os.name != "posix":
        return
    try:
        sync_file(folder)
    except OSError as error:
        # Some network and shared file systems cannot sync a folder.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise


def sync_file(path: Path) -> None:
    """Sync a file or folder to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure_message(path: Path, error: OSError, size: int | None) -> str:
    """Return the message for a failed write of ``path``; ``size`` as for :func:`atomic_write`."""
    if error.errno == errno.EBUSY and is_mounted_file(path):
        return (
            f"Could not write {path}: it is mounted as a single file (docker -v FILE:FILE) and cannot be replaced. "
            "The old file is untouched. Mount its folder instead, and run again."
        )
    needed = f" It takes about {decimal(size)}." if size else ""
    return (
        f"Could not write {path}: {error.strerror or error}.{needed}{_free_space(path)} "
        "The old data is untouched. Make room, or make the folder writable, and run again."
    )


def _free_space(path: Path) -> str:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        return f" {decimal(shutil.disk_usage(folder).free)} are free there."
    except OSError:
        return ""
