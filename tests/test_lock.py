"""Locks, and runs that would spoil each other's outputs."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click import ClickException

from voc_seg.lock import hold


@contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    path.parent.mkdir(exist_ok=True)
    program = (
        f"from voc_seg.lock import hold; from pathlib import Path; f = hold(Path({str(path)!r})); print(); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield
        process.kill()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "a.lock"):
        assert hold(tmp_path / "a.lock") is None
    with hold(tmp_path / "a.lock") as file:
        assert not file.closed


def test_what_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hold(tmp_path / "nowhere" / "a.lock")


@pytest.mark.parametrize(
    ("pipeline", "lock", "remedy"),
    [
        ("training", "06_models/.training.lock", r"or put this run apart with --params run=NAME\. Nothing has run"),
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
    for _ in range(2):  # and each run lets go of it
        run_kedro(project, pipeline, training={"epochs": 1})
    hold(project / "data" / lock).close()


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=2, val=1, test=1)
