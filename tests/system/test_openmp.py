"""OpenMP's threads spin briefly where the machine is busy, and as long as ever where it is not."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voc_seg.system import openmp
from voc_seg.system.openmp import limit_spinning


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this a machine with so many cores, where so many processes run when it is looked at."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is restored, whatever the test does
        monkeypatch.delenv(name)

    def make(cores: int, *running: int, allowed: int | None = None) -> None:
        looks = iter(running)
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(allowed or cores), raising=False)
        monkeypatch.setattr(openmp, "_running_processes", lambda: next(looks))

    return make


@pytest.mark.parametrize(
    ("cores", "running", "found"),
    [
        (2, [1], None),  # this process only
        (2, [2] * 5, "1000"),
        (2, [3, 2, 2, 2, 1], None),  # short tasks
        (8, [2] * 5, "1000"),  # one of eight threads would wait
        (1, [], None),  # one thread waits for nobody
    ],
)
def test_another_busy_process_shortens_it(
    machine: Callable[..., None], cores: int, running: list[int], found: str | None
) -> None:
    machine(cores, *running)
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == found


@pytest.mark.parametrize(("running", "found"), [([5] * 5, None), ([6] * 5, "1000")])
def test_cores_that_this_process_does_not_use_are_free_for_others(
    machine: Callable[..., None], running: list[int], found: str | None
) -> None:
    machine(8, *running, allowed=4)
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == found


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_has_set_stays(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(2, *[2] * 5)
    monkeypatch.setenv(name, "7")
    limit_spinning()
    assert {key: os.environ[key] for key in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if key in os.environ} == {name: "7"}


@pytest.mark.parametrize(
    ("text", "found"), [("0.52 0.58 0.59 3/389 12345\n", 3), ("", 0), ("0.1 0.2 0.3 many/389 1", 0)]
)
def test_processes_are_counted_where_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, found: int
) -> None:
    (tmp_path / "loadavg").write_text(text)
    monkeypatch.setattr(openmp, "Path", lambda path: tmp_path / "loadavg")
    assert openmp._running_processes() == found


WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "voc_seg.system.openmp"):
            print("importing", name, flush=True)

sys.meta_path.insert(0, Watch())
from kedro.framework.cli import main
main()
"""


def test_it_is_decided_before_a_run_imports_torch(make_project: Callable[[Path], Path], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCH, "run", "--pipelines", "sanity"]  # whose input is missing
    done = subprocess.run(command, cwd=make_project(tmp_path), capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("importing")]
    assert found == ["importing voc_seg.system.openmp", "importing torch"]
