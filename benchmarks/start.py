"""Start-up times: importing torch, help, data_processing on unchanged data, the first training step.

    python benchmarks/start.py --images-per-second N [--rounds 5] [--device auto]

Complete commands, one after another in every round, in a project whose data is processed (use kedro run before). Also
the overhead of an epoch: writing checkpoint, best model and history of the base network to a temporary folder of data/,
relative to the steps of 1,464 images at the given speed, which training.py measures.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from measuring import add_device, alternate, console, describe_machine, print_table, ratio

from voc_seg.config import ModelConfig, Parameters
from voc_seg.datasets.checkpoints import CheckpointsDataset
from voc_seg.datasets.model_file import ModelDataset
from voc_seg.engine.checkpoint import RunState, export_best_model, save_state
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.resuming import run_fingerprint
from voc_seg.models.registry import build_model
from voc_seg.voc.classes import CLASS_NAMES

# Ends the process after the first training step.
FIRST_STEP = """
import os, sys
import torch
from voc_seg.engine import training
real = training.train_step
def step(*args):
    real(*args)
    if args[3].asynchronous:
        torch.accelerator.synchronize()
    os._exit(0)
training.train_step = step
from kedro.framework.cli import main
sys.argv = ["kedro", "run", "--pipelines", "training", "--params", "runtime.device=" + sys.argv[1]]
main()
"""


def command(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def epoch_overhead(folder: Path, repeats: int) -> float:
    """Median seconds of writing the outputs of an epoch."""
    parameters = Parameters()
    model = build_model(ModelConfig(), len(CLASS_NAMES))
    optimizer = build_optimizer(model, parameters.training.optimizer)
    for parameter in model.parameters():  # momentum exists after the first step
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    about = run_fingerprint(CLASS_NAMES, parameters, {"source": "sample", "images": 1464})
    seconds = []
    for epoch in range(1, repeats + 1):
        state = RunState(epoch=epoch, history=[{"epoch": n, "train_loss": 0.5} for n in range(50)])
        started = time.perf_counter()
        CheckpointsDataset(filepath=str(folder)).save(save_state(model, None, optimizer, scaler, state, about))
        ModelDataset(filepath=str(folder / "best_model.pth")).save(export_best_model(model, about, epoch, 0.5))
        pd.DataFrame(state.history).to_csv(folder / "history.csv", index=False)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--images-per-second", type=float, required=True, help="training speed, to relate the overhead to an epoch"
    )
    add_device(parser)
    arguments = parser.parse_args()
    describe_machine(arguments.device)
    python = sys.executable
    kedro = (python, "-m", "kedro")
    sides = {
        "import torch": lambda: command(python, "-c", "import torch"),
        "kedro --help": lambda: command(*kedro, "--help"),
        "kedro run --pipelines data_processing": lambda: command(*kedro, "run", "--pipelines", "data_processing"),
        "to the first training step": lambda: command(python, "-c", FIRST_STEP, arguments.device),
    }
    seconds = alternate(sides, arguments.rounds)
    rows = [[name, statistics.median(found), 1 / ratio(found, seconds["import torch"])]
            for name, found in seconds.items()]  # fmt: skip
    print_table("Start", ["command", "seconds", "of import torch"], rows)
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_", dir="data/06_models") as folder:
        overhead = epoch_overhead(Path(folder), arguments.rounds)
    epoch = 1464 / arguments.images_per_second
    console.print(
        f"checkpoint, best model and history: {overhead:.2f} s, {100 * overhead / epoch:.2f} % of an epoch of 1,464 "
        f"images at {arguments.images_per_second} images/s", highlight=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
