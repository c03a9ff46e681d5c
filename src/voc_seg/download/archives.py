"""Archive files: declared with checksum and addresses, got whole and checked, one process at a time."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from voc_seg.system.atomic import make_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock, lock_advice, locks_unsupported

from .connection import DEFAULT_POLICY, RetryPolicy
from .mirrors import Archive, download, md5_of, partial_files

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2  # seconds between two looks at a lock


class ArchiveSpec(BaseModel):
    model_config = ConfigDict(extra="forbid")

    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    addresses: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://.+")], ...], Field(min_length=1)]
    bytes: Annotated[int, Field(gt=0)] | None = None


def parse_archives(settings: Mapping[str, Any]) -> dict[str, Archive]:
    """The ``archives`` block of the configuration: by file name ``md5``, ``addresses`` and, if known, ``bytes``.

    Raises:
        VocSegError: With every key that is wrong, its value and what is allowed.
    """
    try:
        declared = TypeAdapter(dict[str, ArchiveSpec]).validate_python(dict(settings))
    except ValidationError as error:
        lines = [f"  {' > '.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise VocSegError("archives in conf/base/globals.yml is wrong:\n" + "\n".join(lines)) from None
    return {name: Archive(name, one.md5, one.addresses, one.bytes) for name, one in declared.items()}


@contextmanager
def download_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of archives; waits without limit while another process holds it.

    Args:
        folder: Is created where it does not exist.

    Raises:
        VocSegError: The folder cannot be written to.
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
                "Or use a VOCdevkit you have with --params voc_root=PATH."
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
    """The archive as a file whose checksum is right.

    What has arrived of an interrupted download stays in ``<name>.part`` and is resumed; see `mirrors.download`.
    To be called inside `download_lock`, as two processes must not write that file at once.

    Args:
        archive: What to get.
        folder: Where archives are kept; it exists.
        given: As in `given_archive`; comes first, and is ignored where it is not this archive.
        policy: Time-outs and retries.

    Returns:
        The given file, used where it is, or ``folder/<name>``.

    Raises:
        VocSegError: Every address failed, the disk is full, or a file of that name is another one.
    """
    if given is not None and (found := given_archive(archive, given)) is not None:
        return found
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.exists():
        return _checked(archive, path)
    whole = download(archive, part, policy)
    try:
        with whole.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(whole, path)
        for remnant in partial_files(part):
            remnant.unlink(missing_ok=True)
    except OSError as error:
        raise VocSegError(f"{whole} could not be renamed to {path}: {error}. Fix that and run again.") from error
    logger.info("Fetched %s; its md5 is right", path)
    return path


def given_archive(archive: Archive, given: Path) -> Path | None:
    """The archive at a place the user named with ``voc_archive``.

    Args:
        archive: What is looked for.
        given: A file, which is the archive if its checksum is, whatever its name; or a folder with a file of the
            archive's name.

    Returns:
        The file; None where it is another one or the folder has none: sources may need two archives.

    Raises:
        VocSegError: Nothing is there, it cannot be read, or the folder's file has another checksum.
    """
    if given.is_dir():
        path = given / archive.name
        return _checked(archive, path) if path.exists() else None
    if not given.exists():
        raise VocSegError(
            f"voc_archive is {given}, which does not exist. "
            f"Give the path of {archive.name} or of the folder it lies in: --params voc_archive=PATH."
        )
    return given if md5_of(given) == archive.md5 else None


def _checked(archive: Archive, path: Path) -> Path:
    found = md5_of(path)
    if found != archive.md5:
        raise VocSegError(
            f"{path} is not the archive that is needed: its md5 is {found}, not {archive.md5}. "
            "It may be cut short: delete it and run again."
        )
    return path
