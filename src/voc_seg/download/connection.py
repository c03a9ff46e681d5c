"""Requests to a server: redirects, time limits, and which failures justify a retry."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

_LONGEST_RETRY_AFTER = 60
_MOST_REDIRECTS = 10


@dataclass(frozen=True)
class RetryPolicy:
    """Time-outs and retries of a download."""

    connect_seconds: float = 15  # limit for connecting
    read_seconds: float = 60  # limit for all headers of a response, and for the next bytes of its body
    attempts: int = 5  # consecutive attempts per address; 1 MiB beyond the furthest position so far resets the count
    backoff_seconds: float = 1  # pause after the first failure; doubles with each further one, up to 30 s


DEFAULT_POLICY = RetryPolicy()


class TransferError(Exception):
    """A failed attempt; ``permanent`` if a retry is useless, ``pause`` the seconds the server asks to wait."""

    def __init__(self, reason: str, permanent: bool = False, pause: float = 0) -> None:
        super().__init__(reason)
        self.reason, self.permanent, self.pause = reason, permanent, pause


class Session(requests.Session):
    """A session that requires all headers of a response within the read time-out."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _DeadlineAdapter())

    def resolve_redirects(self, *args: object, **options: object) -> Iterator[requests.Response]:
        """Follow no redirects: requests would read their bodies, however long. `send_get` follows them."""
        return iter(())


@contextmanager
def close_after(seconds: float | None, connection: socket.socket | None) -> Iterator[threading.Event]:
    """Close a connection that is still being read after this time: a socket's time-out restarts with every byte.

    Yields an event that is set when the time is over.
    """
    late = threading.Event()

    def shut() -> None:
        late.set()
        assert connection is not None
        with suppress(OSError, AttributeError):  # TLS within TLS, to a proxy, cannot be closed
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds or 0, shut)
    timer.daemon = True
    if connection is not None and seconds is not None:
        timer.start()
    try:
        yield late
    finally:
        timer.cancel()


class _DeadlineMixin(HTTPConnection):
    """Adds a deadline for headers to urllib3's connections."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # urllib3 does the same
        connection = self.sock  # getresponse() may close it
        with close_after(self.timeout, connection) as late:
            try:
                response = super().getresponse()
            finally:
                if late.is_set():
                    raise TimeoutError("the headers were not complete in time")
        response.connection_read = connection  # type: ignore[attr-defined]  # ours, for bodies.py
        return response

    def _tunnel(self) -> None:
        """Connect through a proxy."""
        with close_after(self.timeout, self.sock):
            super()._tunnel()


class _DeadlineAdapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> urllib3.HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **options)
        assert isinstance(pool, urllib3.HTTPConnectionPool)
        if not issubclass(pool.ConnectionCls, _DeadlineMixin):
            pool.ConnectionCls = type("InTime", (_DeadlineMixin, pool.ConnectionCls), {})
        return pool


def send_get(
    session: requests.Session, address: str, headers: dict[str, str], policy: RetryPolicy
) -> requests.Response:
    """Send a GET request and follow redirects, whose bodies are not read.

    Redirects may lead only to https and http, and not out of https.

    Returns:
        The response (200, 206 or 416) with an unread body; the caller closes it.

    Raises:
        TransferError: There is no response, or one with another status.
    """
    for _ in range(_MOST_REDIRECTS):
        response = _get(session, address, headers, policy)
        try:
            target = _redirected(session, response, address)
            if target is None:
                _require_success(response)
                return response
        except TransferError:
            response.close()
            raise
        response.close()
        address = target
    raise TransferError(f"redirects more than {_MOST_REDIRECTS} times", permanent=True)


def _redirected(session: requests.Session, response: requests.Response, address: str) -> str | None:
    try:
        location = session.get_redirect_target(response)
        target = None if location is None else urljoin(address, location)
        to = urlsplit(target).scheme if target else ""
    except ValueError as error:
        raise TransferError(f"redirects to an invalid address: {error}", permanent=True) from error
    scheme = urlsplit(address).scheme
    if target and (to not in ("https", "http") or (scheme, to) == ("https", "http")):
        raise TransferError(f"redirects from {scheme} to {to}, which is refused", permanent=True)
    return target


def _get(session: requests.Session, address: str, headers: dict[str, str], policy: RetryPolicy) -> requests.Response:
    timeout = (policy.connect_seconds, policy.read_seconds)
    try:
        return session.get(address, headers=headers, stream=True, timeout=timeout, allow_redirects=False)
    except requests.ConnectTimeout as error:
        raise TransferError(f"no connection within {policy.connect_seconds:g} s") from error
    except requests.Timeout as error:
        raise TransferError(f"no answer within {policy.read_seconds:g} s") from error
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        cause = _first_cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise TransferError(f"its TLS certificate is refused: {cause.verify_message}", permanent=True) from error
        # An unknown host name stays unknown; a name server may fail temporarily.
        unknown = isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
        raise TransferError(
            f"connection failed: {getattr(cause, 'strerror', None) or cause}", permanent=unknown
        ) from error
    # For example an unknown scheme, contradictory lengths, or a missing certificate bundle.
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise TransferError(str(error), permanent=True) from error


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _require_success(response: requests.Response) -> None:
    status, reason = response.status_code, f"{response.status_code} {response.reason}".strip()
    if status in (408, 429) or status >= 500:
        after = response.headers.get("Retry-After", "")
        pause = int(after) if re.fullmatch(r"[0-9]{1,3}", after) else 0
        raise TransferError(reason, pause=pause if pause <= _LONGEST_RETRY_AFTER else 0)
    if status not in (200, 206, 416):
        raise TransferError(reason, permanent=True)
