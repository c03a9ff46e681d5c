"""Files of a packed store: its path, the folder of its shards, and the lock for writing."""

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voc_seg.system.atomic import SCRATCH, make_folder, unused_path
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock, lock_advice, locks_unsupported

logger = logging.getLogger(__name__)

# A shard, and one that was being written when a process was killed; earlier versions wrote it under the second name.
_SHARD = r"\d{5,}-\w+\.arrow"
_OURS = re.compile(rf"{_SHARD}(\.partial)?|\.{_SHARD}\.{SCRATCH}")


def shards_folder(path: Path) -> Path:
    """The folder of a store's shards: ``train_samples.shards`` beside ``train_samples.arrow``."""
    return path.with_suffix(".shards")


@contextmanager
def exclusive_writer(path: Path) -> Iterator[None]:
    """Hold the lock for writing a store and its shards; creates its folder.

    Raises:
        VocSegError: Another process holds the lock, or it cannot be acquired.
    """
    lock_file, lock = path.with_name(f".{path.name}.lock"), None
    try:
        make_folder(path.parent)
        lock = acquire_lock(lock_file, with_children=True)
        if lock is None:
            raise VocSegError(f"Another process is writing {path}. Wait for it to end and run again.")
    except OSError as error:
        if not locks_unsupported(error):
            raise VocSegError(
                f"Could not write {path}: {error.strerror or error}. What was there before is untouched. "
                f"{lock_advice(lock_file)}"
            ) from error
        logger.warning("%s is on a file system without locks. Make sure that no other process writes it.", path)
    try:
        yield
    finally:
        if lock:
            lock.close()


def move_aside(path: Path, folder: bool = False) -> None:
    """Rename anything of another type at the path of a store's file or folder.

    Raises:
        VocSegError: It cannot be renamed.
    """
    # A broken link stays: writing follows it.
    if not path.exists() or (path.is_dir() if folder else path.is_file()):
        return
    wanted, kept = "folder" if folder else "regular file", unused_path(path)
    try:
        path.rename(kept)
    except OSError as error:
        raise VocSegError(
            f"{path} is not a {wanted}, and could not be renamed to make room for one ({error.strerror or error}). "
            "Move it elsewhere and run: kedro run --pipelines data_processing"
        ) from error
    logger.warning("%s was not a %s, so this project did not write it. It is now %s", path, wanted, kept.name)


def shard_files(path: Path) -> list[Path]:
    """Complete and partial shards of a store; other files in their folder are the user's."""
    folder = shards_folder(path)
    return [found for found in folder.iterdir() if _OURS.fullmatch(found.name)] if folder.is_dir() else []


def delete_other_shards(path: Path, names: Collection[str]) -> None:
    """Delete complete and partial shards of a store, except those with these names."""
    folder = shards_folder(path)
    if not folder.is_dir():
        return
    for found in shard_files(path):
        if found.name not in names:
            with suppress(OSError):  # Windows does not delete mapped files: the next call does
                found.unlink()
    if not any(folder.iterdir()):
        with suppress(OSError):  # a link to another disk, or a mounted one, stays
            folder.rmdir()
