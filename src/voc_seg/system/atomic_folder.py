"""Folders that are replaced atomically: either all files of a write are installed, or none."""

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from .atomic import (
    SCRATCH,
    atomic_write,
    failure_message,
    make_folder,
    partial_path,
    resolve_links,
    sync_file,
    sync_folder,
    unused_path,
)
from .errors import VocSegError
from .names import counted

logger = logging.getLogger(__name__)

_SYNC_THREADS = 16
"""Files synced to disk at once: one by one, thousands of files take minutes."""
_FILLING, _READY = f".{SCRATCH}", ".voc_seg-ready"  # inside a folder that is being replaced
_FILE_LIST = ".voc_seg-files"  # lists the files of a folder that this project wrote


@contextmanager
def atomic_write_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill; if the block succeeds, its files replace those of an earlier call in ``folder``.

    Files of other origin are kept, and so is the folder itself, which may be linked or mounted. New files are first
    written to a hidden subfolder. One rename commits them; after a kill beyond that point :func:`recover_folder`, which
    every reader of the folder calls first, completes the write. The folder also lists the files written.

    Raises:
        VocSegError: As for :func:`atomic_write`. The old files are unchanged.
    """
    target = resolve_links(folder)
    ready = target / _READY
    committed = False
    filling = target / _FILLING if target.is_dir() else partial_path(folder)
    try:
        recover_folder(folder)
        shutil.rmtree(filling, ignore_errors=True)
        make_folder(filling)
        yield filling
        names = [path.relative_to(filling).as_posix() for path in filling.rglob("*") if not path.is_dir()]
        (filling / _FILE_LIST).write_text(json.dumps(sorted(names), indent=0), encoding="utf-8")
        written = [filling, *filling.rglob("*")]
        with ThreadPoolExecutor(_SYNC_THREADS) as pool:
            list(pool.map(lambda path: sync_folder(path) if path.is_dir() else sync_file(path), written))
        if filling.parent != target:  # a new folder: one rename installs it
            os.replace(filling, target)
            sync_folder(target.parent)
            return
        os.replace(filling, ready)
        committed = True
        sync_folder(target)
        recover_folder(folder)
    except BaseException as error:
        shutil.rmtree(filling, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        if committed:
            raise VocSegError(
                f"Could not move all files into {folder}: {error.strerror or error}. The new files are complete "
                f"in {ready}. Fix the cause and run again to move them."
            ) from error
        raise VocSegError(failure_message(folder, error, None)) from error


def is_written_folder(folder: Path) -> bool:
    """Return whether :func:`atomic_write_folder` has filled a folder."""
    return (folder / _FILE_LIST).is_file()


def edited_files(folder: Path) -> list[Path]:
    """Return the files of :func:`atomic_write_folder` that were changed after it wrote its list of them.

    Files are written before that list and keep their times when they are moved. A file system that rounds times to
    two seconds may hide a change within them.
    """
    try:
        written = (folder / _FILE_LIST).stat().st_mtime_ns
    except FileNotFoundError:
        return []
    paths = (folder / name for name in sorted(_file_list(folder) or ()))
    return [path for path in paths if path.is_file() and path.stat().st_mtime_ns > written]


def delete_written_files(folder: Path) -> None:
    """Delete the files of :func:`atomic_write_folder`, and the folder if nothing else is in it."""
    recover_folder(folder)
    if not is_written_folder(folder):
        return
    with atomic_write_folder(folder):
        pass
    (folder / _FILE_LIST).unlink()
    with suppress(OSError):  # other files, or a link
        folder.rmdir()


def recover_folder(folder: Path) -> None:
    """Finish a completed but killed :func:`atomic_write_folder`: install its files, remove those they replace.

    Raises OSError if a file cannot be moved or removed.
    """
    target = resolve_links(folder)
    ready = target / _READY
    if not ready.is_dir():
        return
    old, new = _file_list(target), _file_list(ready)
    if new is not None:  # else all files are installed
        for name in (old or set()) - new:
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                (target / name).unlink()
        for subfolder in {(target / name).parent for name in (old or set()) - new} - {target}:
            with suppress(OSError):  # not empty
                subfolder.rmdir()
        _warn_of_unknown_files(target, old, new)
        for name in sorted(new):
            _install(ready / name, target / name, old is None or name in old)
        for subfolder in ready.rglob("*"):
            if subfolder.is_dir():
                make_folder(target / subfolder.relative_to(ready))
        sync_folder(target)
        _move(ready / _FILE_LIST, target / _FILE_LIST)
    shutil.rmtree(ready, ignore_errors=True)


def _file_list(folder: Path) -> set[str] | None:
    """Return the names of the files this project wrote into a folder; None if not recorded (earlier versions)."""
    try:
        names = json.loads((folder / _FILE_LIST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    paths = [PurePosixPath(str(name)) for name in names] if isinstance(names, list) else []
    return {path.as_posix() for path in paths if path.parts and not path.is_absolute() and ".." not in path.parts}


def _warn_of_unknown_files(folder: Path, old: set[str] | None, new: set[str]) -> None:
    """Warn of files that are kept because their origin is not recorded: they may be from an earlier run."""
    if old is not None:
        return
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    others = sorted(name for name in found - new if not name.startswith(_READY))
    if others:
        logger.warning(
            "%s has %s not of this run, such as %s; they are kept. "
            "Delete what you do not need.", folder, counted(len(others), "file"), others[0],
        )  # fmt: skip


def _install(source: Path, target: Path, ours: bool) -> None:
    """Move a file to its target; a file of other origin at the target is renamed and kept."""
    if not source.is_file():
        return  # moved before a kill
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
        if error.errno != errno.EXDEV:  # a subfolder may be on another disk
            raise
        with atomic_write(target) as partial:
            shutil.copy2(source, partial)  # with its time, see edited_files
        source.unlink()
