"""What torchrun tells the processes it starts, read without importing torch."""

import os
from dataclasses import dataclass
from pathlib import Path

EVERY_RANK = "every_rank"
"""Tag of the nodes that several processes run together; rank 0 runs the others alone."""


@dataclass(frozen=True)
class Place:
    """Where a process stands among those of its run; the defaults are those of one that runs alone.

    | field        | type | meaning                                                        |
    |--------------|------|----------------------------------------------------------------|
    | rank         | int  | number of the process, from 0                                  |
    | ranks        | int  | how many there are on all machines                             |
    | local_rank   | int  | number on this machine, from 0: that of its GPU                |
    | local_ranks  | int  | how many there are on this machine                             |
    | machines     | int  | over how many machines they are spread                         |
    | address      | str  | host and port where rank 0 is found; empty when alone          |
    | agent_folder | str  | scratch folder of the torchrun that started it; empty without  |
    """

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    machines: int = 1
    address: str = ""
    agent_folder: str = ""


def launch_file() -> Path | None:
    """Where the processes of one call of torchrun leave its name, once a machine; None without torchrun.

    torchrun's count of restarts does not tell a restart: it stays 0 when machines join or leave. Its scratch folder is
    made anew for every call, and kept for restarts.
    """
    folder = place().agent_folder
    return Path(folder) / "voc_seg_launch" if folder and Path(folder).is_dir() else None


def is_restart() -> bool:
    """Whether torchrun started this process in the place of one that has ended."""
    path = launch_file()
    return path is not None and path.is_file()


def place() -> Place:
    """The place of this process.

    Some schedulers set one or the other of these variables for every program; only all of them together count.
    """
    found = os.environ
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= found.keys():
        return Place()
    # <folder>/attempt_0/<local rank>/error.json
    error_file = found.get("TORCHELASTIC_ERROR_FILE", "")
    return Place(
        rank=int(found["RANK"]),
        ranks=int(found["WORLD_SIZE"]),
        local_rank=int(found["LOCAL_RANK"]),
        local_ranks=int(found.get("LOCAL_WORLD_SIZE", "1")),
        machines=int(found.get("GROUP_WORLD_SIZE", "1")),
        address=f"{found['MASTER_ADDR']}:{found['MASTER_PORT']}",
        agent_folder=os.path.dirname(os.path.dirname(os.path.dirname(error_file))),  # noqa: PTH120  "" stays ""
    )
