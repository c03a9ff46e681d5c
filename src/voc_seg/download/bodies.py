"""Reads the body of a response as it arrives; refuses slow responses and web pages."""

import re
import time
from collections.abc import Iterator

import requests
import urllib3
from rich.filesize import decimal

from .connection import RetryPolicy, TransferError, close_after

_CHUNK = 2**16  # the most that an interrupted connection loses
_SLOWEST = 1000  # bytes per second; a slower server counts as unresponsive
_HEAD = 512  # bytes; in a tar archive they contain zeros, in a compressed one bytes that are not text
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PAGE_STARTS = (b"<!doctype", b"<html", b"<?xml")


class IncompleteBodyError(Exception):
    """The body ended early; the message says why."""


def read_body(response: requests.Response, start: int, policy: RetryPolicy) -> Iterator[bytes]:
    """Yield the unread body of a response, which starts at this offset of the file, in chunks as they arrive.

    Raises:
        IncompleteBodyError: The connection was cut, or the server sends nothing or too slowly.
        TransferError: The body is not part of an archive.
    """
    return _reject_web_pages(_chunks(response, policy), start)


def _chunks(response: requests.Response, policy: RetryPolicy) -> Iterator[bytes]:
    """Yield the body without waiting for full chunks, so that a very slow server is detected."""
    connection = getattr(response.raw, "connection_read", None)
    while True:
        since, received = time.monotonic(), 0
        # A read that outlasts its time-out receives chunk sizes, but hardly any of the body.
        with close_after(2 * policy.read_seconds, connection):
            while (passed := time.monotonic() - since) <= policy.read_seconds:
                try:
                    # Not iter_content, which would decompress a .tgz labelled as gzip-encoded.
                    chunk = response.raw.read1(_CHUNK, decode_content=False)
                except urllib3.exceptions.ReadTimeoutError as error:
                    raise IncompleteBodyError(f"nothing came for {policy.read_seconds:g} s") from error
                except (urllib3.exceptions.HTTPError, ValueError) as error:  # ValueError: closed TLS connection
                    raise IncompleteBodyError("connection was cut") from error
                if not chunk:
                    return
                received += len(chunk)
                yield chunk
        if received < _SLOWEST * passed:
            least = decimal(round(_SLOWEST * policy.read_seconds))
            raise IncompleteBodyError(f"less than {least} came in {policy.read_seconds:g} s")


def _reject_web_pages(chunks: Iterator[bytes], start: int) -> Iterator[bytes]:
    """Yield the same body; refuse it if it begins like a web page, or if the file begins with text."""
    head = b""
    try:
        while len(head) < _HEAD and (chunk := next(chunks, b"")):
            head += chunk
    except IncompleteBodyError:
        if head:
            yield head
        raise
    page = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGE_STARTS)
    if page or (head and start == 0 and not _BINARY.search(head[:_HEAD])):
        raise TransferError("sends a web page or other text instead of the archive", permanent=True)
    if head:
        yield head
    yield from chunks
