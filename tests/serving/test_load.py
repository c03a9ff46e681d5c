"""The server under load: batches, a bounded queue, time-outs, clients that disconnect, tokens, and stopping."""

import io
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from voc_seg.system.errors import NoMemoryError, VocSegError

IMAGES = ThreadPoolExecutor(16)


def image(value: int, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def send(server: Any, value: int, side: int = 8, **options: Any) -> "Future[httpx.Response]":
    return IMAGES.submit(server.predict, image(value, side), **options)


def value_of(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    (value,) = np.unique(np.asarray(Image.open(io.BytesIO(answer.content)))).tolist()
    return value


def test_images_of_one_size_are_segmented_together(start: Callable[..., Any], gated: Any) -> None:
    server = start(gated, batch_wait=0)
    first = send(server, 0, 4)
    server.wait_for("voc_seg_batch_size_count", 1)
    others = [send(server, value, 8 if value % 2 else 16) for value in range(1, 13)]
    server.wait_for("voc_seg_queue_length", 12)
    gated.gate.set()
    assert [value_of(answer.result()) for answer in [first, *others]] == list(range(13))
    assert gated.batches[0] == 1
    assert sorted(gated.batches[1:]) == [2, 2, 4, 4]
    server.wait_for("voc_seg_batch_size_sum", 13)
    server.wait_for('voc_seg_requests_total{status="200"}', 13)
    server.wait_for("voc_seg_request_seconds_count", 13)


def test_an_image_waits_a_moment_for_others(start: Callable[..., Any], gated: Any) -> None:
    gated.gate.set()
    server = start(gated, batch_wait=600.0)  # longer than a client waits; a full batch does not
    answers = [send(server, value) for value in range(4)]
    assert [value_of(answer.result()) for answer in answers] == [0, 1, 2, 3]
    assert gated.batches == [4]


def test_a_full_queue_refuses_at_once(start: Callable[..., Any], gated: Any) -> None:
    server = start(gated, queue=3)
    accepted = [send(server, value) for value in range(3)]
    server.wait_for("voc_seg_requests_in_flight", 3)
    answer = server.predict(image(9))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["detail"].startswith("Too many requests are in progress")
    gated.gate.set()
    assert [value_of(answer.result()) for answer in accepted] == [0, 1, 2]
    assert value_of(server.predict(image(9))) == 9
    server.wait_for('voc_seg_requests_total{status="429"}', 1)


def test_a_late_image_is_answered_and_leaves_the_queue(start: Callable[..., Any], gated: Any) -> None:
    server = start(gated, timeout=1.0, batch_wait=0)
    first = send(server, 1)
    server.wait_for("voc_seg_batch_size_count", 1)
    second = send(server, 2)
    server.wait_for("voc_seg_queue_length", 1)
    assert [answer.result().status_code for answer in (first, second)] == [504, 504]
    server.wait_for("voc_seg_queue_length", 0)
    server.wait_for("voc_seg_requests_in_flight", 0)
    gated.gate.set()
    assert value_of(server.predict(image(3))) == 3
    assert gated.batches == [1, 1]  # the second was never segmented


def connect(server: Any, body: bytes, length: int) -> socket.socket:
    """A connection that has sent the head of a request, and a part of its body."""
    address = server.client.base_url
    found = socket.create_connection((address.host, address.port))
    headers = f"Host: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    found.sendall(f"POST /predict HTTP/1.1\r\n{headers}".encode() + body)
    return found


def multipart(content: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n"


def test_a_client_that_is_gone_leaves_the_queue(start: Callable[..., Any], gated: Any) -> None:
    server = start(gated, batch_wait=0)
    first = send(server, 1)
    server.wait_for("voc_seg_batch_size_count", 1)
    body = multipart(image(2))
    gone = connect(server, body, len(body))
    server.wait_for("voc_seg_queue_length", 1)
    gone.close()
    server.wait_for("voc_seg_queue_length", 0)
    server.wait_for('voc_seg_requests_total{status="499"}', 1)
    gated.gate.set()
    assert value_of(first.result()) == 1
    assert gated.batches == [1]


def test_clients_that_are_gone_while_uploading_take_no_room(start: Callable[..., Any], gated: Any) -> None:
    gated.gate.set()
    server = start(gated, queue=2)
    for _ in range(6):
        with connect(server, multipart(image(2))[:50], 5000):
            server.wait_for("voc_seg_requests_in_flight", 1)
        server.wait_for("voc_seg_requests_in_flight", 0)
    server.wait_for('voc_seg_requests_total{status="499"}', 6)
    assert value_of(server.predict(image(3))) == 3


def test_slow_uploads_end(start: Callable[..., Any], gated: Any) -> None:
    gated.gate.set()
    server = start(gated, timeout=0.5)
    with connect(server, multipart(image(2))[:50], 5000) as slow:
        answer = slow.recv(10_000).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert "connection: close" in answer.lower()
    assert value_of(server.predict(image(3))) == 3


def test_failures_of_the_network_end_only_their_requests(start: Callable[..., Any], gated: Any) -> None:
    gated.gate.set()
    gated.error = NoMemoryError("memory ran out in /home")
    server = start(gated)
    answer = server.predict(image(1))
    assert (answer.status_code, answer.json()["detail"]) == (503, "The server has too little memory for this image.")
    for other in (RuntimeError("a bug in /home"), VocSegError("a wrong setting in /home")):
        gated.error = other
        answer = server.predict(image(1))
        assert (answer.status_code, answer.json()["detail"]) == (500, "The server failed. Its log says why.")
    gated.error = None
    assert value_of(server.predict(image(1))) == 1
    server.wait_for('voc_seg_requests_total{status="500"}', 2)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic secret", "Bearer s\xe9cret", "secret"])
def test_other_tokens_are_refused(header: str | None, start: Callable[..., Any], gated: Any) -> None:
    gated.gate.set()
    server = start(gated, token="secret")
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    for answer in (server.predict(image(1), headers=headers), server.client.get("/metrics", headers=headers)):
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert server.client.get("/readyz").status_code == server.client.get("/healthz").status_code == 200
    right = {"Authorization": "Bearer secret"}
    assert value_of(server.predict(image(1), headers=right)) == 1
    server.wait_for('voc_seg_requests_total{status="401"}', 1, headers=right)


def test_large_images_are_decoded_a_few_at_a_time(start: Callable[..., Any], gated: Any) -> None:
    server = start(gated, max_pixels=64, batch_wait=0)
    answers = [send(server, value) for value in range(10)]
    server.wait_for("voc_seg_requests_in_flight", 10)
    time.sleep(0.2)
    assert sum(gated.batches) + server.metric("voc_seg_queue_length") == 4
    gated.gate.set()
    assert [value_of(answer.result()) for answer in answers] == list(range(10))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_whose_thread_has_ended_asks_to_be_restarted(
    start: Callable[..., Any], gated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_size(height: int, width: int) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(gated, "images_together", no_size)
    server = start(gated, timeout=0.5)
    assert server.predict(image(1)).status_code == 504
    answers = [server.client.get(path) for path in ("/healthz", "/readyz")]
    assert [answer.status_code for answer in answers] == [503, 503]


def test_a_stopping_server_still_answers_but_is_not_ready(start: Callable[..., Any], gated: Any) -> None:
    gated.gate.set()
    server = start(gated)
    server.admission.draining = True
    assert server.client.get("/readyz").status_code == 503
    assert server.client.get("/healthz").status_code == 200
    answer = server.predict(image(1))
    assert (value_of(answer), answer.headers["connection"]) == (1, "close")
