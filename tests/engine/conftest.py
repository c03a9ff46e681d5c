"""Runs as the catalog keeps them, and comparisons of two states."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch

from voc_seg.engine.run import EpochReport

_TIMES = {"images_per_second", "data_seconds", "epoch_seconds", "seconds", "waited"}


@pytest.fixture(scope="session")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A state dict read back from a file; memory-mapped, because tests keep dozens of them."""

    def reload(state: dict[str, Any]) -> dict[str, Any]:
        path = tmp_path_factory.mktemp("state") / "state.pth"
        torch.save(state, path)
        loaded = torch.load(path, weights_only=True, mmap=True)
        with suppress(PermissionError):  # Windows; elsewhere the mapping outlives the name
            path.unlink()
        return loaded

    return reload


@pytest.fixture(scope="session")
def kept(reloaded: Callable) -> Callable[[Iterable[EpochReport]], Iterator[EpochReport]]:
    """Copy each report when it is yielded, as the catalog saves it before the run continues."""

    def keep(reports: Iterable[EpochReport]) -> Iterator[EpochReport]:
        for report in reports:
            yield EpochReport(reloaded(report.checkpoint), reloaded(report.best_model), copy.deepcopy(report.history))

    return keep


@pytest.fixture(scope="session")
def assert_same_state() -> Callable[..., None]:
    """Compare two states bit by bit, except for times and the number of mid-epoch checkpoints."""

    def check(found: Any, expected: Any, where: str = "state") -> None:
        if isinstance(expected, torch.Tensor):
            assert found.dtype == expected.dtype and torch.equal(found, expected), where
        elif isinstance(expected, dict):
            assert found.keys() == expected.keys(), where
            for key in expected.keys() - _TIMES - {"every_minutes"}:
                check(found[key], expected[key], f"{where}.{key}")
        elif isinstance(expected, list):
            assert len(found) == len(expected), where
            for index, (one, other) in enumerate(zip(found, expected)):
                check(one, other, f"{where}[{index}]")
        else:
            assert found == expected, where

    return check
