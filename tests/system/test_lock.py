"""Locks, and runs that would spoil each other's outputs."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click import ClickException

from voc_seg.download.archives import download_lock
from voc_seg.pipelines.training import nodes
from voc_seg.samples.paths import exclusive_writer
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@contextmanager
def held_elsewhere(path: Path) -> Iterator[bool]:
    """Whether another process gets the lock, which it then holds."""
    path.parent.mkdir(exist_ok=True)
    setup = "from pathlib import Path; from voc_seg.system import lock"
    program = f"{setup}; f = lock.acquire_lock(Path({str(path)!r})); print(f is not None)"
    command = [sys.executable, "-u", "-c", f"{program}; input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline() == "True\n"
        process.kill()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "a.lock"):
        assert acquire_lock(tmp_path / "a.lock") is None
    with acquire_lock(tmp_path / "a.lock") as file:
        assert not file.closed


def test_a_file_that_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        acquire_lock(tmp_path / "nowhere" / "a.lock")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize(("folder", "wanted"), [(0o2775, 0o664), (0o770, 0o660), (0o755, 0o600), (0o777, 0o666)])
def test_all_who_may_write_to_the_folder_may_lock_whatever_the_umask(tmp_path: Path, folder: int, wanted: int) -> None:
    tmp_path.chmod(folder)
    before = os.umask(0o077)
    try:
        with acquire_lock(tmp_path / "a.lock") as file:
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) | 0o004 == wanted | 0o004
    finally:
        os.umask(before)


def test_a_run_is_refused_where_its_lock_cannot_be_opened(project: Path, run_kedro: Callable) -> None:
    lock = project / "data/06_models/.training.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.unlink(missing_ok=True)
    lock.mkdir()  # refused to root as well, like another user's file
    message = r"06_models/\.training\.lock cannot be opened, so .*delete that file.*\(chmod g\+rw.* Nothing has run"
    try:
        with pytest.raises(ClickException, match=message):
            run_kedro(project, "training")
    finally:
        lock.rmdir()


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_a_file_system_without_locks_is_a_warning(
    project: Path, run_kedro: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", fail)
    monkeypatch.setattr("fcntl.flock", fail)
    run_kedro(project, "data_processing")
    assert "05_model_input is on a file system without locks" in caplog.text
    with exclusive_writer(project / "data/05_model_input/a.arrow"), download_lock(project / "data/01_raw/downloads"):
        assert "a.arrow is on a file system without locks" in caplog.text
        assert "downloads is on a file system without locks" in caplog.text


def test_a_store_is_not_written_where_its_lock_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / ".a.arrow.lock").mkdir()
    (tmp_path / ".lock").mkdir()
    message = r"Could not write .*a\.arrow: .*\.a\.arrow\.lock cannot be opened"
    with pytest.raises(VocSegError, match=message), exclusive_writer(tmp_path / "a.arrow"):
        pass
    with pytest.raises(VocSegError, match=r"The lock .*\.lock cannot be opened"), download_lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("pipeline", "lock", "remedy"),
    [
        (
            "training",
            "06_models/.training.lock",
            r"or give this run a name of its own with --params run=NAME\. Nothing has run",
        ),
        ("data_processing", "05_model_input/.data_processing.lock", "Wait for it to end and run again"),
    ],
)
def test_two_runs_do_not_write_the_same(
    project: Path, run_kedro: Callable, pipeline: str, lock: str, remedy: str
) -> None:
    with (
        held_elsewhere(project / "data" / lock),
        pytest.raises(ClickException, match=f"Another process is running {pipeline} into .*{remedy}"),
    ):
        run_kedro(project, pipeline)
    run_kedro(project, pipeline, training={"epochs": 1})
    with held_elsewhere(project / "data" / lock) as got_it:
        assert got_it, "the run has let go of it"


def test_others_may_pack_while_a_run_trains(
    project: Path, run_kedro: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = []

    def look(*_: object) -> Iterator[object]:
        for name in ("05_model_input/.data_processing.lock", "06_models/.training.lock"):
            with held_elsewhere(project / "data" / name) as got_it:
                locks.append(got_it)
        raise VocSegError("seen")

    monkeypatch.setattr(nodes, "fit", look)
    with pytest.raises(ClickException, match="seen"):
        run_kedro(project, "data_processing", "training")
    assert locks == [True, False]
    with held_elsewhere(project / "data/06_models/.training.lock") as got_it:
        assert got_it, "a run that fails lets go of it, too"


def test_a_run_that_is_refused_leaves_no_trace(project: Path, run_kedro: Callable) -> None:
    with pytest.raises(ClickException, match="Nothing has run"):
        run_kedro(project, "training", run="mistyped", model={"weights": "missing.pth"})
    assert not (project / "data/runs/mistyped").exists()


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=2, val=1, test=1)
