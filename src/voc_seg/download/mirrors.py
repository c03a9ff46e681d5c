"""Downloads an archive from the first address that has it; received bytes are kept until it is complete."""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar
from voc_seg.voc.file_checks import require_file

from .connection import RetryPolicy, Session, TransferError
from .transfer import (
    BodyTooLongError,
    ContentMismatchError,
    DiskFullError,
    received_bytes,
    transfer_once,
    truncate_file,
)

logger = logging.getLogger(__name__)

_READ = 2**20
_GOOD_ATTEMPT = 2**20
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Archive:
    """An archive file and its addresses."""

    name: str  # file name, such as ``VOCtrainval_11-May-2012.tar``
    md5: str  # checksum, 32 hexadecimal digits
    addresses: tuple[str, ...]  # https or http, tried in this order
    size: int | None = None  # bytes, if known


def md5_of(path: Path) -> str:
    """Return the md5 of a file as hexadecimal digits. Raises VocSegError if it cannot be read."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        require_file(path)
        with path.open("rb") as file, progress_bar(f"Checking {path.name}", path.stat().st_size, "bytes") as advance:
            while chunk := file.read(_READ):
                digest.update(chunk)
                advance(len(chunk))
    except OSError as error:
        raise VocSegError(f"{path} cannot be read: {error}. Make it readable or delete it, and run again.") from error
    return digest.hexdigest()


def partial_files(part: Path) -> tuple[Path, Path]:
    """Return the files an interrupted download may leave: ``<name>.part``, and ``<name>.fresh`` with other bytes."""
    return part, part.with_suffix(".fresh")


def download(archive: Archive, part: Path, policy: RetryPolicy) -> Path:
    """Download an archive from the first address that has it; return the verified file, one of `partial_files`.

    ``part`` holds the bytes received so far, if any. A server that cannot resume it sends the file from the beginning,
    which is compared with ``part``. If they differ, only the checksum can decide, so the server's file is received into
    a second file. Raises VocSegError if every address failed or the disk is full.
    """
    failures: list[TransferError] = []
    with Session() as session:
        for address in archive.addresses:
            try:
                return _fetch(session, archive, address, part, policy)
            except TransferError as failure:
                failures.append(failure)
                following = archive.addresses[len(failures) :]
                logger.warning(
                    "%s failed: %s; %s",
                    address,
                    failure.reason,
                    f"trying {following[0]} next" if following else "no address is left",
                )
    if failures and all(isinstance(failure, DiskFullError) for failure in failures):
        raise VocSegError(failures[0].reason)
    reasons = [f"  - {address}: {failure.reason}\n" for address, failure in zip(archive.addresses, failures)]
    there = "".join(
        f"{decimal(received_bytes(file))} are kept in {file}; the next run resumes there.\n"
        for file in partial_files(part)
        if received_bytes(file)
    )
    raise VocSegError(
        f"Could not download {archive.name}:\n" + "".join(reasons) + there + "You can:\n"
        "  - run the same command again;\n"
        f"  - download {archive.name} (md5 {archive.md5}) yourself and set --params voc_archive=PATH;\n"
        "  - use an existing VOCdevkit with --params voc_root=PATH;\n"
        "  - correct the addresses in conf/base/globals.yml."
    )


def _fetch(session: Session, archive: Archive, address: str, part: Path, policy: RetryPolicy) -> Path:
    """Return the archive from one address, or raise the `TransferError` that ended the transfer."""
    for file in sorted(partial_files(part), key=received_bytes, reverse=True):
        if received_bytes(file):
            try:
                _complete(session, archive, address, file, policy)
                return file
            except ContentMismatchError as error:
                logger.warning("%s does not match the received bytes: %s", address, error.reason)
    # The server has another file, or earlier addresses sent wrong bytes: start over, keeping the longer file.
    file = min(partial_files(part), key=received_bytes)
    for _ in range(2):  # twice if it came in parts: the server's file may have changed in between
        truncate_file(file, 0)
        try:
            _complete(session, archive, address, file, policy)
            return file
        except ContentMismatchError as error:
            truncate_file(file, 0)
            failure = TransferError(error.reason)
            if error.single_response:
                break
    raise failure


def _complete(session: Session, archive: Archive, address: str, file: Path, policy: RetryPolicy) -> None:
    """Resume a file from one address until it is the archive.

    Raises:
        TransferError: The address has failed for good; received bytes are kept.
        ContentMismatchError: The file is complete but has a different checksum, or as for `transfer_once`. The file
            is truncated to its earlier size, or deleted if it was complete before.
    """
    before = furthest = received_bytes(file)
    failures = 0
    while True:
        failure, resumed = None, received_bytes(file) > 0
        try:
            transfer_once(session, address, file, policy, archive.size)
        except TransferError as error:
            failure = error
        if failure is None or isinstance(failure, BodyTooLongError) or received_bytes(file) == archive.size:
            found = md5_of(file)
            if found == archive.md5:
                return
            reason = failure.reason if failure else f"md5 is {found}, not {archive.md5}"
            truncate_file(file, before if archive.size is None or before < archive.size else 0)
            raise ContentMismatchError(reason, single_response=not resumed)
        if failure.permanent:
            raise failure
        size = received_bytes(file)
        # Compared with the furthest position, not the last one: a server that always starts over must not loop.
        failures = 1 if size >= furthest + _GOOD_ATTEMPT else failures + 1
        furthest = max(furthest, size)
        if failures >= policy.attempts:
            raise TransferError(f"{failure.reason} ({failures} attempts)")
        pause = max(failure.pause, min(policy.backoff_seconds * 2 ** (failures - 1), _LONGEST_PAUSE))
        logger.warning("%s failed: %s; retrying in %g s", address, failure.reason, pause)
        time.sleep(pause)
