"""Memory kept between steps: no page faults in the second step, and everything is freed at the end."""

import platform
import subprocess
import sys

import pytest

from voc_seg.engine import memory
from voc_seg.engine.memory import keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
# Like a step: blocks of 16 MiB, all of them freed before the next. Prints page faults a step and what stays resident.
STEPS = """
import ctypes, resource
from voc_seg.engine.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
SIZE = 2**24

def step():
    blocks = [libc.malloc(SIZE) for _ in range(8)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks:
        libc.free(block)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

start = resident()
with keep_freed_memory({wanted}) as kept:
    step()
    print(kept, faults(), (resident() - start) // SIZE)
print((resident() - start) // SIZE)
"""


def _run(wanted: bool) -> tuple[str, int, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", STEPS.replace("{wanted}", str(wanted))], capture_output=True, text=True, check=True
    )
    kept, faults, resident, after = done.stdout.split()
    return kept, int(faults), int(resident), int(after)


@pytest.mark.skipif(not GLIBC, reason="only glibc has the setting")
def test_kept_blocks_are_not_faulted_in_again_and_go_back_at_the_end() -> None:
    pages = 8 * 2**24 // 4096
    kept, faults, resident, after = _run(wanted=True)
    assert kept == "True"
    assert faults < pages // 100
    assert resident >= 7
    assert after <= 1


@pytest.mark.skipif(not GLIBC, reason="only glibc has the setting")
def test_without_it_every_step_faults_in_its_blocks() -> None:
    kept, faults, resident, after = _run(wanted=False)
    assert kept == "False"
    assert faults > 100  # of 2 MiB, where the kernel gives huge pages unasked
    assert (resident, after) == (0, 0)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    with keep_freed_memory() as kept:
        assert not kept
