"""A file written by a thread is complete before anything that relies on it, and its errors are not lost."""

import subprocess
import sys
import threading

import pytest

from voc_seg.system.background import finish_writes, write_in_background


def test_finishing_waits_for_the_file() -> None:
    released, written = threading.Event(), []

    def write() -> None:
        released.wait()
        written.append(1)

    write_in_background(write)
    assert not written
    threading.Timer(0.1, released.set).start()
    finish_writes()
    assert written == [1]
    finish_writes()  # nothing left


def test_one_file_at_a_time_and_in_order() -> None:
    written: list[int] = []
    for number in range(5):
        write_in_background(lambda number=number: written.append(number))
    finish_writes()
    assert written == list(range(5))


@pytest.mark.parametrize("by", [finish_writes, lambda: write_in_background(lambda: None)])
def test_an_error_is_raised_once_by_the_next_call(by) -> None:
    def fail() -> None:
        raise OSError("disk full")

    write_in_background(fail)
    with pytest.raises(OSError, match="disk full"):
        by()
    finish_writes()


def test_the_process_ends_after_the_file(tmp_path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from voc_seg.system.background import write_in_background\n"
        "write_in_background(lambda: (time.sleep(0.3), Path(sys.argv[1]).write_text('all')))"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "file"], check=True)
    assert (tmp_path / "file").read_text() == "all"
