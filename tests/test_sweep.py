"""A sweep from the command line: interrupted, resumed, with a failing run, and the final table."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from voc_seg.sweep.sweep import SweepOptions, run_sweep
from voc_seg.system.errors import VocSegError

SETTINGS = (
    "model.width=8,augmentation.crop_size=64,augmentation.scale=0.2 0.3,evaluation.scale=0.25,training.epochs=3,"
    "training.batch_size=2,training.validate_every=1,training.checkpoint.every_minutes=0.00001"
)
SWEEP = f"sweep --grid model.weights=null,missing.pth --pipelines training --jobs 2 --params '{SETTINGS}'"


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=8, val=2, test=1)


def start(project: Path, arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", *shlex.split(arguments)], cwd=project, text=True,
        env=os.environ | {"COLUMNS": "160"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_sweep_is_resumed_and_ends_with_a_table(project: Path) -> None:
    process = start(project, SWEEP)
    checkpoints = project / "data/runs/weights-null/06_models/checkpoints"
    while not any(checkpoints.glob("*.pth")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "weights-null: interrupted" in output
    assert "Run the same command again to resume." in output
    log = project / "data/runs/weights-null/run.log"
    assert "Resume with: kedro run --pipelines training --params 'run=weights-null," in log.read_text()
    assert not (project / "data/08_reporting/runs.csv").exists()

    process = start(project, SWEEP)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "Resuming from" in log.read_text()
    assert "weights-null: finished" in output
    assert "weights-missing.pth: model.weights: there is no file missing.pth." in " ".join(output.split())
    assert output.index("Runs by val mIoU") < output.index("Failed: 1.")
    assert json.loads((log.parent / "sweep.json").read_text())["finished"] == ["training"]
    table = pd.read_csv(project / "data/08_reporting/runs.csv")
    history = pd.read_csv(log.parent / "08_reporting/training_history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert table["run"].tolist() == ["weights-null"]
    assert table["epochs_done"].tolist() == [3]
    assert table["val_miou"].tolist() == [pytest.approx(history["val_miou"].max())]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            SweepOptions(("model.width=8,9",), "", ("training",), 1, "", None),
            r"width-9 are wrong; nothing has run.\n  model.wid",
        ),
        (
            SweepOptions(("seed=1",), "", ("trainig",), 1, "", None),
            "no pipeline trainig. There are: calibration, comparison",
        ),
        (SweepOptions(("seed=1",), "", ("data_processing",), 1, "", None), "Run it once before"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(project: Path, sweep: SweepOptions, message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        run_sweep(project, sweep)
    assert not list((project / "data/runs").glob("seed*"))
