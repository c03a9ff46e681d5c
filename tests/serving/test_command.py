"""``voc-seg serve``: options, messages, and SIGTERM under load."""

import io
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from voc_seg.predictor import Predictor
from voc_seg.serving.command import TOKEN, read_token, serve
from voc_seg.system.errors import VocSegError

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


def test_sigterm_under_load_loses_no_accepted_request(model_file: Path, model: Predictor, scene: Image.Image) -> None:
    buffer = io.BytesIO()
    scene.resize((500, 375)).save(buffer, "PNG")
    expected = model.predict(buffer.getvalue()).mask
    answers: list[httpx.Response] = []
    not_connected: list[Exception] = []
    ready: set[int] = set()

    def use(address: str) -> None:
        with httpx.Client(timeout=30) as client:
            while True:
                try:
                    answers.append(client.post(f"{address}/predict", files={"image": buffer.getvalue()}))
                except httpx.ConnectError as error:  # the server takes no more connections
                    not_connected.append(error)
                    return

    def look(address: str) -> None:
        while True:
            try:
                ready.add(httpx.get(f"{address}/readyz").status_code)
            except httpx.ConnectError:
                return
            time.sleep(0.05)

    with serving(model_file, "--drain", "0.8") as (process, address):
        threads = [threading.Thread(target=use, args=(address,)) for _ in range(CLIENTS)]
        threads.append(threading.Thread(target=look, args=(address,)))
        for thread in threads:
            thread.start()
        while len(answers) < 3 * CLIENTS:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        at_signal = len(answers)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert process.wait(20) == 0
        log = process.stderr.read() if process.stderr else ""
    assert len(not_connected) == CLIENTS, "a client lost a request that had been sent"
    assert len(answers) > at_signal + CLIENTS  # it accepts requests until load balancers know
    assert {answer.status_code for answer in answers} == {200}
    assert all(np.array_equal(np.asarray(Image.open(io.BytesIO(one.content))), expected) for one in answers)
    assert ready == {200, 503}
    assert f"Stopped; requests accepted: {len(answers)}, unanswered: 0" in log
    assert "Traceback" not in log


def test_a_second_signal_skips_the_wait(model_file: Path) -> None:
    with serving(model_file, "--drain", "60") as (process, _):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


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

    assert "does not exist" in run("--model", "nothing.pth")
    assert "device = 'gpu'" in run("--model", model_file, "--device", "gpu")
    taken = start(model).client.base_url.port
    message = run("--model", model_file, "--port", taken)
    assert f"Error: The server cannot listen on port {taken} of 127.0.0.1: Address already in use. " in message
    assert "Choose others with --port and --host." in message


def test_the_command_is_one_of_the_project_too() -> None:
    from voc_seg.cli import cli

    assert cli.commands["serve"] is serve
    assert "--token-file" in CliRunner().invoke(cli, ["serve", "--help"]).output
