"""Archive files, declared with checksum and addresses; fetched and verified by one process at a time."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from voc_seg.config.block import value_fault
from voc_seg.system.atomic import make_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock, lock_advice, locks_unsupported

from .connection import DEFAULT_POLICY, RetryPolicy
from .mirrors import Archive, download, md5_of, partial_files

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2  # between two attempts to take the lock


class ArchiveSpec(BaseModel):
    """One entry of the ``archives`` block."""

    model_config = ConfigDict(extra="forbid")

    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    addresses: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://.+")], ...], Field(min_length=1)]
    bytes: Annotated[int, Field(gt=0)] | None = None


def parse_archives(settings: Mapping[str, Any]) -> dict[str, Archive]:
    """Parse the ``archives`` block of the configuration: ``md5``, ``addresses`` and optional ``bytes`` by file name.

    Raises VocSegError if keys are invalid; the message lists each with its value and what is allowed.
    """
    try:
        declared = TypeAdapter(dict[str, ArchiveSpec]).validate_python(dict(settings))
    except ValidationError as error:
        lines = [f"  {' > '.join(map(str, e['loc']))} = {e['input']!r}: {value_fault(e)}" for e in error.errors()]
        raise VocSegError("archives in conf/base/globals.yml is invalid:\n" + "\n".join(lines)) from None
    return {name: Archive(name, one.md5, one.addresses, one.bytes) for name, one in declared.items()}


@contextmanager
def download_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an archive folder, which is created if missing; wait while another process holds it.

    Raises VocSegError if the folder cannot be written to.
    """
    lock_file, lock = folder / ".lock", None
    try:
        make_folder(folder)
        lock = acquire_lock(lock_file, with_children=True)
        if lock is None:
            logger.info("Another process is fetching into %s; waiting for it", folder)
        while lock is None:
            time.sleep(_POLL_SECONDS)
            lock = acquire_lock(lock_file, with_children=True)
    except OSError as error:
        if not locks_unsupported(error):
            raise VocSegError(
                f"{folder} cannot be written to: {error}. {lock_advice(lock_file)} "
                "Or use an existing VOCdevkit with --params voc_root=PATH."
            ) from error
        logger.warning("%s is on a file system without locks. Make sure that no other process fetches there.", folder)
    try:
        yield
    finally:
        if lock:
            lock.close()


def fetch_archive(
    archive: Archive, folder: Path, given: Path | None = None, policy: RetryPolicy = DEFAULT_POLICY
) -> Path:
    """Return the archive as a file with a verified checksum; download it into ``folder`` if necessary.

    An interrupted download is kept in ``<name>.part`` and resumed; see `mirrors.download`. Call this inside
    `download_lock`: two processes must not write that file at once. The file ``given`` (see `given_archive`) is
    preferred, and ignored if it is not this archive.

    Raises:
        VocSegError: Every address failed, the disk is full, or a file of this name has another checksum.
    """
    if given is not None and (found := given_archive(archive, given)) is not None:
        return found
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.exists():
        return _checked(archive, path)
    complete = download(archive, part, policy)
    try:
        with complete.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(complete, path)
        for remnant in partial_files(part):
            remnant.unlink(missing_ok=True)
    except OSError as error:
        raise VocSegError(
            f"{complete} could not be renamed to {path}: {error}. Fix the cause and run again."
        ) from error
    logger.info("Fetched %s and verified its md5", path)
    return path


def given_archive(archive: Archive, given: Path) -> Path | None:
    """Return the archive at the path of ``voc_archive``; None if that is another file or a folder without it.

    A file may have any name, as its checksum identifies it; in a folder the archive is looked up by name.

    Raises:
        VocSegError: The path does not exist or cannot be read, or the folder's file has another checksum.
    """
    if given.is_dir():
        path = given / archive.name
        return _checked(archive, path) if path.exists() else None
    if not given.exists():
        raise VocSegError(
            f"voc_archive is {given}, which does not exist. "
            f"Give the path of {archive.name} or of its folder: --params voc_archive=PATH."
        )
    return given if md5_of(given) == archive.md5 else None


def _checked(archive: Archive, path: Path) -> Path:
    found = md5_of(path)
    if found != archive.md5:
        raise VocSegError(
            f"{path} is not the archive that is needed: its md5 is {found}, not {archive.md5}. "
            "It may be truncated: delete it and run again."
        )
    return path
