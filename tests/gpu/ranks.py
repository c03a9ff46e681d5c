"""One rank of a training on GPUs, or the only process.

    python ranks.py FOLDER BACKEND JOBS [STEP]

The folder holds the stores; the jobs, as JSON, are arguments of ``ranks_at_work.work``. With gloo all ranks compute on
the first GPU, which NCCL refuses; with nccl each has its own. Rank 1 kills itself at the given step.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from voc_seg.engine import runtime, training
from voc_seg.engine.distributed import destroy_process_group, init_process_group, rank
from voc_seg.system.torchrun import process_info

sys.path.append(str(Path(__file__).parents[1]))
import ranks_at_work
from narrow import narrow_resnet18

TIMEOUT = 60


def die_at(wanted: int) -> None:
    """Kill rank 1 before a step."""
    step, done = training.train_step, 0

    def deadly(*given: Any) -> torch.Tensor:
        nonlocal done
        if done == wanted and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return step(*given)

    training.train_step = deadly


def main(folder: Path, backend: str, jobs: list[dict[str, Any]], killed_at: int | None) -> None:
    device = torch.device("cuda", process_info().local_rank if backend == "nccl" else 0)
    runtime._choose_device = lambda name: device
    init_process_group(device if backend == "nccl" else torch.device("cpu"), TIMEOUT)
    narrow_resnet18(pytest.MonkeyPatch())
    if killed_at is None:
        ranks_at_work.in_float64(setattr)
    else:
        die_at(killed_at)
    for job in jobs:
        ranks_at_work.work(folder, **job)
    destroy_process_group()


if __name__ == "__main__":
    given, backend_name, todo, *more = sys.argv[1:]
    main(Path(given), backend_name, json.loads(todo), int(more[0]) if more else None)
