"""Two ranks with a simulated GPU each train as two ranks on the CPU do, to the bit."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voc_seg.config import Parameters
from voc_seg.samples.store import SampleStore, write_store

TRAINING = {"epochs": 1, "batch_size": 2}
JOBS: dict[str, dict[str, Any]] = {
    "plain": TRAINING,
    "batch norm over all ranks": {**TRAINING, "sync_batch_norm": True},
    "accumulation": {**TRAINING, "accumulation": 2, "ema_decay": 0.9, "frozen_stages": 2},
}


@pytest.fixture(scope="module")
def results(
    compiled: None,
    train_store: SampleStore,
    val_store: SampleStore,
    make_parameters: Callable[..., Parameters],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:
    """The results of each rank."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    shutil.copy(train_store.path, folder / "train.arrow")
    shutil.copy(val_store.path, folder / "val.arrow")
    known = list(train_store)
    write_store(folder / "twice.arrow", [*known, *(replace(sample, id=f"{sample.id}_again") for sample in known)])
    jobs = {
        name: make_parameters(model={"dropout": 0.0}, training=training).model_dump(mode="json")
        for name, training in JOBS.items()
    }
    script = str(Path(__file__).with_name("ranks.py"))
    ranks = [
        subprocess.Popen(
            [sys.executable, script, str(folder), str(rank), json.dumps(jobs)],
            env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outputs = [rank.communicate(timeout=120)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(outputs)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_step_of_two_ranks_waits_once_at_most(results: list[dict[str, Any]], job: str) -> None:
    assert all(rank[job]["waits"] <= 1 for rank in results), [rank[job]["waits"] for rank in results]


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_two_ranks_train_as_on_the_cpu(results: list[dict[str, Any]], job: str) -> None:
    for rank in results:
        assert rank[job]["gpu"] == rank[job]["cpu"]
    assert results[0][job]["gpu"]["history"] == results[1][job]["gpu"]["history"]
