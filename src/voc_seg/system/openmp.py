"""How long OpenMP's threads spin while they wait for each other."""

import os
import time
from pathlib import Path

_LOOKS, _PAUSE = 5, 0.004
"""Number of looks, which tell a busy process from a short task, and seconds between two of them."""


def limit_spinning() -> None:
    """Shorten the spinning of OpenMP's threads if the machine is busy; call this before torch is imported.

    The threads of an operation wait for each other by spinning. If one of them has no core because another process has
    it, the others spin for nothing, by default for milliseconds. On an idle machine that long spin is the fastest
    (``shared_cpu.py`` in benchmarks/README.md). Results do not depend on it. A setting of the user
    wins, and child processes inherit the choice.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys() and _is_busy():
        os.environ["GOMP_SPINCOUNT"] = "1000"


def _is_busy() -> bool:
    """Whether other processes leave fewer cores than this one has threads for; False where Linux's /proc is missing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    wanted = int(threads) if threads.isdecimal() else cores
    free = (os.cpu_count() or 1) - wanted
    if wanted < 2:
        return False  # nobody to wait for
    for _ in range(_LOOKS):
        if _running_processes() - 1 <= free:  # less this one
            return False
        time.sleep(_PAUSE)
    return True


def _running_processes() -> int:
    """Processes that run or could run now, by the fourth field of proc(5)'s loadavg; 0 where that is missing."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0
