"""Tests on a real NVIDIA GPU: ``pytest -m gpu``. Without one they are all skipped."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.datasets.model_file import read_state, write_state
from voc_seg.engine.cuda_support import missing_kernels
from voc_seg.engine.run import EpochReport
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skip before any fixture is made."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA GPU")
    if reason := missing_kernels(0):
        pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def memory_limit() -> None:
    """No limit of the process's memory: the libraries of CUDA alone take gigabytes."""


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The first GPU."""
    return torch.device("cuda", 0)


@pytest.fixture(scope="session")
def no_waits() -> Callable[[], AbstractContextManager[None]]:
    """A context in which every operation that makes the host wait for the GPU is an error.

    torch does not notice all of them: not ``Event.synchronize``, and none in ``torch.distributed``.
    """

    @contextmanager
    def watch() -> Iterator[None]:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return watch


@pytest.fixture(scope="session")
def fit_on(
    train_store: SampleStore,
    val_store: SampleStore,
    make_parameters: Callable[..., Parameters],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., list[EpochReport]]:
    """Trains on a device; each report is kept as the catalog keeps it, so its tensors are on the CPU."""
    path: Path = tmp_path_factory.mktemp("states") / "state.pth"

    def saved(state: dict[str, Any]) -> dict[str, Any]:
        if not state:
            return state
        write_state(path, state)
        return read_state(path)

    def train(device: str, checkpoint: dict[str, Any] | None = None, **blocks: Any) -> list[EpochReport]:
        blocks["runtime"] = {"device": device, **blocks.get("runtime", {})}
        reports = fit(train_store, val_store, CLASS_NAMES, make_parameters(**blocks), checkpoint)
        return [
            EpochReport(saved(report.checkpoint), saved(report.best_model), copy.deepcopy(report.history))
            for report in reports
        ]

    return train
