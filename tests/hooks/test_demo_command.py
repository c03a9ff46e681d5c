"""``kedro demo`` serves the page of a run until Ctrl+C."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project

from voc_seg.datasets import FilesDataset
from voc_seg.hooks.demo_command import demo_folder
from voc_seg.system.errors import VocSegError


@pytest.fixture
def project(tmp_path: Path, make_project: Callable[[Path], Path]) -> Path:
    folder = make_project(tmp_path / "a project")
    bootstrap_project(folder)
    return folder


def test_the_page_of_a_run_is_found(project: Path) -> None:
    with pytest.raises(VocSegError, match=r"There is no page at .*demo\. Make it with: kedro run --pipelines export"):
        demo_folder(project, None, {})
    for run, path in (({}, "data"), ({"run": "a"}, "data/runs/a")):
        FilesDataset(filepath=str(project / path / "06_models/export/demo")).save({"index.html": b"page"})
        assert demo_folder(project, None, run).resolve() == project / path / "06_models/export/demo"


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl+C there")
def test_the_page_is_served_until_it_is_interrupted(project: Path) -> None:
    FilesDataset(filepath=str(project / "data/runs/a/06_models/export/demo")).save({"index.html": b"page"})
    command = [sys.executable, "-m", "kedro", "demo", "--no-browser", "--params", "run=a"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        line = next(line for line in process.stdout if "http" in line)
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", line)
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == b"page"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stdout.read()
