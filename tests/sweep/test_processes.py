"""Processes of a sweep, with small programs instead of runs."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from voc_seg.sweep import processes
from voc_seg.sweep.grid import Trial
from voc_seg.sweep.jobs import Job
from voc_seg.sweep.outcome import Outcome
from voc_seg.sweep.processes import job_command, run_jobs, threads_per_job
from voc_seg.sweep.records import Record, load_record
from voc_seg.system.lock import acquire_lock

LOGGING = "version: 1\nhandlers: {file: {filename: a.log}, console: {class: x}}\nroot: {handlers: [file, console]}\n"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run programs by name, ``max_parallel`` at a time."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/logging.yml").write_text(LOGGING)

    def run(max_parallel: int, **programs: str) -> Outcome:
        monkeypatch.setattr(processes, "job_command", lambda job, _: [sys.executable, "-c", programs[job.trial.name]])
        return run_jobs([job_of(tmp_path, name) for name in programs], tmp_path, None, max_parallel)

    return run


def job_of(project: Path, name: str, pipelines: tuple[str, ...] = ("training",)) -> Job:
    return Job(Trial(name, {"seed": "1"}), project / name, Record("base", {"seed": 1}), pipelines, 2)


def test_one_that_fails_does_not_stop_the_others(run: Callable[..., Outcome], tmp_path: Path) -> None:
    fails = "print('2026-01-01 10:00:00,000 ERROR   voc_seg.hooks: No room.\\n Make some.\\nMore'); raise SystemExit(3)"
    outcome = run(1, bad=fails, mute="raise SystemExit(1)", good="import os; print(os.environ['OMP_NUM_THREADS'])")
    assert outcome == Outcome(["good"], {"bad": "No room. Make some.", "mute": "exit code 1"}, [], [], None)
    assert (tmp_path / "good/run.log").read_text() == f"{threads_per_job(1)}\n"
    assert load_record(tmp_path / "good", Record("base", {"seed": 1})).finished == ["training"]
    assert load_record(tmp_path / "bad", Record("base", {"seed": 1})).finished == []


def test_one_that_was_killed_is_said_to_be(run: Callable[..., Outcome]) -> None:
    outcome = run(1, a="import os; print('At work', flush=True); os.kill(os.getpid(), 9)")
    assert outcome.failed == {"a": "ended by SIGKILL; if memory ran out, use fewer --jobs"}


def test_a_terminal_that_is_gone_does_not_stop_the_others(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left in the background when ssh disconnects, the sweep would end its runs."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    console = Console(file=Gone(), force_terminal=True)
    for module in ("rich.progress", "voc_seg.system.progress"):
        monkeypatch.setattr(f"{module}.get_console", lambda: console)
    assert run(1, a="", b="").finished == ["a", "b"]


def test_one_that_cannot_be_started_does_not_stop_the_others(run: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    outcome = run(2, a="", b="")
    assert outcome.finished == ["b"]
    assert "File exists" in outcome.failed["a"]


def test_the_folder_of_a_run_is_created_where_a_link_leads(run: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "disk" / "a")
    assert run(1, a="").finished == ["a"]
    assert (tmp_path / "disk/a/run.log").exists()


def test_runs_go_side_by_side(run: Callable[..., Outcome], tmp_path: Path) -> None:
    # Each waits for the other.
    program = (
        "import pathlib, time\npathlib.Path('{}').touch()\nwhile not pathlib.Path('{}').exists(): time.sleep(0.01)"
    )
    assert run(2, a=program.format("one", "two"), b=program.format("two", "one")).finished in (["a", "b"], ["b", "a"])


def test_a_signal_is_handed_on_once_and_nothing_more_is_started(run: Callable[..., Outcome], tmp_path: Path) -> None:
    waits = (
        "import signal, sys, time, pathlib\n"
        "def end(number, frame): print('asked'); sys.exit(130)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(60)"
    )

    def interrupt() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    outcome = run(1, first=waits, second="")
    assert outcome == Outcome([], {}, [], ["first", "second"], signal.SIGINT)
    assert (tmp_path / "first/run.log").read_text() == "asked\n"
    assert not (tmp_path / "second").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_of_the_terminal_do_not_reach_runs_by_themselves(run: Callable[..., Outcome], tmp_path: Path) -> None:
    run(1, a="import os; print(os.getpgrp())")
    assert int((tmp_path / "a/run.log").read_text()) != os.getpgrp()


def test_a_run_that_another_sweep_makes_is_left_to_it(run: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with acquire_lock(tmp_path / "a/.lock", with_children=True):
        assert run(1, a="", b="").running_elsewhere == ["a"]
    assert run(1, a="").finished == ["a"]


def test_a_run_that_a_killed_sweep_left_behind_is_left_to_itself(run: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with acquire_lock(tmp_path / "a/.lock", with_children=True) as lock:  # the sweep's
        left = subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=[lock.fileno()], stdin=subprocess.PIPE)
    assert run(1, a="").running_elsewhere == ["a"]
    left.communicate(b"\n")
    assert run(1, a="").finished == ["a"]


def test_a_run_that_another_sweep_has_made_meanwhile_is_not_made_again(run: Callable[..., Outcome]) -> None:
    assert run(1, a="print('once')").finished == ["a"]
    assert run(1, a="raise SystemExit(1)").finished == ["a"]


def test_each_run_has_its_own_log_and_no_console(run: Callable[..., Outcome], tmp_path: Path) -> None:
    run(1, a="import os; print(open(os.environ['KEDRO_LOGGING_CONFIG']).read())")
    output = (tmp_path / "a/run.log").read_text()
    assert f"filename: {tmp_path}/a/run.log" in output
    assert output.rstrip().endswith("root:\n  handlers:\n  - file")


def test_a_run_with_checkpoints_resumes_from_them(tmp_path: Path) -> None:
    job = job_of(tmp_path, "a", ("training", "evaluation"))
    assert job_command(job, None)[1:] == [
        "-m",
        "voc_seg",
        "--pipelines",
        "training,evaluation",
        "--params",
        "run=a,seed=1",
    ]
    (tmp_path / "a/06_models/checkpoints").mkdir(parents=True)
    (tmp_path / "a/06_models/checkpoints/checkpoint_epoch_0001.pth").touch()
    assert job_command(job, "voc2012")[5:] == ["--env", "voc2012", "--params", "run=a,seed=1,training.resume=true"]
    assert job_command(job_of(tmp_path, "a", ("evaluation",)), None)[-1] == "run=a,seed=1"


@pytest.mark.parametrize("name", ["checkpoint_epoch_0001_keep.pth", "mine.pth", "checkpoint_epoch_1.pth", "folder"])
def test_files_that_are_no_checkpoints_are_not_resumed_from(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a/06_models/checkpoints"
    folder.mkdir(parents=True)
    if name == "folder":
        (folder / "checkpoint_epoch_0001.pth").mkdir()
    else:
        (folder / name).touch()
    assert job_command(job_of(tmp_path, "a", ("training",)), None)[-1] == "run=a,seed=1"


def test_threads_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert [threads_per_job(jobs) for jobs in (1, 2, 3, 9)] == [8, 4, 2, 1]
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_per_job(1) >= 1
