"""Downloading archives from a local server that cuts connections, stalls, sends wrong data and refuses."""

import hashlib
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from voc_seg.download.archives import Archive, download_lock, fetch_archive, given_archive
from voc_seg.download.connection import RetryPolicy
from voc_seg.system.errors import VocSegError

NAME = "VOC.tar"
PAYLOAD = hashlib.shake_128(b"payload").digest(3_000_000)
OTHER = hashlib.shake_128(b"other").digest(3_000_000)
QUICK = RetryPolicy(connect_seconds=1, read_seconds=0.2, attempts=3, backoff_seconds=0.01)
MIB = 2**20


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def archive(*addresses: str) -> Archive:
    return Archive(NAME, md5(PAYLOAD), addresses)


def get(folder: Path, *addresses: str) -> None:
    """Fetch the archive, which must then be complete and the only file in its folder."""
    path = fetch_archive(archive(*addresses), folder, policy=QUICK)
    assert path == folder / NAME
    assert path.read_bytes() == PAYLOAD
    assert list(folder.iterdir()) == [path]


def part(folder: Path) -> Path:
    return folder / f"{NAME}.part"


def refused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def folder(tmp_path, archive_server, caplog):
    caplog.set_level(logging.INFO, "voc_seg.download.transfer")
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder


def test_complete_file_in_one_response(folder, archive_server, caplog):
    get(folder, archive_server.serve(NAME, PAYLOAD))
    assert [(request.range, request.status) for request in archive_server.requests] == [(None, 200)]
    assert f"Fetching {NAME} (3.0 MB) from http://127.0.0.1" in caplog.text
    get(folder, archive_server.address(NAME))
    assert len(archive_server.requests) == 1


@pytest.mark.parametrize("cut", [0, 1, 1_234_567, len(PAYLOAD) - 1])
def test_cut_connection_is_resumed(folder, archive_server, caplog, cut):
    get(folder, archive_server.serve(NAME, PAYLOAD, cuts=[cut]))
    assert [request.range for request in archive_server.requests] == [None, f"bytes={cut}-" if cut else None]
    assert sum(request.sent for request in archive_server.requests) == len(PAYLOAD)
    assert "connection was cut after" in caplog.text
    assert ("resuming at" in caplog.text) == bool(cut)


def test_connection_that_is_always_cut_keeps_the_received_bytes(folder, archive_server):
    address = archive_server.serve(NAME, PAYLOAD, cuts=[1000] * 3)
    with pytest.raises(VocSegError) as caught:
        get(folder, address)
    assert part(folder).read_bytes() == PAYLOAD[:3000]
    assert not (folder / NAME).exists()
    for text in (
        f"{address}: connection was cut after 3.0 kB of 3.0 MB (3 attempts)",
        f"3.0 kB are kept in {part(folder)}",
        "run the same command again",
        f"(md5 {md5(PAYLOAD)}) yourself",
        "--params voc_archive=PATH",
        "--params voc_root=PATH",
        "conf/base/globals.yml",
    ):
        assert text in str(caught.value)
    get(folder, address)
    assert archive_server.requests[-1].range == "bytes=3000-"


def test_attempt_that_brings_a_mebibyte_resets_the_count(folder, archive_server):
    get(folder, archive_server.serve(NAME, PAYLOAD, cuts=[10, 10, MIB, 10, MIB, 10]))
    assert len(archive_server.requests) == 7


def test_server_that_always_starts_over_is_abandoned(folder, archive_server):
    address = archive_server.serve(NAME, PAYLOAD, cuts=[MIB + 5] * 20, ranges=False)
    with pytest.raises(VocSegError, match=r"connection was cut .*\(3 attempts\)"):
        get(folder, address)
    assert len(archive_server.requests) == 3


def test_wrong_checksum_goes_to_the_mirror(folder, archive_server, caplog):
    wrong = archive_server.serve("wrong", OTHER)
    get(folder, wrong, archive_server.serve(NAME, PAYLOAD))
    assert [(request.name, request.range) for request in archive_server.requests] == [("wrong", None), (NAME, None)]
    assert f"{wrong} failed: md5 is {md5(OTHER)}, not {md5(PAYLOAD)}; trying" in caplog.text


def test_wrong_checksum_everywhere_leaves_nothing(folder, archive_server):
    addresses = [archive_server.serve(name, OTHER) for name in ("one", "two")]
    with pytest.raises(VocSegError) as caught:
        get(folder, *addresses)
    assert list(folder.iterdir()) == []
    assert str(caught.value).count(f"md5 is {md5(OTHER)}, not {md5(PAYLOAD)}") == 2
    assert "have been received" not in str(caught.value)


def test_stale_part_is_tried_once_more_from_nothing(folder, archive_server):
    part(folder).write_bytes(OTHER[:5000])
    get(folder, archive_server.serve(NAME, PAYLOAD))
    assert [request.range for request in archive_server.requests] == ["bytes=5000-", None]


def test_rest_may_come_from_the_mirror(folder, archive_server):
    address = archive_server.serve("short-lived", PAYLOAD, cuts=[5000], answers=[None, (410, {})])
    get(folder, address, archive_server.serve(NAME, PAYLOAD))
    assert [request.status for request in archive_server.requests] == [200, 410, 206]
    assert archive_server.requests[-1].range == "bytes=5000-"


def test_missing_file_goes_to_the_mirror_at_once(folder, archive_server, caplog):
    get(folder, archive_server.address("absent"), archive_server.serve(NAME, PAYLOAD))
    assert [request.status for request in archive_server.requests] == [404, 200]
    assert "404 Not Found; trying" in caplog.text


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_busy_server_is_tried_again(folder, archive_server, caplog, status):
    get(folder, archive_server.serve(NAME, PAYLOAD, answers=[(status, {"Retry-After": "0"})]))
    assert [request.status for request in archive_server.requests] == [status, 200]
    assert "retrying in 0.01 s" in caplog.text


def test_server_says_when_to_try_again(folder, archive_server, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    later = [(503, {"Retry-After": after}) for after in ("7", "900", "Wed, 21 Oct 2015 07:28:00 GMT")]
    fetch_archive(archive(archive_server.serve(NAME, PAYLOAD, answers=later)), folder)
    assert pauses == [7, 2, 4]


def test_server_without_ranges_starts_over(folder, archive_server):
    part(folder).write_bytes(PAYLOAD[:5000])
    get(folder, archive_server.serve(NAME, PAYLOAD, ranges=False))
    assert [(request.range, request.status) for request in archive_server.requests] == [("bytes=5000-", 200)]


def test_cut_is_noticed_where_no_length_is_known(folder, archive_server, caplog):
    get(folder, archive_server.serve(NAME, PAYLOAD, cuts=[MIB], chunked=True))
    assert [request.status for request in archive_server.requests] == [200, 206]
    assert "connection was cut after" in caplog.text
    assert f"Fetching {NAME} from" in caplog.text


def test_server_may_start_earlier_than_asked(folder, archive_server):
    part(folder).write_bytes(PAYLOAD[:5000])
    get(folder, archive_server.serve(NAME, PAYLOAD, earlier=700))
    assert archive_server.requests[0].sent == len(PAYLOAD) - 4300


@pytest.mark.parametrize("content_range", ["bytes 9000-2999999/3000000", "bytes 5000-", None])
def test_unusable_range_starts_over(folder, archive_server, content_range):
    part(folder).write_bytes(PAYLOAD[:5000])
    headers = {"Content-Range": content_range} if content_range else {}
    get(folder, archive_server.serve(NAME, PAYLOAD, answers=[(206, headers)]))
    assert [request.range for request in archive_server.requests] == ["bytes=5000-", None]


def test_complete_part_is_not_fetched_again(folder, archive_server):
    part(folder).write_bytes(PAYLOAD)
    get(folder, archive_server.serve(NAME, PAYLOAD))
    assert [(request.status, request.sent) for request in archive_server.requests] == [(416, 0)]


@pytest.mark.parametrize("stale", [OTHER, PAYLOAD + b"more"])
def test_part_of_another_file_that_is_as_long_or_longer_starts_over(folder, archive_server, stale):
    part(folder).write_bytes(stale)
    get(folder, archive_server.serve(NAME, PAYLOAD))
    assert [request.status for request in archive_server.requests] == [416, 200]


def test_416_to_a_request_without_range_is_a_failure(folder, archive_server):
    with pytest.raises(VocSegError, match=r"416 .*Range Not Satisfiable"):
        get(folder, archive_server.serve(NAME, PAYLOAD, answers=[(416, {})]))


def test_web_page_does_not_overwrite_received_bytes(folder, archive_server):
    part(folder).write_bytes(PAYLOAD[:5000])
    login = archive_server.serve("login", PAYLOAD, answers=[(200, {"Content-Type": "text/html; charset=utf-8"})])
    get(folder, login, archive_server.serve(NAME, PAYLOAD))
    assert archive_server.requests[-1].range == "bytes=5000-"


def test_slow_server_is_left_after_the_read_time_out(folder, archive_server, caplog):
    get(folder, archive_server.serve(NAME, PAYLOAD, pauses=[1]))
    assert "nothing came for 0.2 s after 1." in caplog.text
    assert archive_server.requests[1].range.startswith("bytes=1")


def test_server_that_never_answers_goes_to_the_mirror(folder, archive_server, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        get(folder, f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}", archive_server.serve(NAME, PAYLOAD))
    assert "no answer within 0.2 s (3 attempts); trying" in caplog.text


def test_refused_connection_goes_to_the_mirror(folder, archive_server, caplog):
    get(folder, f"http://127.0.0.1:{refused_port()}/{NAME}", archive_server.serve(NAME, PAYLOAD))
    assert "connection failed: Connection refused (3 attempts); trying" in caplog.text


def test_file_over_https(folder, tls_archive_server):
    get(folder, tls_archive_server.serve(NAME, PAYLOAD, cuts=[MIB]))
    assert len(tls_archive_server.requests) == 2


@pytest.mark.parametrize(("code", "attempts"), [(socket.EAI_NONAME, ""), (socket.EAI_AGAIN, r" \(3 attempts\)")])
def test_a_host_that_does_not_exist_is_not_tried_again(folder, archive_server, monkeypatch, caplog, code, attempts):
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **options):
        if host == "nowhere.invalid":
            raise socket.gaierror(code, "no such name")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    get(folder, f"http://nowhere.invalid/{NAME}", archive_server.serve(NAME, PAYLOAD))
    assert re.search(rf"connection failed: no such name{attempts}; trying", caplog.text)


def test_unknown_certificate_is_refused_at_once(folder, tls_archive_server, archive_server, monkeypatch, caplog):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    get(folder, tls_archive_server.serve(NAME, PAYLOAD), archive_server.serve(NAME, PAYLOAD))
    assert tls_archive_server.requests == []
    assert "its TLS certificate is refused: " in caplog.text
    assert "retrying" not in caplog.text


def test_redirect_from_https_to_http_is_refused(folder, tls_archive_server, archive_server):
    plain = archive_server.serve(NAME, PAYLOAD)
    address = tls_archive_server.serve("moved", b"", answers=[(302, {"Location": plain})])
    with pytest.raises(VocSegError, match="redirects from https to http, which is refused"):
        get(folder, address)
    assert archive_server.requests == []


@pytest.mark.parametrize("location", ["/" + NAME, None])
def test_other_redirects_are_followed(folder, tls_archive_server, archive_server, location):
    target = tls_archive_server.serve(NAME, PAYLOAD)
    server = tls_archive_server if location else archive_server
    get(folder, server.serve("moved", b"", answers=[(301, {"Location": location or target})]))


def test_too_little_room_is_said_before_anything_arrives(folder, archive_server, monkeypatch):
    part(folder).write_bytes(PAYLOAD[:1_000_000])
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_900_000))
    with pytest.raises(VocSegError, match=rf"2\.0 MB more in {folder}, where 1\.9 MB are free"):
        get(folder, archive_server.serve(NAME, PAYLOAD))
    assert part(folder).read_bytes() == PAYLOAD[:1_000_000]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    get(folder, archive_server.serve(NAME, PAYLOAD))


def test_part_that_cannot_be_written_is_named(folder, archive_server):
    part(folder).mkdir()
    with pytest.raises(VocSegError, match=f"{part(folder)} could not be written"):
        get(folder, archive_server.serve(NAME, PAYLOAD))


def test_two_processes_fetch_once(folder, archive_server):
    address = archive_server.serve(NAME, PAYLOAD, pauses=[0.7])
    script = (
        "import logging, sys\nfrom pathlib import Path\nfrom voc_seg.download.archives import *\n"
        "logging.basicConfig(level='INFO')\nfolder = Path(sys.argv[1])\n"
        "with download_lock(folder):\n"
        "    path = fetch_archive(Archive(sys.argv[2], sys.argv[3], (sys.argv[4],)), folder)\n"
        "    assert path.stat().st_size == 3_000_000\n"
    )
    command = [sys.executable, "-c", script, str(folder), NAME, md5(PAYLOAD), address]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    logs = [run.communicate(timeout=30)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], logs
    assert [request.sent for request in archive_server.requests] == [len(PAYLOAD)]
    assert sorted(f"Another process is fetching into {folder}" in log for log in logs) == [False, True]
    assert (folder / NAME).read_bytes() == PAYLOAD


def test_lock_makes_its_folder_and_errors_pass_through(tmp_path):
    with pytest.raises(OSError, match="mine"), download_lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        raise OSError("mine")
    with download_lock(tmp_path / "a" / "b"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(VocSegError, match=r"file.* cannot be written to.*voc_root"), download_lock(tmp_path / "file"):
        pass


def test_given_file_is_used_where_it_is(folder, tmp_path):
    given = tmp_path / "under another name"
    given.write_bytes(PAYLOAD)
    assert fetch_archive(archive(), folder, given) == given
    assert list(folder.iterdir()) == []


def test_given_folder_is_looked_into(folder, tmp_path):
    assert given_archive(archive(), tmp_path) is None
    (tmp_path / NAME).write_bytes(PAYLOAD)
    assert fetch_archive(archive(), folder, tmp_path) == tmp_path / NAME
    (tmp_path / NAME).write_bytes(OTHER)
    with pytest.raises(VocSegError, match=f"{tmp_path / NAME} is not .*{md5(OTHER)}, not {md5(PAYLOAD)}.*delete it"):
        fetch_archive(archive(), folder, tmp_path)


def test_given_file_that_is_another_one_is_left_to_the_caller(folder, tmp_path, archive_server):
    given = tmp_path / "other.tar"
    given.write_bytes(OTHER)
    assert given_archive(archive(), given) is None
    assert fetch_archive(archive(archive_server.serve(NAME, PAYLOAD)), folder, given) == folder / NAME


def test_given_path_that_is_not_there(folder, tmp_path):
    with pytest.raises(VocSegError, match=f"voc_archive is {tmp_path / 'absent'}, which does not exist"):
        fetch_archive(archive(), folder, tmp_path / "absent")


def test_file_of_the_right_name_and_wrong_content_is_not_touched(folder, archive_server):
    (folder / NAME).write_bytes(OTHER)
    with pytest.raises(VocSegError, match=f"{md5(OTHER)}, not {md5(PAYLOAD)}.*delete it and run again"):
        fetch_archive(archive(archive_server.serve(NAME, PAYLOAD)), folder)
    assert (folder / NAME).read_bytes() == OTHER
    assert archive_server.requests == []


def test_a_server_that_trickles_is_left(folder, archive_server, caplog):
    archive_server.serve("slow", PAYLOAD, trickle=True)
    good = archive_server.serve("good", PAYLOAD)
    path = fetch_archive(archive(archive_server.address("slow"), good), folder, policy=replace(QUICK, attempts=1))
    assert path.read_bytes() == PAYLOAD
    assert "less than 200 bytes came in 0.2 s" in caplog.text


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_pipe_as_given_archive_is_refused(tmp_path, in_folder):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(VocSegError, match="not a regular file"):
        given_archive(archive(), tmp_path if in_folder else tmp_path / NAME)


@pytest.mark.parametrize("length", [10**15, len(PAYLOAD) + 1])
def test_a_length_that_cannot_be_right_goes_to_the_mirror(folder, archive_server, length):
    part(folder).write_bytes(PAYLOAD[:5000])
    wrong = archive_server.serve("wrong", b"", answers=[(200, {"Content-Length": str(length)})])
    good = archive_server.serve(NAME, PAYLOAD)
    fetch_archive(replace(archive(wrong, good), size=len(PAYLOAD)), folder, policy=QUICK)
    assert [request.range for request in archive_server.requests] == ["bytes=5000-"] * 2


def test_an_absurd_length_is_no_lack_of_room(folder, archive_server):
    wrong = archive_server.serve("wrong", b"", answers=[(206, {"Content-Range": f"bytes 0-9/{10**15}"})])
    part(folder).write_bytes(PAYLOAD[:5000])
    get(folder, wrong, archive_server.serve(NAME, PAYLOAD))
    assert archive_server.requests[-1].range == "bytes=5000-"


def test_a_web_page_by_content_does_not_overwrite_received_bytes(folder, archive_server):
    part(folder).write_bytes(PAYLOAD[:5000])
    login = archive_server.serve("login", b"\n<!DOCTYPE html><p>Log in", ranges=False)
    get(folder, login, archive_server.serve(NAME, PAYLOAD))
    assert [request.range for request in archive_server.requests] == ["bytes=5000-"] * 2


def test_a_body_longer_than_declared_is_left(folder, archive_server):
    endless = archive_server.serve("endless", OTHER * 2, chunked=True)
    with pytest.raises(VocSegError, match="sends more than 3000000 bytes"):
        fetch_archive(replace(archive(endless), size=len(PAYLOAD)), folder, policy=QUICK)
    assert len(archive_server.requests) == 1
    assert list(folder.iterdir()) == []


def test_bytes_beyond_the_archive_are_not_read(folder, archive_server):
    longer = archive_server.serve("longer", PAYLOAD * 2, chunked=True)
    assert fetch_archive(replace(archive(longer), size=len(PAYLOAD)), folder, policy=QUICK).read_bytes() == PAYLOAD
