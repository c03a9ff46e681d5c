"""Download an archive from the first address that has it; bytes already received are kept until it is complete."""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar
from voc_seg.voc.reading import require_file

from .connection import Failure, Patience, Session
from .transfer import Differs, NoRoom, TooLong, arrived, attempt, shorten

logger = logging.getLogger(__name__)

_READ = 2**20
_GOOD_ATTEMPT = 2**20
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Archive:
    """An archive file and its addresses.

    Args:
        name: File name, such as ``VOCtrainval_11-May-2012.tar``.
        md5: Its checksum, 32 hexadecimal digits.
        addresses: https or http, tried in this order.
        size: Bytes, if known.
    """

    name: str
    md5: str
    addresses: tuple[str, ...]
    size: int | None = None


def md5_of(path: Path) -> str:
    """The md5 of a file as hexadecimal digits.

    Raises:
        VocSegError: It cannot be read.
    """
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


def remnants(part: Path) -> tuple[Path, Path]:
    """The files an interrupted download may leave: ``<name>.part``, and ``<name>.fresh`` with contradicting bytes."""
    return part, part.with_suffix(".fresh")


def download(archive: Archive, part: Path, patience: Patience) -> Path:
    """Download an archive from the first address that has it.

    A server that cannot resume ``part`` sends the file from the beginning, which is compared with ``part``. If they
    differ, only the checksum can tell which is right, so the server's file is received beside ``part``.

    Args:
        archive: What to download.
        part: ``<name>.part``, with what has arrived so far, if anything.
        patience: Time-outs and retries.

    Returns:
        The file with the right checksum, one of `remnants`.

    Raises:
        VocSegError: Every address failed, or the disk is full.
    """
    failures: list[Failure] = []
    with Session() as session:
        for address in archive.addresses:
            try:
                return _fetch(session, archive, address, part, patience)
            except Failure as failure:
                failures.append(failure)
                following = archive.addresses[len(failures) :]
                logger.warning(
                    "%s failed: %s; %s",
                    address,
                    failure.reason,
                    f"trying {following[0]} next" if following else "no address is left",
                )
    if failures and all(isinstance(failure, NoRoom) for failure in failures):
        raise VocSegError(failures[0].reason)
    reasons = [f"  - {address}: {failure.reason}\n" for address, failure in zip(archive.addresses, failures)]
    there = "".join(
        f"{decimal(arrived(file))} are kept in {file}; the next run resumes there.\n"
        for file in remnants(part)
        if arrived(file)
    )
    raise VocSegError(
        f"Could not download {archive.name}:\n" + "".join(reasons) + there + "You can:\n"
        "  - run the same command again;\n"
        f"  - download {archive.name} (md5 {archive.md5}) yourself and give it with --params voc_archive=PATH;\n"
        "  - use a VOCdevkit you have with --params voc_root=PATH;\n"
        "  - correct the addresses in conf/base/globals.yml."
    )


def _fetch(session: Session, archive: Archive, address: str, part: Path, patience: Patience) -> Path:
    """The archive from one address, or the `Failure` that ends it."""
    for file in sorted(remnants(part), key=arrived, reverse=True):
        if arrived(file):
            try:
                _complete(session, archive, address, file, patience)
                return file
            except Differs as error:
                logger.warning("%s does not fit what has arrived: %s", address, error.reason)
    # The server has another file, or earlier addresses sent wrong bytes: start over, beside the longer of the two.
    file = min(remnants(part), key=arrived)
    for _ in range(2):  # twice if it came in pieces: the server's file may have changed in between
        shorten(file, 0)
        try:
            _complete(session, archive, address, file, patience)
            return file
        except Differs as error:
            shorten(file, 0)
            failure = Failure(error.reason)
            if error.one_go:
                break
    raise failure


def _complete(session: Session, archive: Archive, address: str, file: Path, patience: Patience) -> None:
    """Resume a file from one address until it is the archive.

    Raises:
        Failure: The address cannot be used any further; what has arrived stays.
        Differs: The file is complete but has another checksum, or as for `attempt`. It is cut back to what it was, or
            deleted if it was complete before.
    """
    before = furthest = arrived(file)
    failures = 0
    while True:
        failure, resumed = None, arrived(file) > 0
        try:
            attempt(session, address, file, patience, archive.size)
        except Failure as error:
            failure = error
        if failure is None or isinstance(failure, TooLong) or arrived(file) == archive.size:
            found = md5_of(file)
            if found == archive.md5:
                return
            reason = failure.reason if failure else f"md5 is {found}, not {archive.md5}"
            shorten(file, before if archive.size is None or before < archive.size else 0)
            raise Differs(reason, one_go=not resumed)
        if failure.lasting:
            raise failure
        size = arrived(file)
        # More than ever before, not more than last time: a server that always starts over must not go on for ever.
        failures = 1 if size >= furthest + _GOOD_ATTEMPT else failures + 1
        furthest = max(furthest, size)
        if failures >= patience.attempts:
            raise Failure(f"{failure.reason} ({failures} attempts)")
        pause = max(failure.pause, min(patience.backoff_seconds * 2 ** (failures - 1), _LONGEST_PAUSE))
        logger.warning("%s failed: %s; retrying in %g s", address, failure.reason, pause)
        time.sleep(pause)
