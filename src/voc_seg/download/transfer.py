"""Downloads one file over http or https; an interrupted transfer is resumed without losing received bytes."""

import logging
import re
import shutil
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import requests
from rich.filesize import decimal

from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar

from .bodies import IncompleteBodyError, read_body
from .connection import RetryPolicy, TransferError, send_get

logger = logging.getLogger(__name__)

_LARGEST = 8 * 2**30  # bytes; without a declared size, a longer body is invalid or endless
_PAGE_TYPES = re.compile(r"\s*(text/html|(application|text)/([\w.-]+\+)?(xml|json))\b", re.IGNORECASE)


class ContentMismatchError(Exception):
    """The received bytes do not match the server's file; ``single_response`` if one response sent them all."""

    def __init__(self, reason: str, single_response: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.single_response = reason, single_response


class DiskFullError(TransferError):
    """The disk has less free space than the file needs."""


class BodyTooLongError(TransferError):
    """The body is longer than the file or the announced range."""


@dataclass(frozen=True)
class _ByteRange:
    """Bytes ``start`` to ``end`` (exclusive) of a file of ``total`` bytes; None if the server does not say."""

    start: int
    end: int | None
    total: int | None


def received_bytes(part: Path) -> int:
    """Return the size of a partial file; 0 if it does not exist."""
    return part.stat().st_size if part.is_file() else 0


def truncate_file(part: Path, length: int) -> None:
    """Truncate a file to ``length`` bytes, or delete it for 0."""
    try:
        if length:
            with part.open("r+b") as file:
                file.truncate(length)
        else:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise VocSegError(f"{part} could not be written: {error}. Fix the cause and run again.") from error


def transfer_once(
    session: requests.Session, address: str, part: Path, policy: RetryPolicy, declared: int | None = None
) -> None:
    """Request the missing bytes of a file once and receive them into ``part``, which may be missing.

    If the server cannot resume, the whole file is requested and its beginning is compared with ``part``, which only
    ever grows. If the size of the file is ``declared``, ``part`` is truncated to it.

    Raises:
        TransferError: The server or the connection failed; received bytes are kept.
        BodyTooLongError: The body is longer than the file; ``part`` ends at the file's end and may be correct.
        DiskFullError: The disk has less free space than the file needs, by the server's length.
        ContentMismatchError: ``part`` is not the beginning of the server's file; ``part`` is unchanged.
        VocSegError: The disk is full, or ``part`` cannot be written.
    """
    received = received_bytes(part)
    if declared is not None and received >= declared:
        truncate_file(part, declared)
        return
    for offset in dict.fromkeys((received, 0)):
        # No transfer compression: ranges count the bytes of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        with send_get(session, address, headers, policy) as response:
            extent = _byte_range(response, offset)
            if extent is None:
                continue
            _require_plausible(extent.total, declared)
            if extent.start == extent.total:  # nothing is missing
                _require_not_shorter(received, extent.total)
                return
            total = extent.total or declared
            _make_room(part, total)
            resumed = f", resuming at {decimal(extent.start)}" if extent.start else ""
            size = f" ({decimal(extent.total)})" if extent.total else ""
            logger.info("Fetching %s%s from %s%s", part.stem, size, address, resumed)
            _receive(response, part, extent, total, policy)
            return
    raise TransferError("sends neither the file nor the requested range", permanent=True)


def _byte_range(response: requests.Response, offset: int) -> _ByteRange | None:
    """Return the range of the body; None if it is not the requested one and a request without a range may help."""
    headers = response.headers
    content_range = headers.get("Content-Range", "").strip()
    if response.status_code == 416:
        if not offset:
            raise TransferError(f"416 {response.reason}".strip(), permanent=True)
        found = re.fullmatch(r"bytes \*/([0-9]{1,18})", content_range)
        # Valid only at the end of the file: any earlier range can be satisfied.
        return _ByteRange(int(found[1]), None, int(found[1])) if found and int(found[1]) <= offset else None
    if _PAGE_TYPES.match(headers.get("Content-Type", "")):
        # For example a login page of the network, or an error page.
        raise TransferError(f"sends {headers['Content-Type']}, a web page instead of the archive", permanent=True)
    length = headers.get("Content-Length", "").strip()
    size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    if size is None and length.isdecimal():
        raise TransferError(f"offers a length of {len(length)} digits", permanent=True)
    if response.status_code == 200:
        return _ByteRange(0, size, size)
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", content_range)
    # A server may start earlier than requested (RFC 9110, 15.3.7), but not leave a gap.
    if found and int(found[1]) <= offset <= int(found[2]):
        start, end = int(found[1]), int(found[2]) + 1
        total = None if found[3] == "*" else int(found[3])
        if (total is None or end <= total) and size in (None, end - start):
            return _ByteRange(start, end, total)
    if not offset:
        raise TransferError("206 for a range that was not requested", permanent=True)
    return None


def _require_plausible(total: int | None, declared: int | None) -> None:
    """Refuse an impossible length before checking for free space."""
    if total is None:
        return
    if declared is not None and total != declared:
        raise TransferError(f"offers {total} bytes instead of {declared}", permanent=True)
    if total == 0 or (declared is None and total > _LARGEST):
        raise TransferError(f"offers {total} bytes, which cannot be an archive", permanent=True)


def _require_not_shorter(received: int, total: int | None) -> None:
    if total is not None and total < received:
        raise ContentMismatchError(f"offers {total} bytes, but {received} have been received")


def _make_room(part: Path, total: int | None) -> None:
    needed, free = (total or 0) - received_bytes(part), shutil.disk_usage(part.parent).free
    if needed > free:
        raise DiskFullError(
            f"{part.stem} needs {decimal(needed)} more in {part.parent}, where {decimal(free)} are free. "
            "Make room there and run again.",
            permanent=True,
        )


def _receive(
    response: requests.Response, part: Path, extent: _ByteRange, total: int | None, policy: RetryPolicy
) -> None:
    """Compare the body with the received bytes and append new ones, which are kept whatever happens."""
    received, position, stopped = received_bytes(part), extent.start, ""
    ends = [length for length in (extent.end, total) if length is not None]
    most = min(ends, default=_LARGEST)
    chunks = read_body(response, position, policy)
    try:
        first = next(chunks, b"")
    except IncompleteBodyError as error:
        raise TransferError(f"{error} after 0 bytes of this answer") from error
    if not first:
        raise TransferError("connection was cut after 0 bytes of this answer")
    _require_not_shorter(received, total)
    try:
        with part.open("a+b") as file, progress_bar(f"Fetching {part.stem}", total, "bytes", done=position) as advance:
            file.seek(position)
            try:
                for chunk in chain([first], chunks):
                    fitting = chunk[: most - position]
                    known = file.read(len(fitting)) if position < received else b""
                    if not fitting.startswith(known):
                        raise ContentMismatchError(f"has other bytes between {position} and {position + len(known)}")
                    file.write(fitting[len(known) :])
                    position += len(fitting)
                    advance(len(fitting))
                    if len(fitting) < len(chunk):
                        raise (BodyTooLongError if ends else TransferError)(
                            f"sends more than {most} bytes", permanent=True
                        )
            except IncompleteBodyError as error:
                stopped = str(error)
    except OSError as error:
        raise VocSegError(
            f"{part} could not be written: {error}. The received bytes are kept. Fix the cause and run again."
        ) from error
    except TransferError:
        if not ends:
            truncate_file(part, received)  # an endless body is not an archive
        raise
    if stopped or (total is not None and position < total):
        size = f" of {decimal(total)}" if total else ""
        raise TransferError(f"{stopped or 'connection was cut'} after {decimal(position)}{size}")
