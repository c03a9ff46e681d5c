"""Servers that send wrong data, trickle or never end: received bytes are kept; the next address is tried."""

import hashlib
import itertools
import logging
import resource
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from voc_seg.download import transfer
from voc_seg.download.archives import Archive, fetch_archive
from voc_seg.download.connection import RetryPolicy
from voc_seg.system.errors import VocSegError

NAME = "VOC.tar"
WHOLE = 300_000
PAYLOAD = hashlib.shake_128(b"payload").digest(WHOLE)
OTHER = hashlib.shake_128(b"other").digest(WHOLE)
THERE = 270_000
REST = f"bytes {THERE}-{WHOLE - 1}/{WHOLE}"
ONCE = RetryPolicy(connect_seconds=1, read_seconds=0.3, attempts=1, backoff_seconds=0.01)


class RawServer:
    """Answers every connection with given bytes, whatever the request; ``ranges`` logs the Range headers.

    Each answer is used once; the last is repeated.
    """

    def __init__(self, answers: list[Callable[[], Iterator[bytes]]]) -> None:
        self.ranges: list[str | None] = []
        self._answers, self._stopped = answers, threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}/{NAME}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    if not (more := connection.recv(2**16)):
                        return
                    request += more
                lines = dict(line.split(": ", 1) for line in request.decode().splitlines()[1:] if line)
                self.ranges.append(lines.get("Range"))
                answer = self._answers[min(len(self.ranges), len(self._answers)) - 1]
                for piece in answer():
                    if self._stopped.is_set():
                        return
                    connection.sendall(piece)
            except ConnectionResetError:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass  # the client has disconnected

    def stop(self) -> None:
        self._stopped.set()
        self._socket.close()


@pytest.fixture
def raw(no_proxy) -> Iterator[Callable[..., RawServer]]:
    servers = []

    def start(*answers: Callable[[], Iterator[bytes]]) -> RawServer:
        servers.append(RawServer(list(answers)))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def folder(tmp_path, caplog):
    caplog.set_level(logging.INFO, "voc_seg.download")
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder


def part(folder: Path) -> Path:
    return folder / f"{NAME}.part"


def archive(*addresses: str, size: int | None = WHOLE) -> Archive:
    return Archive(NAME, hashlib.md5(PAYLOAD).hexdigest(), addresses, size)


def head(status: str, **headers: object) -> bytes:
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def says(status: str, body: bytes = b"", **headers: object) -> Callable[[], Iterator[bytes]]:
    """An answer with its body; its length is declared unless ``Content_Length`` or ``Transfer_Encoding`` is given."""
    length = {} if {"Content_Length", "Transfer_Encoding"} & set(headers) else {"Content_Length": len(body)}
    return lambda: iter([head(status, **length, **headers) + body])


def trickles(start: bytes, endless: bytes) -> Callable[[], Iterator[bytes]]:
    """A few bytes every 10 ms, without end."""

    def answer() -> Iterator[bytes]:
        yield start
        pause = threading.Event()
        while not pause.wait(0.01):
            yield endless

    return answer


def floods(start: bytes, endless: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([start], itertools.repeat(endless))


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def rest(body: bytes = OTHER[THERE:], content_range: str = REST, **headers: object) -> Callable[[], Iterator[bytes]]:
    return says("206 Partial Content", body, Content_Range=content_range, **headers)


CHUNKED = {"Transfer_Encoding": "chunked"}
CHUNKED_REST = head("206 Partial Content", Content_Range=REST, **CHUNKED)
NINES = "9" * 5000
BAD = {
    "200 that ignores the range and is cut": says("200 OK", PAYLOAD[:90_000], Content_Length=WHOLE),
    "200 with another file": says("200 OK", OTHER),
    "200 with another file that is cut": says("200 OK", OTHER[:90_000], Content_Length=WHOLE),
    "200 with another file of unknown length": says("200 OK", chunked(OTHER) + chunked(b""), **CHUNKED),
    "200 with a shorter file": says("200 OK", PAYLOAD[:200_000]),
    "200 with a longer file": says("200 OK", PAYLOAD[:-1] + b"more"),
    "200 without body": says("200 OK"),
    "200 with a length of 5000 digits": says("200 OK", b"x", Content_Length=NINES),
    "200 with an absurd length": says("200 OK", b"x", Content_Length=10**17),
    "200 with a negative length": says("200 OK", OTHER, Content_Length=-5),
    "200 with two lengths": says("200 OK", b"abcdef", Content_Length="5\r\nContent-Length: 6"),
    "200 without end": floods(head("200 OK", **CHUNKED), chunked(OTHER[:50_000])),
    "200 that is compressed": says("200 OK", chunked(OTHER[:99]) + chunked(b""), Content_Encoding="gzip", **CHUNKED),
    "206 with a gap": rest(OTHER[:100], f"bytes {THERE + 1}-{THERE + 100}/{WHOLE}"),
    "206 of a file of another size": rest(OTHER[:100], f"bytes {THERE}-{THERE + 99}/{THERE + 100}"),
    "206 with an end before its start": rest(OTHER[:100], f"bytes {THERE}-99/{WHOLE}"),
    "206 with 5000 digits": rest(OTHER[:100], f"bytes {THERE}-{NINES}/{NINES}"),
    "206 without range": rest(OTHER[:100], ""),
    "206 in several parts": says("206 OK", b"--x\r\n\r\n" + OTHER, Content_Type="multipart/byteranges; boundary=x"),
    "206 with a short body": rest(b"an error"),
    "206 with other bytes": rest(),
    "206 with other bytes from earlier on": rest(OTHER[1000:], f"bytes 1000-{WHOLE - 1}/{WHOLE}"),
    "206 that is longer than it says": floods(CHUNKED_REST, chunked(OTHER[:50_000])),
    "206 with a web page": rest(Content_Type="Text/HTML; charset=utf-8"),
    "206 with JSON": rest(Content_Type="application/problem+json"),
    "206 with a web page by content": rest(b"\n<!DOCTYPE html>".ljust(30_000), Content_Type="application/x-tar"),
    "206 with XML by content": rest(b"\xef\xbb\xbf<?xml version='1.0'?>".ljust(30_000)),
    "416": says("416 No"),
    "416 that gives a shorter file": says("416 No", Content_Range="bytes */1000"),
    "416 with the received length": says("416 No", Content_Range=f"bytes */{THERE}"),
    "416 that gives nothing": says("416 No", Content_Range="bytes */0"),
    "headers that trickle": trickles(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "100 without end": floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk sizes that trickle": trickles(CHUNKED_REST + b"1;x=", b"x"),
    "redirect to itself": says("302 Found", Location=f"/{NAME}"),
    "redirect to a local file": says("302 Found", Location="file:///etc/passwd"),
    "redirect to no address": says("302 Found", Location="http://[::1"),
    "redirect with a body without end": floods(head("302 Found", Location="ftp://x/", **CHUNKED), chunked(OTHER)),
    "headers without end": floods(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n" * 200),
    "no http": lambda: iter([b"\x16\x03\x01 what?\r\n\r\n"]),
    "nothing": lambda: iter([b""]),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_received_bytes_are_resumed_at_the_next_address(folder, archive_server, raw, monkeypatch, answer):
    monkeypatch.setattr(transfer, "_LARGEST", 2 * WHOLE)
    part(folder).write_bytes(PAYLOAD[:THERE])
    bad = raw(answer)
    with pytest.raises(VocSegError, match="are kept in"):
        fetch_archive(archive(bad.address), folder, policy=ONCE)
    assert part(folder).read_bytes() == PAYLOAD[:THERE]
    good = archive_server.serve(NAME, PAYLOAD)
    path = fetch_archive(archive(bad.address, good, size=None), folder, policy=ONCE)
    assert path.read_bytes() == PAYLOAD
    assert list(folder.iterdir()) == [path]
    assert bad.ranges[0] == f"bytes={THERE}-"
    assert archive_server.requests[0].range == f"bytes={THERE}-"


def test_nothing_is_left_of_texts_where_a_file_should_begin(folder, raw, archive_server):
    answers = [b"\n <html>", b'{"error": "no such file"}', b"Access denied\n", b"<Error/>"]
    bad = [raw(says("200 OK", chunked(body) + chunked(b""), **CHUNKED)) for body in answers]
    fetch_archive(
        archive(*(server.address for server in bad), archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE
    )
    assert [server.ranges for server in bad] == [[None]] * len(bad)
    assert archive_server.requests[0].range is None


def test_a_server_without_ranges_is_compared_and_may_be_cut_again_and_again(folder, raw):
    cuts = [says("200 OK", PAYLOAD[:length], Content_Length=WHOLE) for length in (150_000, 100_000, 290_000)]
    part(folder).write_bytes(PAYLOAD[:1000])
    server = raw(*cuts, says("200 OK", PAYLOAD))
    fetch_archive(archive(server.address), folder, policy=replace(ONCE, attempts=9))
    assert server.ranges == [f"bytes={length}-" for length in (1000, 150_000, 150_000, 290_000)]
    assert (folder / NAME).read_bytes() == PAYLOAD


def test_a_connection_that_is_reset_is_resumed(folder, raw):
    def reset() -> Iterator[bytes]:
        yield head("200 OK", Content_Length=WHOLE) + PAYLOAD[:90_000]
        threading.Event().wait(0.05)
        raise ConnectionResetError

    server = raw(reset, rest(PAYLOAD[90_000:], f"bytes 90000-{WHOLE - 1}/{WHOLE}"))
    assert fetch_archive(archive(server.address), folder, policy=replace(ONCE, attempts=2)).read_bytes() == PAYLOAD
    assert server.ranges == [None, "bytes=90000-"]


def test_trailers_without_end_do_not_spoil_what_they_follow(folder, raw):
    server = raw(floods(head("200 OK", **CHUNKED) + chunked(PAYLOAD) + b"0\r\n", b"X-More: x\r\n"))
    assert (
        fetch_archive(archive(server.address), folder, policy=replace(ONCE, read_seconds=0.1)).read_bytes() == PAYLOAD
    )


@pytest.mark.parametrize("size", [WHOLE, None], ids=["declared", "undeclared"])
def test_a_file_that_changes_between_the_parts_is_fetched_once_more(folder, raw, size):
    changed = says("206 OK", PAYLOAD[90_000:], Content_Range=f"bytes 90000-{WHOLE - 1}/{WHOLE}")
    server = raw(says("200 OK", OTHER[:90_000], Content_Length=WHOLE), changed, says("200 OK", PAYLOAD))
    fetch_archive(archive(server.address, size=size), folder, policy=replace(ONCE, attempts=3))
    assert server.ranges == [None, "bytes=90000-", None]
    assert (folder / NAME).read_bytes() == PAYLOAD


def test_a_server_that_changes_its_file_for_ever_is_left(folder, raw):
    cut = says("200 OK", OTHER[:90_000], Content_Length=WHOLE)
    changed = says("206 OK", PAYLOAD[90_000:], Content_Range=f"bytes 90000-{WHOLE - 1}/{WHOLE}")
    server = raw(*[cut, changed] * 20)
    with pytest.raises(VocSegError, match="md5 is"):
        fetch_archive(archive(server.address), folder, policy=replace(ONCE, attempts=3))
    assert len(server.ranges) == 4
    assert list(folder.iterdir()) == []


def test_an_old_part_and_the_beginning_of_the_right_file_both_stay(folder, raw, archive_server):
    part(folder).write_bytes(OTHER[:1000])
    server = raw(says("200 OK", PAYLOAD[:280_000], Content_Length=WHOLE))
    with pytest.raises(VocSegError) as caught:
        fetch_archive(archive(server.address), folder, policy=ONCE)
    assert part(folder).read_bytes() == OTHER[:1000]
    fresh = folder / f"{NAME}.fresh"
    assert fresh.read_bytes() == PAYLOAD[:280_000]
    assert f"{part(folder)}; the next" in str(caught.value) and f"{fresh}; the next" in str(caught.value)
    path = fetch_archive(archive(archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE)
    assert archive_server.requests[0].range == "bytes=280000-"
    assert list(folder.iterdir()) == [path]


def test_of_three_that_contradict_each_other_the_shortest_goes(folder, raw, archive_server):
    part(folder).write_bytes(OTHER[:1000])
    (folder / f"{NAME}.fresh").write_bytes(OTHER[1:2001])
    server = raw(says("200 OK", PAYLOAD[:500], Content_Length=WHOLE))
    with pytest.raises(VocSegError):
        fetch_archive(archive(server.address), folder, policy=ONCE)
    assert part(folder).read_bytes() == PAYLOAD[:500]
    assert (folder / f"{NAME}.fresh").read_bytes() == OTHER[1:2001]
    assert fetch_archive(archive(archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE).read_bytes() == PAYLOAD


def test_wrong_bytes_of_one_address_do_not_stop_the_next(folder, raw, archive_server):
    part(folder).write_bytes(PAYLOAD[:THERE])
    bad = raw(says("206 OK", OTHER[:500], Content_Length=WHOLE - THERE, Content_Range=REST), says("503 No"))
    path = fetch_archive(archive(bad.address, archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE)
    assert path.read_bytes() == PAYLOAD


def test_a_part_that_is_too_long_is_cut_to_the_declared_size(folder):
    part(folder).write_bytes(PAYLOAD + b"more")
    assert fetch_archive(archive("http://nowhere.invalid/"), folder, policy=ONCE).read_bytes() == PAYLOAD


def test_a_part_of_the_declared_size_that_is_another_file_is_replaced(folder, archive_server):
    part(folder).write_bytes(OTHER)
    fetch_archive(archive(archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE)
    assert [request.range for request in archive_server.requests] == [None]


def test_without_room_beside_it_a_part_stays_and_the_next_address_is_asked(folder, raw, archive_server, monkeypatch):
    part(folder).write_bytes(PAYLOAD[:THERE])
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50_000))
    bad = raw(says("200 OK", OTHER))
    fetch_archive(archive(bad.address, archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE)
    assert bad.ranges == [f"bytes={THERE}-", None]
    assert archive_server.requests[0].range == f"bytes={THERE}-"


def test_a_disk_that_runs_full_keeps_what_fits(folder, archive_server):
    address = archive_server.serve(NAME, PAYLOAD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(VocSegError, match=r"part could not be written: .*The received bytes are kept"):
            fetch_archive(archive(address), folder, policy=ONCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    length = part(folder).stat().st_size
    assert part(folder).read_bytes() == PAYLOAD[:length] and length > 100_000
    fetch_archive(archive(address), folder, policy=ONCE)
    assert archive_server.requests[-1].range == f"bytes={length}-"


def test_headers_that_trickle_over_tls_are_left(folder, tls_archive_server, archive_server):
    slow = {f"X-{number}": "x" for number in range(90)}
    address = tls_archive_server.serve("slow", b"", answers=[(200, slow)], slow_headers=True)
    fetch_archive(archive(address, archive_server.serve(NAME, PAYLOAD)), folder, policy=ONCE)
    assert len(tls_archive_server.requests) == len(archive_server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_trickles_is_left(folder, raw, monkeypatch, scheme):
    proxy = raw(trickles(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"))
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
        monkeypatch.setenv(name, proxy.address.removesuffix(NAME))
    with pytest.raises(VocSegError, match=r"nowhere\.invalid/: (connection failed|no answer within)"):
        fetch_archive(archive(f"{scheme}://nowhere.invalid/"), folder, policy=replace(ONCE, connect_seconds=0.3))
    assert len(proxy.ranges) == 1
