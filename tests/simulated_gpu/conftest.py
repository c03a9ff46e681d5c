"""Tests on a simulated GPU. They run in processes of their own, because torch registers a device for a whole process.

The tests that use the fixture ``gpu`` are collected as usual. When the first one of a file is to run, a second pytest
runs those of the file and hands its reports over. To debug them, run that pytest yourself:
``SIMULATED_GPU_REPORTS=/dev/null pytest tests/simulated_gpu``.
"""

import copy
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.datasets.model_file import read_state, write_state
from voc_seg.engine import runtime
from voc_seg.engine.run import EpochReport
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

HERE = Path(__file__).parent
REPORTS = "SIMULATED_GPU_REPORTS"
"""Environment variable of the second pytest: the file it appends its reports to."""
_finished: dict[str, dict[str, list[dict[str, Any]]]] = {}
"""Reports by file and test."""


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


building = _load(HERE / "building.py")
# Their home is beside the tests of the engine.
assert_same_state = _load(HERE.parent / "engine" / "conftest.py").assert_same_state


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Report what the second pytest said of this test."""
    if REPORTS in os.environ or "gpu" not in getattr(item, "fixturenames", ()) or HERE not in item.path.parents:
        return None
    if str(item.path) not in _finished:
        _finished[str(item.path)] = _run_file(item)
    hook, config = item.ihook, item.config
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _finished[str(item.path)][item.nodeid]:
        hook.pytest_runtest_logreport(report=config.hook.pytest_report_from_serializable(config=config, data=report))
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


class _HandOver:
    """In the second pytest: append every report to a file."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.config, self.path = config, path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        with self.path.open("a") as file:
            file.write(json.dumps(data) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Set up the second pytest."""
    if path := os.environ.get(REPORTS):
        config.pluginmanager.register(_HandOver(config, Path(path)))


def _run_file(item: pytest.Item) -> dict[str, list[dict[str, Any]]]:
    """Run the selected tests of a file in a second pytest; return their reports by test."""
    chosen = [other.nodeid for other in item.session.items if other.path == item.path and "gpu" in other.fixturenames]
    reports: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", *chosen],
            cwd=item.config.rootpath, env=environment | {REPORTS: str(path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for line in path.read_text().splitlines() if path.exists() else ():
            report = json.loads(line)
            if isinstance(report["longrepr"], list):  # of a skipped test; pytest has it as a tuple
                report["longrepr"] = tuple(report["longrepr"])
            reports[report["nodeid"]].append(report)
    for other in item.session.items:
        if other.nodeid in reports and not any(report["when"] == "teardown" for report in reports[other.nodeid]):
            reports[other.nodeid].append(_lost_report(other, done.stdout[-4000:] + done.stderr[-4000:]))
    return reports


def _lost_report(item: pytest.Item, output: str) -> dict[str, Any]:
    """The report of a test that the second pytest did not finish."""
    call = pytest.CallInfo.from_call(lambda: pytest.fail(f"its process has ended:\n{output}", pytrace=False), "call")
    report = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return item.config.hook.pytest_report_to_serializable(config=item.config, report=report)


@pytest.fixture(scope="session")
def compiled() -> None:
    """The simulated GPU is there."""
    if obstacle := building.obstacle():
        pytest.skip(obstacle)
    building.build()


@pytest.fixture(scope="session")
def gpu(compiled: None) -> ModuleType:
    """The module ``simgpu``; its device type is known to torch."""
    return _load(HERE / "simgpu.py")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets every run that follows compute on a device."""

    def choose(device: str) -> None:
        monkeypatch.setattr(runtime, "_choose_device", lambda name: torch.device(device))

    return choose


@pytest.fixture
def fit_on(
    gpu: ModuleType,
    use: Callable[[str], None],
    train_store: SampleStore,
    val_store: SampleStore,
    make_parameters: Callable[..., Parameters],
    tmp_path: Path,
) -> Callable[..., list[EpochReport]]:
    """Trains on a device; reports are as they come back from files."""

    def keep(reports: Iterable[EpochReport]) -> list[EpochReport]:
        kept = []
        for report in reports:
            states = []
            for state in (report.checkpoint, report.best_model):
                write_state(tmp_path / "state.pth", state)
                states.append(read_state(tmp_path / "state.pth") if state else {})
            kept.append(EpochReport(*states, copy.deepcopy(report.history)))
        return kept

    def train(device: str, checkpoint: dict[str, Any] | None = None, **blocks: Any) -> list[EpochReport]:
        use(device)
        return keep(fit(train_store, val_store, CLASS_NAMES, make_parameters(**blocks), copy.deepcopy(checkpoint)))

    return train
