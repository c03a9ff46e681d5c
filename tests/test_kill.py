"""Training in a process that is killed or interrupted: what it leaves, and that resuming gives the same run."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.framework.cli.utils import find_run_command
from kedro.framework.startup import bootstrap_project

pytestmark = pytest.mark.usefixtures("narrow_encoder")

SETTINGS = (
    "model.width=8,augmentation.crop_size=64,augmentation.scale=0.2 0.3,evaluation.scale=0.25,training.epochs=3,"
    "training.batch_size=2,training.validate_every=1,training.checkpoint.every_minutes=0.00001"
)
TIMES = ["images_per_second", "data_seconds", "epoch_seconds"]
NARROW = str(Path(__file__).with_name("narrow.py"))
SLOW_STEPS = f"""
import runpy, time
from voc_seg.engine import training

def slowly(*given, step=training.train_step):
    time.sleep(0.1)
    return step(*given)

training.train_step = slowly
runpy.run_path({NARROW!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    folder = prepare_project(train=12, val=2, test=1)
    (folder / "slow_steps.py").write_text(SLOW_STEPS)  # so that an epoch is not over before it is interrupted
    return folder


def run_here(project: Path, arguments: str) -> None:
    """Run the command in this process, which need not import PyTorch first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        bootstrap_project(project)
        find_run_command("voc_seg").main(shlex.split(arguments), standalone_mode=False)


def start(project: Path, arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "slow_steps.py", *shlex.split(arguments)], cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # checkpoints within an epoch are deleted at its end
        return 0


def wait_for(path: Path, process: subprocess.Popen) -> None:
    before = written(path)
    for _ in range(6000):
        if written(path) not in (0, before):
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    raise AssertionError(f"no {path} after two minutes")


def left_by(project: Path) -> dict[str, Any]:
    models = project / "data/06_models"
    history = pd.read_csv(project / "data/08_reporting/training_history.csv").drop(columns=TIMES)
    last = torch.load(models / "checkpoints/checkpoint_epoch_0003.pth", weights_only=True)
    best = torch.load(models / "best_model.pth", weights_only=True)
    return {"history": history, "last": last, "best": best, "files": sorted(path.name for path in models.rglob("*"))}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_asked_to_stop_and_resumed_it_is_the_undisturbed_run(project: Path) -> None:
    training = f"--pipelines training --params '{SETTINGS}'"
    run_here(project, training.replace("0.00001", "60"))
    expected = left_by(project)
    for path in (project / "data/06_models/checkpoints").iterdir():
        path.unlink()
    (project / "data/06_models/best_model.pth").unlink()

    middle = project / "data/06_models/checkpoints/checkpoint_mid_epoch.pth"
    process = start(project, training)
    wait_for(middle, process)
    process.kill()
    process.wait()
    assert middle.exists()

    # With a worker, which must neither die from the signal nor keep the process alive.
    process = start(project, f"--pipelines training --params '{SETTINGS},training.resume=true,runtime.workers=1'")
    wait_for(middle, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    text = " ".join(output.split())
    assert "SIGTERM: finishing this step and writing a checkpoint." in text
    log = (project / "logs/training.log").read_text(encoding="utf-8")
    command = log[log.rindex("Resume with: kedro run ") + len("Resume with: kedro run ") :].partition("\n")[0]
    assert "training.resume=true" in command

    run_here(project, command)
    found = left_by(project)
    pd.testing.assert_frame_equal(found["history"], expected["history"])
    assert found["files"] == expected["files"]
    for kind in ("last", "best"):
        for name, tensor in expected[kind]["model"].items():
            assert torch.equal(found[kind]["model"][name], tensor), (kind, name)
    momentum = expected["last"]["optimizer"]["state"]
    for number, state in found["last"]["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], momentum[number]["momentum_buffer"])


_BUSY = """
import ctypes, signal, time
from voc_seg.engine.interruption import Interruption

with Interruption() as interruption:
    print("ready", flush=True)
    while not interruption:
        time.sleep(0.01)
    print("noted", flush=True)
    while True:  # like a step of a large network, it blocks Python's signal handling
        ctypes.PyDLL(None).sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    "name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow), pytest.param("SIGHUP", marks=pytest.mark.slow)]
)
def test_a_second_signal_ends_at_once(name: str) -> None:
    number = signal.Signals[name]
    process = subprocess.Popen([sys.executable, "-c", _BUSY], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "noted\n"
    process.send_signal(number)
    assert process.wait(timeout=60) == -number  # 128 + number in a shell
    assert "Send it again to stop at once." in process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_a_terminal_that_is_gone(project: Path) -> None:
    """As when ssh disconnects: SIGHUP arrives, and writing to the terminal fails."""
    import pty

    settings = SETTINGS.replace("epochs=3", "epochs=500").replace("0.00001", "60")
    folder = project / "data/runs/terminal"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(project)
        arguments = ["--pipelines", "training", "--params", f"{settings},run=terminal"]
        os.execv(sys.executable, [sys.executable, NARROW, *arguments])
    output = b""
    while b"loss" not in output.rpartition(b"epoch")[2]:  # of the progress bar: training is running
        output += os.read(terminal, 65536)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    assert list((folder / "06_models/checkpoints").glob("checkpoint_*.pth"))
    log = (project / "logs/training.log").read_text()
    assert "A checkpoint has been written. Resume with:" in log
    assert "Traceback" not in log


def test_outside_training_the_command_comes_last(project: Path) -> None:
    """There is no checkpoint, but the pipeline can be run again from the node that was interrupted."""
    process = start(project, f"--pipelines sanity --params {shlex.quote(SETTINGS)}")
    try:
        lines = iter(process.stdout.readline, "")
        assert any("Overfitting" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        rest = list(lines)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert any("Interrupted by SIGTERM." in line for line in rest)
    assert any("overfit_sample was interrupted. To resume:" in line for line in rest)
    assert "Traceback" not in "".join(rest)
    command = shlex.split(rest[-1])
    assert command[:3] == ["kedro", "run", "--pipelines"] and "sanity" in command[3]
    assert command[4:6] == ["--from-nodes", "pick_sample"]  # its output is in memory only
