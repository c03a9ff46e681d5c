"""Files that are there whole or not at all, whatever interrupts their writing, and that replace nobody else's."""

import errno
import hashlib
import itertools
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from rich.filesize import decimal

from .errors import VocSegError

logger = logging.getLogger(__name__)

_SYNCING = 16
"""Files brought to the disk at once: a file system takes many in one go; one by one, thousands take minutes."""

SCRATCH = "voc_seg-partial"
"""Ends the name of a file that is being written: hidden and tagged, so that no copy of a user's can have it."""
_FILLING, _READY = f".{SCRATCH}", ".voc_seg-ready"  # inside a folder that is being replaced
_WRITTEN = ".voc_seg-files"  # lists the files of a folder that this project wrote
_LONGEST_NAME = 255  # bytes, on nearly every file system


@contextmanager
def atomic_write(path: Path, size: int | None = None) -> Iterator[Path]:
    """Write to the path it gives; when all went well that file takes the place of ``path``, in one step.

    The file is on the disk before it takes the name, and the name before this returns (fsync of both), so that
    after a crash of the machine there is the old file or the new one. A link stays: the file it leads to is replaced.

    Args:
        path: The file to write; its folder is made.
        size: Bytes it will have, about; for the message when there is no room.

    Raises:
        VocSegError: The disk is full, the folder cannot be written to, or the like. The old file is untouched.
    """
    target = _behind_links(path)
    partial = partial_path(path)
    try:
        make_folder(target.parent)
        yield partial
        _sync(partial)
        os.replace(partial, target)
        sync_folder(target.parent)
    except BaseException as error:
        _remove(partial)
        # Libraries wrap what the system said: torch.save gives a RuntimeError of its own then.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError):
            raise
        raise VocSegError(_explanation(path, cause, size)) from error


def partial_path(path: Path) -> Path:
    """Return the path :func:`atomic_write` writes to; a leftover there is from a killed process."""
    target = _behind_links(path)
    name = f".{target.name}.{SCRATCH}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()}.{SCRATCH}"
    return target.with_name(name)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, also where a link leads to one that is not there.

    Raises:
        OSError: It cannot be made, or something else is there.
    """
    _behind_links(folder).mkdir(parents=True, exist_ok=True)


def unused_path(path: Path) -> Path:
    """A path beside this one that nothing has: ``a.kept.png`` for ``a.png``, then ``a.kept1.png`` and so on."""
    names = (f"{path.stem}.kept{number or ''}{path.suffix}" for number in itertools.count())
    return next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))


def is_mounted_file(path: Path) -> bool:
    """Whether a file is a mount point itself (``docker -v FILE:FILE``), so that it cannot be replaced by renaming.

    Only recognised on Linux, from its list of mounts: the file may be on the same device as its folder.
    """
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    # Field 5 is the mount point, with blanks and the like as octal numbers.
    name = re.sub(rb"[\\ \t\n]", lambda sign: b"\\%03o" % sign[0][0], os.fsencode(_behind_links(path)))
    return path.is_file() and any(line.split(b" ")[4:5] == [name] for line in lines)


def _behind_links(path: Path) -> Path:
    return Path(os.path.realpath(path))


@contextmanager
def atomic_write_folder(folder: Path) -> Iterator[Path]:
    """Fill the folder it gives; when all went well its files take the place of those an earlier call put in ``folder``.

    Files that somebody else put there stay, and so does the folder itself, be it linked or mounted: what is written
    lies in it, hidden, until all is there. One rename then settles it; killed after that, :func:`recover_folder`, which
    every reader of the folder calls first, does the rest. The names of the files written are kept in the folder.

    Raises:
        VocSegError: As for :func:`atomic_write`. The old files are untouched.
    """
    target = _behind_links(folder)
    ready = target / _READY
    settled = False
    filling = target / _FILLING if target.is_dir() else partial_path(folder)
    try:
        recover_folder(folder)
        shutil.rmtree(filling, ignore_errors=True)
        make_folder(filling)
        yield filling
        names = [path.relative_to(filling).as_posix() for path in filling.rglob("*") if not path.is_dir()]
        (filling / _WRITTEN).write_text(json.dumps(sorted(names), indent=0), encoding="utf-8")
        written = [filling, *filling.rglob("*")]
        with ThreadPoolExecutor(_SYNCING) as pool:
            list(pool.map(lambda path: sync_folder(path) if path.is_dir() else _sync(path), written))
        if filling.parent != target:  # there was none: it comes in one step
            os.replace(filling, target)
            sync_folder(target.parent)
            return
        os.replace(filling, ready)
        settled = True
        sync_folder(target)
        recover_folder(folder)
    except BaseException as error:
        shutil.rmtree(filling, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        if settled:
            raise VocSegError(
                f"Could not move all files into {folder}: {error.strerror or error}. The new ones are complete in "
                f"{ready}. Fix that and run again: they are then moved."
            ) from error
        raise VocSegError(_explanation(folder, error, None)) from error


def recover_folder(folder: Path) -> None:
    """Finish a completed but killed :func:`atomic_write_folder`: install its files, remove those they replace.

    Raises:
        OSError: One of them cannot be moved or removed.
    """
    target = _behind_links(folder)
    ready = target / _READY
    if not ready.is_dir():
        return
    earlier, coming = _written(target), _written(ready)
    if coming is not None:  # else all are in place
        for name in (earlier or set()) - coming:
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                (target / name).unlink()
        _note_files_of_others(target, earlier, coming)
        for name in sorted(coming):
            _put_in_place(ready / name, target / name, earlier is None or name in earlier)
        for made in ready.rglob("*"):
            if made.is_dir():
                make_folder(target / made.relative_to(ready))
        sync_folder(target)
        _move(ready / _WRITTEN, target / _WRITTEN)
    shutil.rmtree(ready, ignore_errors=True)


def _written(folder: Path) -> set[str] | None:
    """Names of the files in a folder that this project wrote; None where that is not known: of an earlier version."""
    try:
        names = json.loads((folder / _WRITTEN).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    paths = [PurePosixPath(str(name)) for name in names] if isinstance(names, list) else []
    return {path.as_posix() for path in paths if path.parts and not path.is_absolute() and ".." not in path.parts}


def _note_files_of_others(folder: Path, earlier: set[str] | None, coming: set[str]) -> None:
    """Say which files stay of a folder of which it is not known who wrote them: they may be of an earlier run."""
    if earlier is not None:
        return
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    others = sorted(name for name in found - coming if not name.startswith(_READY))
    if others:
        logger.warning(
            "%s has %d files that are not of this run, such as %s; they are kept. "
            "Delete what you do not need.", folder, len(others), others[0],
        )  # fmt: skip


def _put_in_place(source: Path, target: Path, ours: bool) -> None:
    """Move a file where it belongs; a file of somebody else that is there keeps a name beside it."""
    if not source.is_file():
        return  # it has been, before a kill
    make_folder(target.parent)
    if os.path.lexists(target) and (not ours or target.is_dir()):
        kept = unused_path(target)
        os.replace(target, kept)
        logger.warning("%s was not written by this project. It is now %s", target, kept.name)
    _move(source, target)


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a folder in the folder may be on another disk
            raise
        with atomic_write(target) as partial:
            shutil.copyfile(source, partial)
        source.unlink()


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
    if error.errno == errno.EBUSY and is_mounted_file(path):
        return (
            f"Could not write {path}: it is mounted as a single file (docker -v FILE:FILE) and cannot be replaced. "
            "What was there before is untouched. Mount its folder instead, and run again."
        )
    needed = f" It takes about {decimal(size)}." if size else ""
    return (
        f"Could not write {path}: {error.strerror or error}.{needed}{_room(path)} What was there before is untouched. "
        "Make room, or make the folder writable, and run again."
    )


def _room(path: Path) -> str:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        return f" {decimal(shutil.disk_usage(folder).free)} are free there."
    except OSError:
        return ""
