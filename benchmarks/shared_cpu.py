"""Images/s of training on the CPU, alone and beside busy processes, by how long OpenMP's threads spin.

    python benchmarks/shared_cpu.py                 # 15 minutes; needs no data

A thread of OpenMP that has finished its part of an operation spins until the others have. If another process has the
core of one of them, it spins for nothing. Each figure is a process of its own, because OpenMP reads its variables once;
the settings take turns within a round.
"""

import argparse
import os
import statistics
import subprocess
import sys

from measuring import console, describe_machine, print_table

SETTINGS: dict[str, dict[str, str]] = {
    "default": {"GOMP_SPINCOUNT": "300000"},  # of libgomp; set, as importing voc_seg would choose otherwise
    "spin 100000": {"GOMP_SPINCOUNT": "100000"},
    "spin 30000": {"GOMP_SPINCOUNT": "30000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "spin 3000": {"GOMP_SPINCOUNT": "3000"},
    "spin 2000": {"GOMP_SPINCOUNT": "2000"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}

TRAIN = """
import sys, time
import torch
from voc_seg.config import ModelConfig, OptimizerConfig, RuntimeConfig
from voc_seg.engine.optimisation import build_optimizer, set_learning_rate
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import Batch

seconds, crop = float(sys.argv[1]), int(sys.argv[2])
runtime = choose_runtime(RuntimeConfig(device="cpu"))
model = build_model(ModelConfig(), 21).train()
optimizer = build_optimizer(model, OptimizerConfig())
set_learning_rate(optimizer, 0.006)
images = torch.randint(0, 256, (4, crop, crop, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
batch = Batch(images, torch.randint(0, 21, (4, crop, crop), dtype=torch.uint8), ("",) * 4, 0, 4)
with runtime.keep_freed_memory():
    for _ in range(2):
        train_step(model, optimizer, [batch], runtime)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        train_step(model, optimizer, [batch], runtime)
        steps += 1
    print(4 * steps / (time.perf_counter() - started))
"""


def images_per_second(setting: dict[str, str], busy: int, seconds: float, crop: int) -> float:
    """Train beside so many processes that never sleep."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        command = [sys.executable, "-c", TRAIN, str(seconds), str(crop)]
        done = subprocess.run(command, env=os.environ | setting, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--crop", type=int, default=96, help="side of the crops; the drawn sample has 96")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    arguments = parser.parse_args()
    describe_machine()
    for busy in range(3):
        found: dict[str, list[float]] = {name: [] for name in arguments.settings}
        for _ in range(arguments.rounds):
            for name in arguments.settings:
                found[name].append(images_per_second(SETTINGS[name], busy, arguments.seconds, arguments.crop))
        first = found[arguments.settings[0]]
        rows = [
            [name, statistics.median(values), f"{min(values):.3g} to {max(values):.3g}",
             statistics.median(value / other for value, other in zip(values, first))]
            for name, values in found.items()
        ]  # fmt: skip
        columns = ["OpenMP", "images/s", "range", f"relative to {arguments.settings[0]}"]
        print_table(f"beside {busy} busy processes", columns, rows)
        console.print()


if __name__ == "__main__":
    main()
