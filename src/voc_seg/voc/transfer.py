"""One file over http or https: received as far as it comes, and gone on with from there."""

import logging
import re
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from rich.filesize import decimal

from voc_seg.errors import VocSegError

from .progress import progress_bar

logger = logging.getLogger(__name__)

_CHUNK = 2**16  # what is lost of a cut connection is at most this
_LONGEST_RETRY_AFTER = 60
_LARGEST = 8 * 2**30  # bytes; no archive is near that, so that a longer body is nonsense or has no end
_SLOWEST = 1000  # bytes a second; a server that sends less might as well be silent


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to try again.

    Args:
        connect_seconds: For a connection.
        read_seconds: For the next bytes.
        attempts: At one address in a row; one that brings 1 MiB more than there ever was starts the count anew.
        backoff_seconds: Pause after the first failure; it doubles with every further one, up to 30 s.
    """

    connect_seconds: float = 15
    read_seconds: float = 60
    attempts: int = 5
    backoff_seconds: float = 1


PATIENCE = Patience()


class Failure(Exception):
    """An attempt failed; ``lasting`` where another at the same address would too; ``pause`` seconds are asked for."""

    def __init__(self, reason: str, lasting: bool = False, pause: float = 0) -> None:
        super().__init__(reason)
        self.reason, self.lasting, self.pause = reason, lasting, pause


class _Trickle(Exception):
    """The server sends next to nothing."""


class Session(requests.Session):
    """Follows no redirect out of https, before anything is asked there."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https":
            scheme = urlsplit(urljoin(resp.url, target)).scheme
            if scheme != "https":
                raise Failure(f"redirects from https to {scheme}, which is refused", lasting=True)
        return target


def arrived(part: Path) -> int:
    """Bytes of a file that are there already."""
    return part.stat().st_size if part.exists() else 0


def attempt(
    session: requests.Session, address: str, part: Path, patience: Patience, declared: int | None = None
) -> bool:
    """Ask once for what is missing of a file and receive it.

    Args:
        session: Of requests; it follows redirects.
        address: https or http.
        part: What has arrived so far, if anything; it grows, or starts over where the server cannot go on.
        patience: Its time-outs.
        declared: Bytes of the whole file, if known.

    Returns:
        Whether any of the file was there before; all of it is there now.

    Raises:
        Failure: The server failed, or the connection; what has arrived stays.
        VocSegError: The disk is full, or ``part`` cannot be written.
    """
    there = arrived(part)
    # No compression on the way: ranges count the bytes of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with _ask(session, address, headers, patience) as response:
        if there and response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{there}":
            return True
        extent = _extent(response, there)
        if extent is not None:
            start, total = extent
            _require_plausible(total, declared)
            _make_room(part, total)
            begun = f", going on at {decimal(start)}" if start else ""
            size = f" ({decimal(total)})" if total else ""
            logger.info("Fetching %s%s from %s%s", part.stem, size, address, begun)
            _receive(response, part, start, total or declared, patience)
            return start > 0
    part.unlink()
    return attempt(session, address, part, patience, declared)


def _ask(session: requests.Session, address: str, headers: dict[str, str], patience: Patience) -> requests.Response:
    timeout = (patience.connect_seconds, patience.read_seconds)
    try:
        return session.get(address, headers=headers, stream=True, timeout=timeout)
    except requests.ConnectTimeout as error:
        raise Failure(f"no connection within {patience.connect_seconds:g} s") from error
    except requests.Timeout as error:
        raise Failure(f"no answer within {patience.read_seconds:g} s") from error
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        cause = _first_cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Failure(f"its TLS certificate is refused: {cause.verify_message}", lasting=True) from error
        # A name that does not exist will not do so in a second; a name server may have a moment's weakness.
        unknown = isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
        raise Failure(f"connection failed: {getattr(cause, 'strerror', None) or cause}", lasting=unknown) from error
    # Such as an address of no known kind, endless redirects, a bundle of certificates that is not there.
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise Failure(str(error), lasting=True) from error


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _extent(response: requests.Response, there: int) -> tuple[int, int | None] | None:
    """Where the body starts and how long the whole file is, if known; None to start over from nothing."""
    status, headers = response.status_code, response.headers
    if status in (408, 429) or status >= 500:
        after = headers.get("Retry-After", "")
        pause = int(after) if re.fullmatch(r"\d{1,3}", after) else 0
        raise Failure(f"{status} {response.reason}".strip(), pause=pause if pause <= _LONGEST_RETRY_AFTER else 0)
    if status == 416 and there:
        return None
    if status not in (200, 206):
        raise Failure(f"{status} {response.reason}".strip(), lasting=True)
    if headers.get("Content-Type", "").startswith("text/html"):
        # Of a network that wants a login, say; it must not overwrite what has arrived.
        raise Failure("sends a web page instead of the archive", lasting=True)
    if status == 200:
        length = headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    # A server may start earlier than asked (RFC 9110, 15.3.7), but not leave a gap.
    if content_range and int(content_range[1]) <= there:
        return int(content_range[1]), None if content_range[2] == "*" else int(content_range[2])
    if not there:
        raise Failure("206 for a part nobody asked for", lasting=True)
    return None


def _require_plausible(total: int | None, declared: int | None) -> None:
    """Refuse a length that cannot be right, before room is looked for and what has arrived is touched."""
    if total is not None and declared is not None and total != declared:
        raise Failure(f"offers {total} bytes instead of {declared}", lasting=True)
    if total is not None and total > _LARGEST:
        raise Failure(f"offers {total} bytes, more than any archive has", lasting=True)


def _make_room(part: Path, total: int | None) -> None:
    needed, free = (total or 0) - arrived(part), shutil.disk_usage(part.parent).free
    if needed > free:
        raise VocSegError(
            f"{part.stem} needs {decimal(needed)} more in {part.parent}, where {decimal(free)} are free. "
            "Make room there and run again."
        )


def _chunks(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it comes in, without waiting for a chunk to be full: a server that trickles must be noticed."""
    since, received = time.monotonic(), 0
    # Not iter_content: it would unpack a .tgz that is labelled as gzip-encoded.
    while chunk := response.raw.read1(_CHUNK, decode_content=False):
        yield chunk
        received += len(chunk)
        if (now := time.monotonic()) - since > patience.read_seconds:
            if received < _SLOWEST * (now - since):
                raise _Trickle
            since, received = now, 0


def _first_chunk(chunks: Iterator[bytes]) -> bytes:
    """What comes first; nothing where nothing does. What is wrong with the connection shows again, or as a cut."""
    try:
        return next(chunks, b"")
    except urllib3.exceptions.ReadTimeoutError as error:
        raise Failure("nothing came of the body") from error
    except (urllib3.exceptions.HTTPError, _Trickle) as error:
        raise Failure("connection was cut after 0 bytes of this answer") from error


def _receive(response: requests.Response, part: Path, start: int, total: int | None, patience: Patience) -> None:
    """Write the body from ``start`` on. What has come stays, whatever happens."""
    trouble = ""
    chunks, most = _chunks(response, patience), total or _LARGEST
    first = _first_chunk(chunks)
    if start == 0 and first.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise Failure("sends a web page instead of the archive", lasting=True)
    try:
        with part.open("ab") as file, progress_bar(f"Fetching {part.stem}", total, "bytes", done=start) as advance:
            file.truncate(start)
            try:
                for chunk in chain([first], chunks):
                    if file.tell() + len(chunk) > most:
                        raise Failure(f"sends more than {most} bytes", lasting=True)
                    file.write(chunk)
                    advance(len(chunk))
            except urllib3.exceptions.ReadTimeoutError:
                trouble = f"nothing came for {patience.read_seconds:g} s"
            except urllib3.exceptions.HTTPError:
                trouble = "connection was cut"
            except _Trickle:
                trouble = f"less than {decimal(_SLOWEST * patience.read_seconds)} came in {patience.read_seconds:g} s"
    except OSError as error:
        raise VocSegError(
            f"{part} could not be written: {error}. What has arrived stays there: put that right and run again."
        ) from error
    size = arrived(part)
    if not trouble and total is not None and size < total:
        trouble = "connection was cut"
    if trouble:
        raise Failure(f"{trouble} after {decimal(size)}" + (f" of {decimal(total)}" if total else ""))
