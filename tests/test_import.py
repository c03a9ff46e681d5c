"""Importing the package sets what must be set before torch is imported, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = (
    "import os, sys, voc_seg; "
    "print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "2000 None False"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None False"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE False"),
    ],
)
def test_threads_spin_briefly_unless_the_user_says_otherwise(given: dict[str, str], found: str) -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=variables | given, capture_output=True, text=True)
    assert done.stdout.strip() == found


WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("spin", os.environ.get("GOMP_SPINCOUNT"), flush=True)

sys.meta_path.insert(0, Watch())
from kedro.framework.cli import main
main()
"""


def test_it_is_set_before_a_run_imports_torch(make_project: Callable[[Path], Path], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCH, "run", "--pipelines", "sanity"]  # whose input is missing
    variables = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run(command, cwd=make_project(tmp_path), env=variables, capture_output=True)
    assert b"spin 2000" in done.stdout.splitlines()
