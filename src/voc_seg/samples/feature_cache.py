"""The folder of all cached features: which there are, and computing those that are missing."""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from voc_seg.system.atomic import atomic_write, make_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock, lock_advice, locks_unsupported
from voc_seg.system.names import counted
from voc_seg.system.progress import progress_bar

from .feature_store import DamagedFeaturesError, FeatureFormat, FeatureStore, ImageFeatures, stamp

logger = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^\w.-]+")
"""Characters that do not belong in the name of a folder, such as the colon in timm:NAME."""
_POLL = 0.2
"""Seconds between two looks at files that another process is computing."""

Compute = Callable[[int], ImageFeatures]
"""From the position of an image to its features."""


class FeatureCache:
    """A folder of features. Those with the same facts are reused; nothing is deleted.

    Args:
        folder: It is created when features are first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def features(
        self,
        name: str,
        facts: dict[str, Any],
        layout: FeatureFormat,
        size_of: list[tuple[int, int]],
        compute: Compute,
        share: tuple[int, int] = (0, 1),
    ) -> FeatureStore:
        """The features with these facts; files that are missing or damaged are computed.

        Several processes share the work: each takes the files that no other is computing.

        Args:
            name: Of split and encoder, for the folder's name.
            facts: Everything that the features depend on, in plain values.
            layout: What is stored.
            size_of: Height and width of the network's input for each image.
            compute: Called for each image of a missing file.
            share: Rank and world size: where to begin.

        Raises:
            VocSegError: The disk has no room, or the folder cannot be written.
        """
        text = json.dumps(facts, sort_keys=True, indent=1)
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        folder = self.folder / f"{_UNSAFE.sub('_', name)}-{key}"
        store = FeatureStore(folder, layout, len(size_of))
        sizes = [sum(layout.nbytes(*size_of[index]) for index in store.images_of(number))
                 for number in range(len(store.files))]  # fmt: skip
        _remove_damaged(store)
        missing = [number for number, path in enumerate(store.files) if not path.exists()]
        done = sum(len(store.images_of(number)) for number in set(range(len(store.files))) - set(missing))
        if not missing:
            logger.info("Features of %s: %s, %s, computed before", name, counted(done, "image"), decimal(sum(sizes)))
            return store
        self._require_space(sum(sizes[number] for number in missing))
        before = f", {counted(done, 'image')} computed before" if done else ""
        logger.info(
            "Features of %s: %s in %s for %d images%s%s",
            name, decimal(sum(sizes)), layout.dtype, len(store), " and their mirror images" * (layout.views == 2),
            before,
        )  # fmt: skip
        with _writable(folder):
            make_folder(folder)
        _write(folder / "about.json", text)
        with progress_bar(f"features of {name}", len(store), done=done) as advance:
            _fill(store, missing[share[0] * len(missing) // share[1] :] + missing, sizes, compute, advance)
        store.forget()
        _record(store)
        return store

    def _require_space(self, needed: int) -> None:
        """Refuse to compute what the disk has no room for."""
        above = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        free = shutil.disk_usage(above).free
        if needed <= free:
            return
        held = sum(path.stat().st_size for path in self.folder.rglob("*.arrow")) if self.folder.is_dir() else 0
        others = f" {self.folder} holds {decimal(held)} of features; delete folders in it that you no longer need."
        raise VocSegError(
            f"The encoder's features take {decimal(needed)}, and {decimal(free)} are free at {self.folder}."
            f"{others if held else ''} Less is needed with augmentation.flip=0 (half), a smaller evaluation.scale, "
            "fewer of the finest model.skips, or training.frozen_stages=0, which stores nothing."
        )


def _fill(
    store: FeatureStore, numbers: list[int], sizes: list[int], compute: Compute, advance: Callable[[int], None]
) -> None:
    """Compute the missing files, except those that other processes compute, and wait for these."""
    waiting, reported = list(dict.fromkeys(numbers)), False
    while waiting:
        left = []
        for number in waiting:
            path = store.files[number]
            with _exclusive(path) as mine:
                if not path.exists() and mine:
                    store.write(number, _with_progress(store, number, compute, advance), sizes[number])
                elif path.exists():
                    advance(len(store.images_of(number)))
                else:
                    left.append(number)
        if left == waiting:
            if not reported:
                logger.info("Waiting for another process to compute the remaining features")
            reported = True
            time.sleep(_POLL)
        waiting = left


def _with_progress(
    store: FeatureStore, number: int, compute: Compute, advance: Callable[[int], None]
) -> Iterator[ImageFeatures]:
    for index in store.images_of(number):
        yield compute(index)
        advance(1)


@contextmanager
def _exclusive(path: Path) -> Iterator[bool]:
    """Hold the lock for writing a file; yield whether this process has it."""
    name = path.with_name(f".{path.name}.lock")
    try:
        with _writable(path.parent):
            lock = acquire_lock(name, with_children=True)
    except VocSegError as error:
        if not isinstance(error.__cause__, OSError) or not locks_unsupported(error.__cause__):
            raise
        yield True  # two processes may then compute the same file; either result is valid
        return
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        # A process that opened it before looks again for the file itself.
        with suppress(OSError):
            name.unlink()
        lock.close()


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VocSegError(
            f"Could not write {folder}: {error.strerror or error}. {lock_advice(folder / '-')}"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write a small file, unless another process is writing the same."""
    with _exclusive(path) as mine:
        if mine:
            with atomic_write(path) as partial:
                partial.write_text(text + "\n", encoding="utf-8")


def _record_path(store: FeatureStore) -> Path:
    return store.folder / "intact.json"


def _record(store: FeatureStore) -> None:
    """Note the state of all files, so that they need not be read again before the next training."""
    with suppress(VocSegError):
        _write(_record_path(store), json.dumps({path.name: stamp(path) for path in store.files}))


def _remove_damaged(store: FeatureStore) -> None:
    """Delete files that are not as they were written; those that have not changed since the last check are not read."""
    try:
        known = json.loads(_record_path(store).read_text(encoding="utf-8"))
        assert isinstance(known, dict)
    except (OSError, ValueError, AssertionError):
        known = {}
    changed = False
    for number, path in enumerate(store.files):
        if not path.exists() or known.get(path.name) == stamp(path):
            continue
        changed = True
        try:
            store.require_intact(number)
        except DamagedFeaturesError as error:
            logger.warning("%s It will be computed again.", error)
            store.forget()
            with _writable(path.parent):
                path.unlink(missing_ok=True)
    if changed and all(path.exists() for path in store.files):
        _record(store)
