"""parallel_map: ordered results, and only a few held at a time."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from voc_seg.system import parallel
from voc_seg.system.parallel import parallel_map


def test_results_come_in_order() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(parallel_map(slow_first, range(50))) == [number * number for number in range(50)]
    assert list(parallel_map(slow_first, [])) == []


def test_it_runs_ahead_of_who_asks_by_a_few_only() -> None:
    started = []
    results = parallel_map(lambda number: started.append(number), range(1000))
    next(results)
    time.sleep(0.05)
    assert 2 <= len(started) < 50
    results.close()


def test_several_threads_work() -> None:
    names = set()

    def note(_: int) -> None:
        time.sleep(0.005)
        names.add(threading.current_thread().name)

    list(parallel_map(note, range(20)))
    assert len(names) == min(8, os.cpu_count() or 1)
    assert threading.current_thread().name not in names


def test_an_error_comes_out_and_ends_the_work() -> None:
    done = []

    def fail_at_3(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        done.append(number)
        return number

    results = parallel_map(fail_at_3, range(1000))
    with pytest.raises(ValueError, match="three"):
        list(results)
    assert len(done) < 100


STUCK = """
import sys, threading
from voc_seg.system.parallel import parallel_map

def work(number):
    if number == 3:
        print("stuck", flush=True)
        threading.Event().wait()
    return number

list(parallel_map(work, range(1000)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_while_a_thread_is_stuck(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "stuck\n"
            process.send_signal(number)
            assert process.wait(timeout=30) != 0
        finally:
            process.kill()


def test_an_interruption_that_another_thread_receives_ends_the_process() -> None:
    """As with a signal just before the main thread begins to wait: nothing wakes it up."""
    script = STUCK.replace("import sys", "import signal, time").replace(
        "        threading.Event()",
        "        time.sleep(0.5)\n"
        "        signal.pthread_kill(threading.get_ident(), signal.SIGINT)\n"
        "        threading.Event()",
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, capture_output=True).returncode != 0


def test_large_results_are_not_held_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_MAX_BYTES", 10)
    begun: list[int] = []
    results = parallel.parallel_map(lambda item: begun.append(item) or item, range(6), [4, 4, 4, 99, 1, 1])
    found = []
    for number, result in enumerate(results):
        found.append(result)
        assert number > 2 or 3 not in begun  # larger than the limit: it is held alone
        assert number > 3 or 4 not in begun
    assert found == list(range(6))
