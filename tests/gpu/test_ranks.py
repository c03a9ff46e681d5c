"""Two ranks: on one GPU over gloo, which copies through the CPU, and on a GPU each over NCCL."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from voc_seg.config import RuntimeConfig
from voc_seg.engine.runtime import choose_runtime
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.system.errors import VocSegError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

SETTINGS = {
    "augmentation": {"crop_size": 64, "scale": [0.8, 1.2]},
    "model": {"width": 8, "dropout": 0.3},
    "training": {"epochs": 2, "batch_size": 2, "sync_batch_norm": True},
    "evaluation": {"scale": 0.5},
    "runtime": {"precision": "fp32"},
}
PLAIN = {**SETTINGS, "training": {"epochs": 3, "batch_size": 2, "checkpoint": {"every_minutes": 1e-9}}}


@pytest.fixture(params=["gloo", "nccl"])
def backend(request: pytest.FixtureRequest) -> str:
    """Gloo with both ranks on one GPU, or NCCL with two GPUs."""
    if request.param == "nccl" and torch.cuda.device_count() < 2:
        pytest.skip("NCCL refuses two ranks on one GPU")
    if request.param == "nccl" and not torch.distributed.is_nccl_available():
        pytest.skip("this torch has no NCCL")
    return request.param


@pytest.fixture(scope="module")
def folder(scene_samples: list[Sample], val_store: SampleStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five training samples, so that the last batch of an epoch leaves a rank without a crop."""
    made: Path = tmp_path_factory.mktemp("ranks")
    write_store(made / "train.arrow", scene_samples)
    shutil.copy(val_store.path, made / "val.arrow")
    return made


def start(folder: Path, backend: str, ranks: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start this many ranks, as torchrun would; alone, a process belongs to no group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(ranks):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        variables = {name: str(value) for name, value in place.items()} if ranks > 1 else {}
        command = [sys.executable, str(Path(__file__).with_name("ranks.py")), str(folder), backend, *arguments]
        started.append(
            subprocess.Popen(
                command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    return started


def outputs(ranks: list[subprocess.Popen[str]]) -> list[str]:
    """What each printed, once all have ended."""
    try:
        return [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    """What one process on the GPU has trained."""
    (process,) = start(folder, "gloo", 1, json.dumps([{"name": "alone", "settings": SETTINGS}]))
    (output,) = outputs([process])
    assert process.returncode == 0, output
    return result(folder, "alone")


def result(folder: Path, name: str) -> dict[str, Any]:
    seen = json.loads((folder / f"{name}.json").read_text())
    return seen | {"state": torch.load(folder / f"{name}.pth", weights_only=True, map_location="cpu")}


def test_two_ranks_train_as_one_process(folder: Path, backend: str, alone: dict[str, Any]) -> None:
    """With batch norm over all ranks, in float64, so that the order of sums does not matter."""
    ranks = start(folder, backend, 2, json.dumps([{"name": backend, "settings": SETTINGS}]))
    output = "\n".join(outputs(ranks))
    assert [rank.returncode for rank in ranks] == [0, 0], output
    together = result(folder, backend)
    assert together["steps"] == alone["steps"]
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-9)
    assert together["pixels"] == alone["pixels"]
    for name, value in alone["state"]["model"].items():
        torch.testing.assert_close(together["state"]["model"][name], value, rtol=1e-6, atol=1e-9)


def test_a_killed_rank_ends_the_other(folder: Path, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the advice, unless NCCL's watchdog is quicker and aborts the process."""
    ranks = start(folder, backend, 2, json.dumps([{"name": "killed", "settings": PLAIN}]), "2")
    survivor, _ = outputs(ranks)
    assert ranks[1].returncode == -9
    assert ranks[0].returncode not in (0, None)
    advised = "Another process of this run has ended or no longer answers" in survivor
    assert advised or backend == "nccl", survivor
    with capsys.disabled():
        sys.stdout.write(f"\n{backend}: the other rank ended with {ranks[0].returncode}, advice printed: {advised}\n")


def test_a_run_needs_a_gpu_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    count = torch.cuda.device_count() + 1
    variables = {"RANK": 0, "WORLD_SIZE": count, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": count}
    for name, value in (variables | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}).items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(VocSegError, match=f"--nproc-per-node={count - 1}"):
        choose_runtime(RuntimeConfig())
