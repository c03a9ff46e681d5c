"""``voc-seg serve``: options, messages, and SIGTERM under load."""

import io
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from click.testing import CliRunner
from PIL import Image

import voc_seg
from voc_seg.api.predictor import Predictor
from voc_seg.serving import server as server_module
from voc_seg.serving.command import TOKEN, read_token, serve
from voc_seg.serving.limits import Admission
from voc_seg.serving.server import GracefulServer
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOC_CLASSES
from voc_seg.voc.pixel_format import RGB

NARROW = Path(__file__).parents[1] / "narrow.py"  # a program: voc-seg with a narrow network
CLIENTS = 8


@contextmanager
def serving(model_file: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, outside any project, and its address."""
    command = [sys.executable, NARROW, "serve", "--model", model_file, "--port", "0", "--device", "cpu",
               "--precision", "fp32", *options]  # fmt: skip
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, cwd=model_file.parent) as process:
        try:
            assert process.stderr
            for line in process.stderr:
                if found := re.search(r" on (http://[\d.]+:\d+) ", line):
                    yield process, found[1]
                    break
            else:
                raise AssertionError("the server has not started")
        finally:
            process.kill()


@pytest.mark.parametrize("balanced", [True, False], ids=["behind a load balancer", "alone"])
def test_sigterm_under_load_loses_no_accepted_request(
    balanced: bool, model_file: Path, model: Predictor, scene: Image.Image
) -> None:
    buffer = io.BytesIO()
    scene.resize((500, 375)).save(buffer, "PNG")
    expected = model.predict(buffer.getvalue()).mask
    answers: list[httpx.Response] = []
    refused: list[Exception] = []
    stopping = threading.Event()

    def use(address: str) -> None:
        with httpx.Client(timeout=30) as client:
            while not (refused or stopping.is_set()):
                try:
                    answers.append(client.post(f"{address}/predict", files={"image": buffer.getvalue()}))
                except httpx.TransportError as error:
                    refused.append(error)

    def balance(address: str) -> None:
        while httpx.get(f"{address}/readyz").status_code == 200:
            time.sleep(0.05)
        stopping.set()

    with serving(model_file, "--drain", "3" if balanced else "0") as (process, address):
        threads = [threading.Thread(target=use, args=(address,)) for _ in range(CLIENTS)]
        threads += [threading.Thread(target=balance, args=(address,))] if balanced else []
        for thread in threads:
            thread.start()
        while len(answers) < 2 * CLIENTS:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        at_signal = len(answers)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert process.wait(30) == 0
        log = process.stderr.read() if process.stderr else ""
    assert f"Stopped; requests accepted: {len(answers)}, unanswered: 0" in log
    assert "Traceback" not in log
    assert len(answers) > at_signal
    assert {answer.status_code for answer in answers} == {200}
    assert all(np.array_equal(np.asarray(Image.open(io.BytesIO(one.content))), expected) for one in answers)
    assert stopping.is_set() == balanced
    assert bool(refused) != balanced


def test_a_second_signal_skips_the_wait() -> None:
    admission = Admission(1)
    server = GracefulServer(uvicorn.Config("app"), admission, drain=60)
    server.handle_exit(signal.SIGTERM, None)
    assert (admission.draining, server.should_exit) == (True, False)
    server.handle_exit(signal.SIGINT, None)
    assert (server.should_exit, server.force_exit) == (True, False)
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [
        ("127.0.0.1", "", False),
        ("localhost", "", False),
        ("::1", "", False),
        ("0.0.0.0", "", True),
        ("0.0.0.0", "a", False),
    ],
)
def test_the_model_is_tried_before_the_port_opens_and_an_open_server_is_warned_of(
    host: str, token: str, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[tuple[int, ...]] = []

    class Broken(Predictor):
        classes, pixels = VOC_CLASSES, RGB

        def _segment(self, images: Sequence[np.ndarray], confidence: bool) -> list[tuple[np.ndarray, None]]:
            tried.append(images[0].shape)
            return [(np.zeros(image.shape[:2], np.uint8), None) for image in images]

    def no_port(host: str, port: int) -> None:
        assert tried, "the port opened too early"
        raise VocSegError("no port here")

    monkeypatch.setattr(voc_seg, "load", lambda *_: Broken.__new__(Broken), raising=False)
    monkeypatch.setattr(server_module, "_listen", no_port)
    with pytest.raises(VocSegError, match="no port here"):
        server_module.serve_model("m", "cpu", "fp32", server_module.ServerOptions(host, 0, token))
    assert ("Anyone who can reach" in caplog.text) == warned


def test_a_token_is_one_word_of_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert read_token(None) == ""
    monkeypatch.setenv(TOKEN, " from-environment\n")
    assert read_token(None) == "from-environment"
    path = tmp_path / "token"
    path.write_text("from-file\n")
    assert read_token(path) == "from-file"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", "n\u00f6".encode(), b"\xff"])
def test_other_tokens_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(VocSegError, match="The token in"):
        read_token(path)
    with pytest.raises(VocSegError, match="cannot be read"):
        read_token(tmp_path / "nothing")
    monkeypatch.setenv(TOKEN, "")
    with pytest.raises(VocSegError, match="must be one word"):
        read_token(None)


@pytest.mark.usefixtures("narrow_encoder")
def test_what_cannot_be_served_is_refused(model_file: Path, start: Callable, model: Predictor) -> None:
    def run(*options: object) -> str:
        found = CliRunner().invoke(serve, ["--device", "cpu", *map(str, options)])
        assert found.exit_code == 1, found.output
        return found.output

    assert "There is no file" in run("--model", "nothing.pth")
    assert "device = 'gpu'" in run("--model", model_file, "--device", "gpu")
    taken = start(model).client.base_url.port
    message = run("--model", model_file, "--port", taken)
    assert f"Error: The server cannot listen on port {taken} of 127.0.0.1: Address already in use. " in message
    assert "Choose others with --port and --host." in message


def test_the_command_is_one_of_the_project_too() -> None:
    from voc_seg.cli import cli

    assert cli.commands["serve"] is serve
    assert "--token-file" in CliRunner().invoke(cli, ["serve", "--help"]).output
