"""A search with real trainings: a pruned trial, a killed one, the final table, and the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest

from voc_seg.sweep.study import default_storage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; signals of POSIX")
# As `kedro sweep`, with the narrow network in each run.
PROGRAM = """
import sys
from pathlib import Path
from kedro.framework.cli.cli import main
from voc_seg.sweep import processes
command = processes.job_command
def narrow_command(job, environment):
    python, _, _, *options = command(job, environment)  # python -m voc_seg
    return [python, NARROW, *options]
processes.job_command = narrow_command
sys.argv = ["kedro", *sys.argv[1:]]
main()
""".replace("NARROW", repr(str(Path(__file__).with_name("narrow.py"))))
SETTINGS = (
    "model.width=8,augmentation.crop_size=64,augmentation.scale=0.2 0.3,evaluation.scale=0.25,training.epochs=27,"
    "training.batch_size=4,training.validate_every=1"
)
SEARCH = (
    "sweep", "--trials", "3", "--search", "training.optimizer.learning_rate=log:1e-6..1e-1",
    "--search", "model.skips=choice:1,2", "--pipelines", "training", "--params", SETTINGS,
)  # fmt: skip


@pytest.fixture(scope="module")
def packed(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=8, val=2, test=1)


@pytest.fixture
def project(packed: Path) -> Path:
    for path in (packed / "data/sweeps.db", packed / "data/runs"):
        assert not path.exists() or path.rename(path.with_name(f"{path.name}.{time.time_ns()}"))
    return packed


def start(project: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=project, text=True,
        env=os.environ | {"COLUMNS": "160"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def trials_of(project: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="search", storage=default_storage(project)).trials


@pytest.mark.long
@pytest.mark.slow
def test_three_trials_of_which_one_is_pruned(project: Path) -> None:
    process = start(project, *SEARCH)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    trials = trials_of(project)
    assert sorted(trial.state.name for trial in trials)[-1] == "PRUNED", output
    for trial in trials:
        folder = project / "data/runs" / trial.user_attrs["run"]
        history = pd.read_csv(folder / "08_reporting/training_history.csv")
        assert any((folder / "06_models/checkpoints").glob("*.pth"))
        if trial.state.name == "PRUNED":
            assert 3 <= len(history) < 27
            assert "Resume with: kedro run --pipelines training --params" in (folder / "run.log").read_text()
            assert f"pruned    {folder.name}" in output
        else:
            assert trial.value == pytest.approx(history["val_miou"].max())
    assert output.index("Runs by val mIoU") < output.index("of 3 trials")
    assert "kedro run --pipelines evaluation --params run=trial-00" in " ".join(output.split())


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_search_is_resumed(project: Path) -> None:
    process = start(project, *SEARCH)
    checkpoints = project / "data/runs/trial-000/06_models/checkpoints"
    while not any(checkpoints.glob("*.pth")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    runs = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, runs)):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert [trial.state.name for trial in trials_of(project)] == ["RUNNING"]

    process = start(project, *SEARCH)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    trials = trials_of(project)
    assert [trial.state.name for trial in trials][:2] == ["FAIL", "COMPLETE"]
    assert trials[1].params == trials[0].params and trials[1].user_attrs["run"] == "trial-000"
    assert len(trials) == 4
    assert "Resuming from" in (project / "data/runs/trial-000/run.log").read_text()
    history = pd.read_csv(project / "data/runs/trial-000/08_reporting/training_history.csv")
    assert history["epoch"].tolist() == list(range(1, 28))

    process = start(project, *SEARCH)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0 and "3 trials, 0 left" in output and ": started" not in output, output


def test_mistakes_end_with_one_message(project: Path) -> None:
    process = start(project, "sweep", "--trials", "3", "--search", "seed=int:1..4", "--grid", "seed=1,2")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--grid seed=1,2 and --search seed=int:1..4 exclude each other" in " ".join(output.split())
    assert "Traceback" not in output
