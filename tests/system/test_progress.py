"""Progress bars."""

import io

import pytest
from rich.console import Console

from voc_seg.system import progress
from voc_seg.system.progress import duration, progress_bar


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The text that a terminal of 80 columns receives."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    monkeypatch.setattr(progress, "get_console", lambda: console)
    monkeypatch.setattr("rich.progress.get_console", lambda: console)
    return text


def test_short_work_shows_nothing(screen: io.StringIO) -> None:
    with progress_bar("reading train", 3) as advance:
        advance(1)
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("unit", "total", "done", "shown"),
    [("images", 4, 0, "1/4"), ("bytes", 4000, 1000, "1.0/4.0 kB"), ("bytes", None, 0, "1/? bytes")],
)
def test_long_work_shows_a_bar(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, unit: str, total: int | None, done: int, shown: str
) -> None:
    monkeypatch.setattr(progress, "_DELAY_SECONDS", -1)
    with progress_bar("reading train", total, unit, done) as advance:
        advance(1)
    assert "reading train" in screen.getvalue()
    assert shown in screen.getvalue()


def test_nothing_where_the_console_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_DELAY_SECONDS", -1)
    text = io.StringIO()
    console = Console(file=text)
    monkeypatch.setattr(progress, "get_console", lambda: console)
    monkeypatch.setattr("rich.progress.get_console", lambda: console)
    with progress_bar("reading train", 3) as advance:
        advance(1)
    assert text.getvalue() == ""
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("unit", "total", "lines"),
    [
        ("images", 4000, ["reading train: 1,000 of 4,000 images", "reading train: 3,000 of 4,000 images"]),
        ("steps", 4000, ["reading train: 1,000 of 4,000 steps", "reading train: 3,000 of 4,000 steps"]),
        ("bytes", 4000, ["reading train: 1.0 kB of 4.0 kB", "reading train: 3.0 kB of 4.0 kB"]),
        ("bytes", None, ["reading train: 1.0 kB", "reading train: 3.0 kB"]),
    ],
)
def test_a_line_after_ten_seconds_and_then_one_a_minute_where_the_console_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unit: str, total: int | None, lines: list[str]
) -> None:
    monkeypatch.setattr(progress, "get_console", lambda: Console(file=io.StringIO()))
    clock = iter([0, 10, 69, 70])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with caplog.at_level("INFO"), progress_bar("reading train", total, unit) as advance:
        for _ in range(3):
            advance(1000)
    assert caplog.messages == lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (187, "3:07 min"),
        (3599.7, "1:00 h"),
        (7512, "2:05 h"),
        (90000, "25:00 h"),
    ],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
