"""One of two ranks, each with a simulated GPU of its own: train on the CPU and on the GPU, save both results.

    python ranks.py FOLDER RANK JOBS

The folder holds the stores; JOBS are settings by name, as JSON.
"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import simgpu  # beside this file, as it is a script
import torch
from torch import distributed
from torch._C._distributed_c10d import _create_work_from_future
from torch.futures import Future

from voc_seg.config import Parameters
from voc_seg.engine import runtime
from voc_seg.engine.distributed import barrier, destroy_process_group
from voc_seg.engine.training import fit
from voc_seg.models.exchange import model_digest
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

sys.path.append(str(Path(__file__).parents[1]))
from narrow import narrow_resnet18

RANKS = 2
TIMEOUT = timedelta(seconds=60)


class Relay(distributed.ProcessGroup):
    """What NCCL is to GPUs: collective operations on device tensors, here by gloo on copies of them.

    ``waits`` counts those for the copies, which NCCL does not need.
    """

    waits = 0

    def __init__(self, store: distributed.Store, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self.gloo = distributed.ProcessGroupGloo(distributed.PrefixStore("relay", store), rank, size, timeout)

    def getBackendName(self) -> str:
        return "relay"

    def allreduce(self, tensors: list[torch.Tensor], options: Any = None) -> distributed.Work:
        return self._relay("allreduce", tensors, options)

    def broadcast(self, tensors: list[torch.Tensor], options: Any = None) -> distributed.Work:
        return self._relay("broadcast", tensors, options)

    def allgather(self, into: list[list[torch.Tensor]], tensors: list[torch.Tensor], options: Any = None) -> Any:
        copies = [self._to_host(part) for part in into]
        self.gloo.allgather(copies, self._to_host(tensors), options).wait()
        for part, copied in zip(into, copies):
            self._take_back(part, copied)
        return self._done(into)

    def _relay(self, operation: str, tensors: list[torch.Tensor], options: Any) -> distributed.Work:
        copies = self._to_host(tensors)
        getattr(self.gloo, operation)(copies, options).wait()
        self._take_back(tensors, copies)
        return self._done(tensors)

    @classmethod
    def _to_host(cls, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        cls.waits += 2 * len(tensors)  # and one for each copy back
        return [tensor.cpu() for tensor in tensors]

    @staticmethod
    def _take_back(tensors: Sequence[torch.Tensor], copies: Sequence[torch.Tensor]) -> None:
        for tensor, copied in zip(tensors, copies):
            tensor.copy_(copied)

    @staticmethod
    def _done(result: Any) -> distributed.Work:
        future: Future[Any] = Future()
        future.set_result(result)
        return _create_work_from_future(future)


def train(folder: Path, device: str, settings: dict[str, Any], split: str = "train") -> dict[str, Any]:
    """Return the history, without times and memory, and a digest of the weights."""
    runtime._choose_device = lambda name: torch.device(device)
    stores = SampleStore(folder / f"{split}.arrow"), SampleStore(folder / "val.arrow")
    *_, last = fit(*stores, CLASS_NAMES, Parameters.model_validate(settings))
    history = [
        {key: value for key, value in row.items() if "second" not in key and not key.startswith("gpu_")}
        for row in last.history
    ]
    state = {name: value.cpu() for name, value in last.checkpoint["model"].items()}
    return {"history": history, "digest": model_digest({"model": state})}


def waits_of_a_step(folder: Path, device: str, settings: dict[str, Any]) -> float:
    """How often each of the additional steps of a split twice as long waits for the device, apart from the relay."""
    waits, images = [], []
    for split in ("train", "twice"):
        Relay.waits = 0
        with simgpu.counting() as counts:
            train(folder, device, settings, split)
        waits.append(counts.waits.total() - Relay.waits)
        images.append(len(SampleStore(folder / f"{split}.arrow")))
    training = settings["training"]
    return (waits[1] - waits[0]) * training["batch_size"] * training["accumulation"] / (images[1] - images[0])


def main(folder: Path, rank: int, jobs: dict[str, dict[str, Any]]) -> None:
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{RANKS}", "LOCAL_WORLD_SIZE": f"{RANKS}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group is made here, over a file
    distributed.Backend.register_backend("relay", Relay, devices=[simgpu.NAME])
    store = distributed.FileStore(str(folder / "rendezvous"), RANKS)
    distributed.init_process_group(
        f"cpu:gloo,{simgpu.NAME}:relay", store=store, rank=rank, world_size=RANKS, timeout=TIMEOUT
    )
    narrow_resnet18(pytest.MonkeyPatch())
    torch.simgpu.set_device(rank)
    devices = {"cpu": "cpu", "gpu": f"{simgpu.NAME}:{rank}"}
    found: dict[str, dict[str, Any]] = {
        name: {kind: train(folder, device, settings) for kind, device in devices.items()}
        for name, settings in jobs.items()
    }
    for name, settings in jobs.items():
        found[name]["waits"] = waits_of_a_step(folder, devices["gpu"], settings)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    barrier()
    destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
