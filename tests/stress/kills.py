"""Kill a training run at random moments, resume it each time, and compare it with an uninterrupted run.

python tests/stress/kills.py [--kills 50] [--seed 0]
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from project import SCRATCH, differences, forget_training, left_by, make_project

SETTINGS = (
    "model.width=8,augmentation.crop_size=64,augmentation.scale=0.2 0.3,evaluation.scale=0.25,training.batch_size=2,"
    "training.validate_every=2,training.ema_decay=0.9,training.checkpoint.every_epochs=2,training.epochs={epochs}"
)


def train(project: Path, epochs: int, more: str) -> subprocess.Popen:
    settings = SETTINGS.format(epochs=epochs) + more
    return subprocess.Popen(
        [sys.executable, "-m", "voc_seg", "--pipelines", "training", "--params", settings], cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def until_training(process: subprocess.Popen) -> None:
    """Read the output up to the start of training."""
    for line in process.stdout:
        if "Training on" in line:
            return
    raise SystemExit(f"it ended with {process.wait()} before training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="voc_seg_stress_") as temporary:
        project = make_project(Path(temporary) / "project", 24)
        started = time.monotonic()
        process = train(project, arguments.epochs, "")
        until_training(process)
        process.communicate()
        expected = left_by(project, arguments.epochs)
        say(f"undisturbed: {arguments.epochs} epochs, {expected['last']['step']} steps, {clock(started)}")
        forget_training(project)

        mid = project / "data/06_models/checkpoints/checkpoint_mid_epoch.pth"
        kills = early = within = 0
        while kills < arguments.kills:
            resume = ",training.resume=true" if any(project.glob("data/06_models/checkpoints/*.pth")) else ""
            process = train(project, arguments.epochs, f",training.checkpoint.every_minutes=0.01{resume}")
            if rng.random() < 0.1:  # some are killed before they train
                time.sleep(rng.uniform(0, 6))
                early += 1
            else:
                until_training(process)
                time.sleep(rng.uniform(0, 4))
            if process.poll() is not None:
                raise SystemExit(f"the run ended by itself after {kills} kills: give it more --epochs")
            process.kill()
            process.wait()
            kills += 1
            within += mid.exists()
        say(f"killed {kills} times, {early} of them while starting, {within} with a checkpoint within an epoch")
        process = train(project, arguments.epochs, ",training.resume=true")
        process.communicate()
        if process.returncode:
            raise SystemExit(f"the last run ended with {process.returncode}")
        wrong = differences(left_by(project, arguments.epochs), expected)
        partial = [path.name for path in project.rglob(f"*{SCRATCH}*")]
        say(f"differences to the undisturbed run: {wrong or 'none'}; half files: {partial or 'none'}; {clock(started)}")
        raise SystemExit(bool(wrong))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def clock(started: float) -> str:
    return f"{(time.monotonic() - started) / 60:.1f} min"


if __name__ == "__main__":
    main()
