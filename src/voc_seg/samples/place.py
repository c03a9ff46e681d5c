"""Where a packed store lies: its file, the folder of its shards beside it, and who may write there."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from voc_seg.errors import VocSegError


def shards_folder(path: Path) -> Path:
    """The folder of a store's shards: ``train_samples.shards`` beside ``train_samples.arrow``."""
    return path.with_suffix(".shards")


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Nobody else writes this store, or its shards, meanwhile; its folder is made.

    Raises:
        VocSegError: Another process is writing it, or the folder cannot be written to.
    """
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise VocSegError(f"Another process is writing {path}. Wait for it to end and run again.") from None
    except OSError as error:
        raise VocSegError(
            f"Could not write {path}: {error.strerror or error}. What was there before is untouched. Make the folder "
            "one that can be written to, and run again."
        ) from error
    try:
        yield
    finally:
        lock.release()


def delete_shards_but(path: Path, names: Collection[str]) -> None:
    """Delete shards of a store, and what is left of them, save those with these names."""
    folder = shards_folder(path)
    if not folder.is_dir():
        return
    for found in folder.iterdir():
        if found.name not in names:
            with suppress(OSError):  # Windows deletes nothing that is mapped: it goes at the next turn
                found.unlink()
    if not any(folder.iterdir()):
        with suppress(OSError):  # a link to another disk, or a mounted one, stays
            folder.rmdir()
