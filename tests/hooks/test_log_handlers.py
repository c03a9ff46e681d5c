"""Log handlers that cannot write."""

import errno
import io
import logging
import logging.handlers
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.logging import RichHandler

from voc_seg.hooks.log_handlers import open_log_files


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., logging.Logger]]:
    """Give the root logger only these handlers; pytest adds its own when a test starts."""

    def only(*handlers: logging.Handler) -> logging.Logger:
        root = logging.getLogger()
        monkeypatch.setattr(root, "handlers", list(handlers))
        open_log_files()
        return root

    yield only
    monkeypatch.undo()


def test_a_full_disk_under_the_log_file_gives_one_warning(
    root: Callable[..., logging.Logger], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = logging.FileHandler(tmp_path / "a.log", delay=True), io.StringIO()
    console = logging.StreamHandler(output)
    log = root(file, console)
    file.stream = FullDisk()
    for number in range(3):
        log.error("message %d", number)
    lines = output.getvalue().splitlines()
    assert [line for line in lines if "message" in line] == ["message 0", "message 1", "message 2"]
    assert [line for line in lines if "No space left on device" in line and str(tmp_path / "a.log") in line]
    assert len(lines) == 4
    assert log.handlers == [console]
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_the_full_device_as_a_log_file(root: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str]) -> None:
    output = io.StringIO()
    console = logging.StreamHandler(output)
    log = root(logging.handlers.RotatingFileHandler("/dev/full", maxBytes=10_000, delay=True), console)
    log.error("first")
    log.error("second")
    assert len(output.getvalue().splitlines()) == 3
    assert output.getvalue().count("No space left on device") == 1
    assert log.handlers == [console]
    assert capsys.readouterr().err == ""


def test_a_linked_folder_of_logs_is_created_where_the_link_leads(
    root: Callable[..., logging.Logger], tmp_path: Path
) -> None:
    (tmp_path / "logs").symlink_to(tmp_path / "disk" / "logs")
    file = logging.FileHandler(tmp_path / "logs" / "a.log", delay=True)
    root(file).error("first")
    file.close()
    assert (tmp_path / "disk/logs/a.log").read_text() == "first\n"


def test_a_console_that_is_gone_leaves_the_file(root: Callable[..., logging.Logger], tmp_path: Path) -> None:
    file = logging.FileHandler(tmp_path / "a.log")
    log = root(file, logging.StreamHandler(FullDisk()))
    log.error("first")
    log.error("second")
    file.close()
    assert log.handlers == [file]
    assert (tmp_path / "a.log").read_text().count("Could not write to the console") == 1
    assert "second" in (tmp_path / "a.log").read_text()


def test_a_message_that_does_not_fit_its_arguments_is_still_shown(
    root: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    console = logging.StreamHandler(io.StringIO())
    log = root(console)
    log.error("%d", "text")
    assert "TypeError" in capsys.readouterr().err
    assert log.handlers == [console]


def test_what_a_name_holds_gives_the_terminal_no_orders(root: Callable[..., logging.Logger]) -> None:
    output = io.StringIO()
    root(logging.StreamHandler(output)).warning("rejected: %s\n\tand more", "a\x1b]0;owned\x07\r\u202e\udcff.jpg")
    assert output.getvalue() == "rejected: a\\x1b]0;owned\\x07\\r\\u202e\\udcff.jpg\n\tand more\n"


def test_brackets_in_a_name_are_no_style(
    root: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside a project, as in a notebook elsewhere, Kedro's console reads them as one."""
    said = io.StringIO()
    log = root(RichHandler(console=Console(file=said, width=80), markup=True))
    log.warning("classes [b](c), [/x]")
    assert "classes [b](c), [/x]" in said.getvalue()
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_pipe_that_nobody_reads_is_no_log_file(root: Callable[..., logging.Logger], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")
    output = io.StringIO()
    log = root(logging.FileHandler(tmp_path / "a.log", delay=True), logging.StreamHandler(output))
    assert len(log.handlers) == 1
    assert "No log file: " in output.getvalue()


def test_a_reader_that_has_gone_ends_no_run() -> None:
    """As in ``kedro run | head``, where rich would end the process."""
    script = (
        "import logging, os; from rich.logging import RichHandler;"
        "from voc_seg.hooks.log_handlers import open_log_files;"
        "logging.getLogger().addHandler(RichHandler()); open_log_files();"
        "[logging.getLogger('a').warning('line') for _ in range(3)]; os.write(2, b'came to its end')"
    )
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert run.returncode == 0
    assert run.stderr.endswith("came to its end")


@pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")
def test_without_standard_output_nothing_is_said() -> None:
    script = (
        "import os; os.close(1); os.execv(os.sys.executable, [os.sys.executable, '-c', '''"
        "import logging; from rich.logging import RichHandler;"
        "from voc_seg.hooks.log_handlers import open_log_files;"
        "logging.getLogger().addHandler(RichHandler()); open_log_files(); logging.getLogger().warning(1)''' ])"
    )
    run = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(("terminal", "lines"), [(False, 3), (True, 6)])
def test_messages_are_broken_into_lines_on_terminals_alone(
    root: Callable[..., logging.Logger], terminal: bool, lines: int
) -> None:
    said = io.StringIO()
    console = Console(file=said, force_terminal=terminal, width=80, color_system=None)
    log = root(RichHandler(console=console, show_path=False, log_time_format="%H:%M", rich_tracebacks=True))
    log.warning("%s\n%s", "first " * 20, "second " * 20)
    log.warning("third")
    written = said.getvalue().splitlines()
    assert len(written) == lines
    if not terminal:
        assert written[0][5:] == " WARNING  " + "first " * 20
        assert written[1] == " " * 15 + "second " * 20
        assert written[2].endswith(" WARNING  third")
    try:
        raise ValueError("deep down")
    except ValueError:
        log.exception("a traceback")
    assert "Traceback (most recent call last)" in said.getvalue()
    assert "ValueError: deep down" in said.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_nobody_takes_leaves_the_exit_code(stream: str) -> None:
    """As of a progress bar or a printed command after the terminal is gone: no message follows that would notice."""
    script = (
        "import sys; from voc_seg.hooks.log_handlers import open_log_files; open_log_files(); "
        f"sys.{stream}.write('half a line'); sys.exit(129)"
    )
    reader, writer = os.pipe()
    os.close(reader)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", script], env=variables, **{stream: writer})
    os.close(writer)
    assert done.returncode == 129
