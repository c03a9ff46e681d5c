"""A local web server that misbehaves on request."""

import re
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Request:
    """One request as the server saw it: the file, its Range header, and the status of the answer."""

    name: str
    range: str | None
    status: int = 0
    sent: int = 0


@dataclass
class _File:
    content: bytes
    cuts: Iterator[int | None]
    pauses: Iterator[float]
    answers: Iterator[tuple[int, dict[str, str]] | None]
    ranges: bool
    earlier: int
    chunked: bool
    trickle: bool
    slow_headers: bool


class ArchiveServer:
    """Serves files under their names on a free port of 127.0.0.1; ``requests`` logs all requests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._files: dict[str, _File] = {}
        self._server = _Quiet(("127.0.0.1", 0), _Handler)
        self._server.archives = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def serve(
        self,
        name: str,
        content: bytes,
        *,
        cuts: Iterable[int | None] = (),
        pauses: Iterable[float] = (),
        answers: Iterable[tuple[int, dict[str, str]] | None] = (),
        ranges: bool = True,
        earlier: int = 0,
        chunked: bool = False,
        trickle: bool = False,
        slow_headers: bool = False,
    ) -> str:
        """Serve a file; each iterable is used up request by request, then all is well.

        Args:
            name: Path below the address.
            content: The file.
            cuts: Bytes of the body after which the connection is closed; None sends all.
            pauses: Seconds to wait in the middle of the body.
            answers: Status and headers to answer with in place of the file; None answers with the file.
            ranges: Whether Range headers are honoured.
            earlier: Answer a Range from this many bytes earlier than asked.
            chunked: Send the body without saying its length first; ``cuts`` count the framing too.
            trickle: Send a byte every 20 ms.
            slow_headers: Send a header every 20 ms.

        Returns:
            The address.
        """
        self._files[name] = _File(
            content, iter(cuts), iter(pauses), iter(answers), ranges, earlier, chunked, trickle, slow_headers
        )
        return self.address(name)

    def address(self, name: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/{name}"

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Quiet(ThreadingHTTPServer):
    archives: ArchiveServer

    def handle_error(self, request, client_address) -> None:
        """Do nothing: clients that disconnect are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Quiet

    def log_message(self, format, *args) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        archives = self.server.archives
        request = Request(self.path.lstrip("/"), self.headers.get("Range"))
        archives.requests.append(request)
        file = archives._files.get(request.name)
        answer = (404, {}) if file is None else next(file.answers, None)
        body = b""
        if answer is None:
            *answer, body = _answer(file, request.range)
        request.status, headers = answer
        self.send_response(request.status)
        length = {"Transfer-Encoding": "chunked"} if body and file.chunked else {"Content-Length": str(len(body))}
        for key, value in (length | {"Connection": "close"} | headers).items():
            self.send_header(key, value)
            if file and file.slow_headers:
                self.flush_headers()
                archives.stopped.wait(0.02)
        self.end_headers()
        if body:
            if file.chunked:
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            body = body[: next(file.cuts, None)]
            for place in range(len(body) if file.trickle else 0):
                self.wfile.write(body[place : place + 1])
                if archives.stopped.wait(0.02):
                    return
            middle = len(body) // 2
            for piece, pause in ((body[:middle], next(file.pauses, 0)), (body[middle:], 0)):
                self.wfile.write(piece)
                request.sent += len(piece)
                archives.stopped.wait(pause)


def _answer(file: _File, asked: str | None) -> tuple[int, dict[str, str], bytes]:
    size = len(file.content)
    if asked is None or not file.ranges:
        return 200, {}, file.content
    start = max(0, int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) - file.earlier)
    if start >= size:
        return 416, {"Content-Range": f"bytes */{size}"}, b""
    return 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"}, file.content[start:]


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send requests to this machine directly, without a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture
def archive_server(no_proxy: None) -> Iterator[ArchiveServer]:
    """An `ArchiveServer` over http."""
    server = ArchiveServer()
    yield server
    server.stop()


@pytest.fixture
def tls_archive_server(
    no_proxy: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ArchiveServer]:
    """An `ArchiveServer` over https, whose certificate requests trusts."""
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle: Path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    server = ArchiveServer(context)
    yield server
    server.stop()
