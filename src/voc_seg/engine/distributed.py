"""The process group of a distributed run and its collective operations.

Without a process group every function returns the single-process result, so callers need no check.
"""

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import ProcessInfo, launch_file, process_info

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FLIGHT_RECORDER = {"TORCH_FR_BUFFER_SIZE": "2000", "TORCH_NCCL_DUMP_ON_TIMEOUT": "1"}
"""NCCL's watchdog ends a process without Python: these have it write what each rank waited for. Defaults of torch 2.14,
off in earlier versions."""


def init_process_group(device: torch.device, timeout: int) -> None:
    """Create the process group of this run; a single process needs none.

    Args:
        device: Of this process. GPUs use NCCL, with gloo for tensors on the CPU.
        timeout: Seconds after which a rank that does not answer counts as lost.

    Raises:
        VocSegError: A rank did not connect in time.
    """
    process = process_info()
    if process.world_size == 1 or distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        for name, value in _FLIGHT_RECORDER.items():
            os.environ.setdefault(name, value)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store = _rendezvous_store(process, timedelta(seconds=timeout))
        distributed.init_process_group(
            backend, store=store, rank=process.rank, world_size=process.world_size, timeout=timedelta(seconds=timeout)
        )
    except RuntimeError as error:
        raise VocSegError(
            f"Process {process.rank} of {process.world_size} could not connect to the others at {process.address} "
            f"within {timeout} s (runtime.distributed_timeout): {first_line(error)}. Check that every machine was "
            "started with the same --nnodes and --rdzv-endpoint, and that the machines can reach each other "
            "(GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME name the network interface)."
        ) from error
    logger.debug("Process %d of %d, pid %d, %s", process.rank, process.world_size, os.getpid(), backend)


def _rendezvous_store(process: ProcessInfo, timeout: timedelta) -> distributed.Store:
    """Return the key-value store in which ranks find each other, under a prefix that is new at every start.

    torchrun's own store survives restarts, and a restarted rank would wait for the address of a dead one
    (github.com/pytorch/pytorch/issues/135712). So every other rank publishes a random token, rank 0 answers each token
    with a random prefix, and waits until all ranks have acknowledged it.
    """
    host, _, port = process.address.rpartition(":")
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = distributed.TCPStore(
        host, int(port), process.world_size, is_master=not hosted and process.rank == 0, timeout=timeout,
        multi_tenant=True,
    )  # fmt: skip
    if process.rank:
        token = uuid.uuid4().hex
        store.set(f"voc_seg/token/{process.rank}", token)
        prefix = store.get(f"voc_seg/prefix/{token}").decode()  # blocks until rank 0 answers
        store.set(f"voc_seg/acknowledged/{prefix}/{process.rank}", "")
        return distributed.PrefixStore(prefix, store)
    prefix, others = uuid.uuid4().hex, range(1, process.world_size)
    deadline = time.monotonic() + timeout.total_seconds()
    while not store.check([f"voc_seg/acknowledged/{prefix}/{other}" for other in others]):
        if time.monotonic() > deadline:
            raise distributed.DistStoreError("some of them never contacted rank 0")
        for other in others:
            if store.check([f"voc_seg/token/{other}"]):
                store.set(f"voc_seg/prefix/{store.get(f'voc_seg/token/{other}').decode()}", prefix)
        time.sleep(0.02)
    return distributed.PrefixStore(prefix, store)


def destroy_process_group() -> None:
    """Destroy the process group, if there is one; ranks still waiting for this one get an error."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Return the rank of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Wait until every rank has reached this point."""
    all_reduce_sum(0)  # a barrier of NCCL would need the GPU


def all_reduce_sum(*values: float) -> tuple[float, ...]:
    """Return the sums over all ranks in float64, exact for integers below 2 ** 53."""
    if world_size() == 1:
        return values
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return tuple(sums.tolist())


def all_gather(value: T) -> list[T]:
    """Return the values of all ranks, in order, on every rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def gather_to_rank0(value: T) -> list[T]:
    """Return the values of all ranks, in order, on rank 0, and an empty list on the others."""
    if world_size() == 1:
        return [value]
    values: list[Any] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(value, values)
    return values or []


def broadcast_from_rank0(make: Callable[[], T]) -> T:
    """Return on every rank what ``make`` returns on rank 0: other ranks may see another state of a shared disk.

    Raises:
        VocSegError: ``make`` failed on rank 0; raised on every rank.
    """
    if world_size() == 1:
        return make()
    answer: list[Any] = [None, ""]
    if rank() == 0:
        try:
            answer[0] = make()
        except VocSegError as error:
            answer[1] = str(error)
    distributed.broadcast_object_list(answer)
    if answer[1]:
        raise VocSegError(answer[1])
    return answer[0]


def broadcast_buffers(module: torch.nn.Module) -> None:
    """Copy the batch-norm statistics of rank 0 to every rank; checkpoints hold those of rank 0."""
    if world_size() > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


def broadcast_rng_state(device: torch.device) -> None:
    """Copy the generator of rank 0's GPU to every GPU; CPU generators agree by seed or checkpoint."""
    if world_size() > 1 and device.type != "cpu":
        module = torch.get_device_module(device)
        state = module.get_rng_state(device)
        distributed.broadcast(state, 0)
        module.set_rng_state(state, device)


@dataclass(frozen=True)
class Launch:
    """One call of torchrun: a name that its restarts share, and whether this is one of them."""

    name: str = ""
    restarted: bool = False


def find_launch() -> Launch:
    """Return the torchrun launch this process belongs to; unnamed without torchrun.

    The first processes of a launch write its name to a file on each machine; restarted processes find it there.
    """
    path = launch_file()
    if path is None:
        return Launch()
    found = path.read_text() if path.is_file() else ""
    # Read before any rank writes: the ranks of one machine share the folder.
    names = [name for name in all_gather(found) if name]
    name = names[0] if names else all_gather(uuid.uuid4().hex)[0]
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(name)
    os.replace(partial, path)
    return Launch(name, bool(names))


LOST_RANK = (
    "Another process of this run has ended or no longer answers ({}). torchrun names it below; its own messages are "
    "in logs/training*.log. Resume from the newest checkpoint with training.resume=true, or let torchrun do so "
    "with --max-restarts=3. If the processes are only slow, raise runtime.distributed_timeout."
)


def ignore_sigterm() -> None:
    """Ignore SIGTERM, which torchrun sends as soon as one rank fails, so that this rank can still report its error.

    Call it only when the process is about to end; torchrun kills one that hangs after 30 seconds.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Turn the errors gloo and NCCL raise for a lost rank into advice.

    Raises:
        VocSegError: Replaces their error, which stays attached as its cause.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        # gloo's own are plain RuntimeErrors that begin with its source file.
        known = isinstance(error, distributed.DistError) or "gloo" in text or "nccl" in text
        if world_size() == 1 or not known:
            raise
        ignore_sigterm()
        with suppress(RuntimeError):  # destroying a broken group may fail as well
            destroy_process_group()
        raise VocSegError(LOST_RANK.format(first_line(error).partition(". ")[0])) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error, without gloo's leading source file."""
    line = str(error).strip().partition("\n")[0]
    return line.partition("] ")[2] or line if line.startswith("[") else line
