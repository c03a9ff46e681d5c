"""Download one file over http or https; an interrupted transfer is resumed, and no received byte is dropped."""

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

_LARGEST = 8 * 2**30  # bytes; where no size is declared, a longer body is nonsense or has no end
_PAGE_TYPES = re.compile(r"\s*(text/html|(application|text)/([\w.-]+\+)?(xml|json))\b", re.IGNORECASE)


class ContentMismatchError(Exception):
    """What has arrived does not match the server's file; ``single_response`` if all of it came in a single response."""

    def __init__(self, reason: str, single_response: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.single_response = reason, single_response


class DiskFullError(TransferError):
    """The disk has less room than the file needs."""


class BodyTooLongError(TransferError):
    """The body is longer than the file, or than the range that was announced."""


@dataclass(frozen=True)
class _ByteRange:
    """The bytes ``start`` to ``end`` (exclusive) of a file of ``whole`` bytes; None where the server does not say."""

    start: int
    end: int | None
    whole: int | None


def received_bytes(part: Path) -> int:
    """Bytes of a file that are there already."""
    return part.stat().st_size if part.is_file() else 0


def truncate_file(part: Path, length: int) -> None:
    """Cut a file to so many bytes, or delete it where none are to stay."""
    try:
        if length:
            with part.open("r+b") as file:
                file.truncate(length)
        else:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise VocSegError(f"{part} could not be written: {error}. Fix that and run again.") from error


def transfer_once(
    session: requests.Session, address: str, part: Path, policy: RetryPolicy, declared: int | None = None
) -> None:
    """Ask once for what is missing of a file and receive it.

    Where the server cannot resume, it is asked for the whole file, whose beginning is compared with what has arrived:
    ``part`` only ever grows.

    Args:
        session: A `voc_seg.download.connection.Session`.
        address: https or http.
        part: What has arrived so far, if anything.
        policy: Time-outs.
        declared: Bytes of the whole file, if known. What ``part`` has beyond them is cut off.

    Raises:
        TransferError: The server or the connection failed; received bytes are kept.
        BodyTooLongError: The body went on beyond the file's end, where ``part`` ends; its checksum may be right.
        DiskFullError: The disk has less room than the server says the file needs.
        ContentMismatchError: ``part`` is not the beginning of the server's file; ``part`` is unchanged.
        VocSegError: The disk ran full, or ``part`` cannot be written.
    """
    there = received_bytes(part)
    if declared is not None and there >= declared:
        truncate_file(part, declared)
        return
    for asked in dict.fromkeys((there, 0)):
        # No compression on the way: ranges count the bytes of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={asked}-"} if asked else {})
        with send_get(session, address, headers, policy) as response:
            extent = _byte_range(response, asked)
            if extent is None:
                continue
            _require_plausible(extent.whole, declared)
            if extent.start == extent.whole:  # nothing is missing
                _require_not_shorter(there, extent.whole)
                return
            whole = extent.whole or declared
            _make_room(part, whole)
            begun = f", going on at {decimal(extent.start)}" if extent.start else ""
            size = f" ({decimal(extent.whole)})" if extent.whole else ""
            logger.info("Fetching %s%s from %s%s", part.stem, size, address, begun)
            _receive(response, part, extent, whole, policy)
            return
    raise TransferError("sends neither the file nor the requested range", permanent=True)


def _byte_range(response: requests.Response, asked: int) -> _ByteRange | None:
    """The range the body covers; None if it is not the requested one, and asking without a range may help."""
    headers = response.headers
    content_range = headers.get("Content-Range", "").strip()
    if response.status_code == 416:
        if not asked:
            raise TransferError(f"416 {response.reason}".strip(), permanent=True)
        found = re.fullmatch(r"bytes \*/([0-9]{1,18})", content_range)
        # Nothing is beyond the end of the file. A range before it can be satisfied: that answer is a server's fault.
        return _ByteRange(int(found[1]), None, int(found[1])) if found and int(found[1]) <= asked else None
    if _PAGE_TYPES.match(headers.get("Content-Type", "")):
        # Of a network that wants a login, say, or of a server that explains what is wrong.
        raise TransferError(f"sends {headers['Content-Type']}, a web page instead of the archive", permanent=True)
    length = headers.get("Content-Length", "").strip()
    size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    if size is None and length.isdecimal():
        raise TransferError(f"offers a length of {len(length)} digits", permanent=True)
    if response.status_code == 200:
        return _ByteRange(0, size, size)
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", content_range)
    # A server may start earlier than asked (RFC 9110, 15.3.7), but not leave a gap.
    if found and int(found[1]) <= asked <= int(found[2]):
        start, end = int(found[1]), int(found[2]) + 1
        whole = None if found[3] == "*" else int(found[3])
        if (whole is None or end <= whole) and size in (None, end - start):
            return _ByteRange(start, end, whole)
    if not asked:
        raise TransferError("206 for a range that was not requested", permanent=True)
    return None


def _require_plausible(whole: int | None, declared: int | None) -> None:
    """Refuse a length that cannot be right, before room is looked for."""
    if whole is None:
        return
    if declared is not None and whole != declared:
        raise TransferError(f"offers {whole} bytes instead of {declared}", permanent=True)
    if whole == 0 or (declared is None and whole > _LARGEST):
        raise TransferError(f"offers {whole} bytes, which cannot be an archive", permanent=True)


def _require_not_shorter(there: int, whole: int | None) -> None:
    if whole is not None and whole < there:
        raise ContentMismatchError(f"offers {whole} bytes, and {there} have arrived")


def _make_room(part: Path, whole: int | None) -> None:
    needed, free = (whole or 0) - received_bytes(part), shutil.disk_usage(part.parent).free
    if needed > free:
        raise DiskFullError(
            f"{part.stem} needs {decimal(needed)} more in {part.parent}, where {decimal(free)} are free. "
            "Make room there and run again.",
            permanent=True,
        )


def _receive(
    response: requests.Response, part: Path, extent: _ByteRange, whole: int | None, policy: RetryPolicy
) -> None:
    """Compare the body with what has arrived and append what is new. What has come stays, whatever happens."""
    there, position, stopped = received_bytes(part), extent.start, ""
    ends = [length for length in (extent.end, whole) if length is not None]
    most = min(ends, default=_LARGEST)
    chunks = read_body(response, position, policy)
    try:
        first = next(chunks, b"")
    except IncompleteBodyError as error:
        raise TransferError(f"{error} after 0 bytes of this answer") from error
    if not first:
        raise TransferError("connection was cut after 0 bytes of this answer")
    _require_not_shorter(there, whole)
    try:
        with part.open("a+b") as file, progress_bar(f"Fetching {part.stem}", whole, "bytes", done=position) as advance:
            file.seek(position)
            try:
                for chunk in chain([first], chunks):
                    fitting = chunk[: most - position]
                    known = file.read(len(fitting)) if position < there else b""
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
            f"{part} could not be written: {error}. What has arrived is kept: fix that and run again."
        ) from error
    except TransferError:
        if not ends:
            truncate_file(part, there)  # an endless body is no archive
        raise
    if stopped or (whole is not None and position < whole):
        size = f" of {decimal(whole)}" if whole else ""
        raise TransferError(f"{stopped or 'connection was cut'} after {decimal(position)}{size}")
