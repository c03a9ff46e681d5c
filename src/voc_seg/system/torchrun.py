"""The environment variables that torchrun sets for each process, read without importing torch."""

import os
from dataclasses import dataclass
from pathlib import Path

EVERY_RANK = "every_rank"
"""Tag of the nodes that run on every rank; only rank 0 runs the others."""


@dataclass(frozen=True)
class ProcessInfo:
    """One process of a distributed run; the defaults describe a single process."""

    rank: int = 0  # index of the process, from 0
    world_size: int = 1  # number of processes on all nodes
    local_rank: int = 0  # index on this node, from 0; also the index of its GPU
    local_world_size: int = 1  # number of processes on this node
    nodes: int = 1  # number of machines
    address: str = ""  # host and port of rank 0; empty for a single process
    agent_folder: str = ""  # scratch folder of the torchrun that started it; empty without one


def launch_file() -> Path | None:
    """Return the file in which each node records the name of this torchrun call; None without torchrun.

    torchrun's restart count cannot detect a restart: it stays 0 when nodes join or leave. Its scratch folder is new for
    every call and survives restarts.
    """
    folder = process_info().agent_folder
    return Path(folder) / "voc_seg_launch" if folder and Path(folder).is_dir() else None


def is_restart() -> bool:
    """Return whether torchrun started this process to replace one that has ended."""
    path = launch_file()
    return path is not None and path.is_file()


def process_info() -> ProcessInfo:
    """Read the torchrun variables of this process.

    Some schedulers set single variables for every program; they count only if all of them are set.
    """
    found = os.environ
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= found.keys():
        return ProcessInfo()
    # <folder>/attempt_0/<local rank>/error.json
    error_file = found.get("TORCHELASTIC_ERROR_FILE", "")
    return ProcessInfo(
        rank=int(found["RANK"]),
        world_size=int(found["WORLD_SIZE"]),
        local_rank=int(found["LOCAL_RANK"]),
        local_world_size=int(found.get("LOCAL_WORLD_SIZE", "1")),
        nodes=int(found.get("GROUP_WORLD_SIZE", "1")),
        address=f"{found['MASTER_ADDR']}:{found['MASTER_PORT']}",
        agent_folder=os.path.dirname(os.path.dirname(os.path.dirname(error_file))),  # noqa: PTH120  "" stays ""
    )
