"""Waiting for loader workers ends if they neither deliver nor work or the run is to stop, and not before."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from voc_seg.config import AugmentationConfig
from voc_seg.engine.failures import explain_failures
from voc_seg.samples import batches, waiting
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError

LATE = RuntimeError("DataLoader timed out after 1.0 seconds")


class Loader:
    """Yields a script of batches and errors."""

    def __init__(self, script: list[object]) -> None:
        self.script = iter(script)

    def __next__(self) -> object:
        step = next(self.script)
        if isinstance(step, Exception):
            raise step
        return step


def run_on() -> bool:
    return False


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """A worker in this state of proc(5) that has used this many more ticks each time."""

    def pretend(state: str, ticks: int) -> None:
        looks = iter(range(10**6))
        text = "({} {}) {} 0 0 0 0 0 0 0 0 0 0 {} 0 0"
        child = SimpleNamespace(daemon=True, pid=1)
        monkeypatch.setattr(multiprocessing, "active_children", lambda: [child])
        read = lambda *_: text.format("a)", "b", state, 1000 + ticks * next(looks))  # noqa: E731
        monkeypatch.setattr(waiting.Path, "read_text", read)

    return pretend


def test_batches_come_as_they_are(worker: Callable[[str, int], None]) -> None:
    worker("S", 0)
    assert list(waiting.poll_batches(Loader([1, LATE, LATE, 2, LATE, 3]), run_on)) == [1, 2, 3]


def test_workers_that_do_nothing_end_the_wait_with_advice(worker: Callable[[str, int], None]) -> None:
    worker("S", 0)
    loader = Loader([1, *[LATE] * 59])
    found = waiting.poll_batches(loader, run_on)
    assert next(found) == 1
    with pytest.raises(VocSegError, match=r"workers are idle.*runtime\.workers=0.*--shm-size"):
        next(found)
    assert len(list(loader.script)) > 0, "within a minute"


@pytest.mark.parametrize(("state", "ticks"), [("R", 0), ("D", 0), ("T", 0), ("S", 5)])
def test_workers_that_start_read_or_compute_are_waited_for(
    worker: Callable[[str, int], None], state: str, ticks: int
) -> None:
    worker(state, ticks)
    assert list(waiting.poll_batches(Loader([*[LATE] * 5000, 1]), run_on)) == [1]


def test_where_nothing_is_known_of_workers_the_wait_is_longer(
    worker: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker("S", 0)

    def absent(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(waiting.Path, "read_text", absent)
    assert list(waiting.poll_batches(Loader([*[LATE] * 500, 1]), run_on)) == [1]
    with pytest.raises(VocSegError, match="workers are idle"):
        next(waiting.poll_batches(Loader([LATE] * 1000), run_on))


def test_an_interruption_ends_the_wait_and_no_batch_that_is_there(worker: Callable[[str, int], None]) -> None:
    worker("S", 0)
    found = waiting.poll_batches(Loader([1, 2, LATE, 3]), lambda: True)
    assert list(found) == [1, 2]


def test_other_errors_pass(worker: Callable[[str, int], None]) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        next(waiting.poll_batches(Loader([RuntimeError("mine")]), run_on))


def test_the_advice_says_how_much_shared_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.os.path, "isdir", lambda _: True)
    monkeypatch.setattr(waiting.shutil, "disk_usage", lambda _: SimpleNamespace(free=12e6, total=67e6))
    assert "/dev/shm has 12 of 67 MB free" in waiting.shared_memory_advice()


class Lost(Dataset):
    """A loader whose second batch never arrives."""

    def __getitem__(self, index: int) -> int:
        if index:
            time.sleep(3600)  # the loader ends its worker
        return index

    def __len__(self) -> int:
        return 2


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs Linux's /proc")
def test_a_real_loader_can_be_waited_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_IDLE", 3)
    loader = DataLoader(Lost(), num_workers=1, timeout=0.1, multiprocessing_context="fork")
    found = waiting.poll_batches(iter(loader), run_on)
    assert next(found).item() == 0
    with pytest.raises(VocSegError, match="workers are idle"):
        next(found)


def test_shared_memory_that_is_full_is_an_error_of_the_batch(
    train_store: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised in the worker itself; its sending thread would print the error and drop the batch."""

    def full(*_: object) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    crops = batches.AugmentedCrops(train_store, AugmentationConfig(crop_size=64), 0)
    rank_slice = batches.RankSlice([(0, 0)], 0, 1)
    batches._collate(crops.__getitems__(rank_slice), 64)
    monkeypatch.setattr(waiting, "get_worker_info", lambda: SimpleNamespace(id=0))
    with pytest.raises(RuntimeError, match="unable to allocate"):
        batches._collate(crops.__getitems__(rank_slice), 64)
    text = "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback\nRuntimeError: unable to allocate "
    with (
        pytest.raises(VocSegError, match=r"could not hand over a batch.*runtime\.workers=0"),
        explain_failures("memory"),
    ):
        raise RuntimeError(text + "shared memory(shm) for file </torch_1>: Cannot allocate memory (12)")


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="needs SIGCHLD")
def test_killing_workers_at_exit_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object) -> None:
        raise RuntimeError("DataLoader worker is killed by signal: Killed.")

    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), daemon=True)
    before = signal.signal(signal.SIGCHLD, failed)  # as torch's does
    try:
        worker.start()
        batches._kill_workers()
        worker.join()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert worker.exitcode == -signal.SIGKILL


def test_workers_that_cannot_be_started(train_store: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DataLoader, "__iter__", full)
    with pytest.raises(VocSegError, match=r"could not be started.*No space left.*runtime\.workers=0"):
        training_batches(train_store, AugmentationConfig(crop_size=64), 2, 0, range(1), workers=1)
