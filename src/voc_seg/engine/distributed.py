"""Several processes that train and score together: torch's process group, and what is said over it.

Without a process group every function here gives at once what a single process needs, so callers do not ask.
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


def init_process_group(device: torch.device, timeout: int) -> None:
    """Meet the other processes of this run; a process that runs alone goes on without.

    Args:
        device: Where this process computes. Beside NCCL for a GPU there is gloo for what lies on the CPU.
        timeout: Seconds after which a process that does not answer counts as lost.

    Raises:
        VocSegError: Not all of them came.
    """
    here = process_info()
    if here.world_size == 1 or distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store = _rendezvous_store(here, timedelta(seconds=timeout))
        distributed.init_process_group(
            backend, store=store, rank=here.rank, world_size=here.world_size, timeout=timedelta(seconds=timeout)
        )
    except RuntimeError as error:
        raise VocSegError(
            f"Process {here.rank} of {here.world_size} did not meet the others at {here.address} within {timeout} s "
            f"(runtime.distributed_timeout): {first_line(error)}. See that every machine has been started, with the "
            "same --nnodes and --rdzv-endpoint, and that the machines reach each other (GLOO_SOCKET_IFNAME and "
            "NCCL_SOCKET_IFNAME name the network interface)."
        ) from error
    logger.debug("Process %d of %d, pid %d, %s", here.rank, here.world_size, os.getpid(), backend)


def _rendezvous_store(here: ProcessInfo, timeout: timedelta) -> distributed.Store:
    """The key-value store in which processes find each other, under a name that is new with every start.

    torchrun's own store lives through restarts, and a restarted process would wait for the address of one that is dead
    (github.com/pytorch/pytorch/issues/135712). So rank 0 thinks of a name and gives it to whoever asks with a word that
    nobody used before, until all have thanked it under that name.
    """
    host, _, port = here.address.rpartition(":")
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = distributed.TCPStore(
        host, int(port), here.world_size, is_master=not hosted and here.rank == 0, timeout=timeout, multi_tenant=True
    )
    if here.rank:
        word = uuid.uuid4().hex
        store.set(f"voc_seg/asks/{here.rank}", word)
        name = store.get(f"voc_seg/name/{word}").decode()  # waits for it
        store.set(f"voc_seg/thanks/{name}/{here.rank}", "")
        return distributed.PrefixStore(name, store)
    name, others, ends = uuid.uuid4().hex, range(1, here.world_size), time.monotonic() + timeout.total_seconds()
    while not store.check([f"voc_seg/thanks/{name}/{other}" for other in others]):
        if time.monotonic() > ends:
            raise distributed.DistStoreError("some of them never asked for rank 0")
        for other in others:
            if store.check([f"voc_seg/asks/{other}"]):
                store.set(f"voc_seg/name/{store.get(f'voc_seg/asks/{other}').decode()}", name)
        time.sleep(0.02)
    return distributed.PrefixStore(name, store)


def destroy_process_group() -> None:
    """End the process group, if there is one; whoever still waits for this process is told."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Go on when every process has come here."""
    all_reduce_sum(0)  # a barrier of NCCL would need the GPU


def all_reduce_sum(*values: float) -> tuple[float, ...]:
    """Sums over the processes, in float64: exact for integers below 2 ** 53."""
    if world_size() == 1:
        return values
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return tuple(sums.tolist())


def all_gather(value: T) -> list[T]:
    """The values of all processes by rank, at every one of them."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def gather_to_rank0(value: T) -> list[T]:
    """The values of all processes by rank at rank 0, which holds them all; nothing at the others."""
    if world_size() == 1:
        return [value]
    values: list[Any] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(value, values)
    return values or []


def broadcast_from_rank0(make: Callable[[], T]) -> T:
    """What rank 0 makes, at every process: others may see another state of a shared disk.

    Raises:
        VocSegError: Rank 0 could not make it; raised by all.
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
    """Give every process the batch-norm statistics of rank 0, which are those that are kept."""
    if world_size() > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


def broadcast_rng_state(device: torch.device) -> None:
    """Give every GPU the state of rank 0's generator; those of CPUs are the same by seed or checkpoint."""
    if world_size() > 1 and device.type == "cuda":
        state = torch.cuda.get_rng_state(device)
        distributed.broadcast(state, 0)
        torch.cuda.set_rng_state(state, device)


@dataclass(frozen=True)
class Launch:
    """One call of torchrun: a name that its restarts share, and whether this is one of them."""

    name: str = ""
    restarted: bool = False


def find_launch() -> Launch:
    """Which call of torchrun this process belongs to; without torchrun one that has no name.

    The first processes of a launch leave its name on each machine, and whoever is started again finds it.
    """
    path = launch_file()
    if path is None:
        return Launch()
    found = path.read_text() if path.is_file() else ""
    # Before any of them writes: the processes of one machine share the folder.
    names = [name for name in all_gather(found) if name]
    name = names[0] if names else all_gather(uuid.uuid4().hex)[0]
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(name)
    os.replace(partial, path)
    return Launch(name, bool(names))


LOST_RANK = (
    "Another process of this run has ended or no longer answers ({}). torchrun names it below; what it said itself is "
    "in logs/training*.log. Go on from the newest checkpoint with training.resume=true, or have torchrun do so by "
    "itself with --max-restarts=3. If all are well but slow, raise runtime.distributed_timeout."
)


def ignore_sigterm() -> None:
    """Take no more SIGTERM: torchrun sends it as soon as one process has failed, before others can say why they end.

    For a process that is about to end; one that hangs on its way torchrun kills after half a minute.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Turn what gloo and NCCL raise when a process is gone into advice.

    Raises:
        VocSegError: In place of theirs, which stays attached as its cause.
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
        with suppress(RuntimeError):  # a group that is broken may fail to end as well
            destroy_process_group()
        raise VocSegError(LOST_RANK.format(first_line(error).partition(". ")[0])) from error


def first_line(error: Exception) -> str:
    """The first line of an error, without the source file that gloo begins it with."""
    line = str(error).strip().partition("\n")[0]
    return line.partition("] ")[2] or line if line.startswith("[") else line
