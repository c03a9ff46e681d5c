"""Tables, JSON and figures are kedro-datasets', but never half there."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import AbstractDataset, DatasetError
from matplotlib.figure import Figure

from voc_seg import datasets
from voc_seg.errors import VocSegError


def _figure(width: float) -> Figure:
    figure = Figure(figsize=(width, 1))
    figure.add_subplot()
    return figure


KINDS: dict[str, tuple[str, Any, Any]] = {
    "CSVDataset": ("a.csv", pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    "ParquetDataset": ("a.parquet", pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    "JSONDataset": ("a.json", {"a": 1}, {"a": 2}),
    "MatplotlibDataset": ("a.png", _figure(1), _figure(2)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def dataset(kind: str, tmp_path: Path) -> AbstractDataset:
    return getattr(datasets, kind)(filepath=str(tmp_path / "out" / KINDS[kind][0]))


def test_a_save_replaces_the_file_and_leaves_nothing_beside_it(
    dataset: AbstractDataset, kind: str, tmp_path: Path
) -> None:
    name, old, new = KINDS[kind]
    path = tmp_path / "out" / name
    dataset.save(old)
    first = path.read_bytes()
    dataset.save(new)
    assert path.read_bytes() != first
    assert [file.name for file in path.parent.iterdir()] == [name]
    assert dataset.exists()
    assert dataset.preview()


@pytest.mark.parametrize("point", ["open", "sync"])
def test_a_save_that_fails_leaves_the_old_file(
    dataset: AbstractDataset, kind: str, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, old, new = KINDS[kind]
    path = tmp_path / "out" / name
    dataset.save(old)
    first = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if point == "open":
        monkeypatch.setattr(dataset._fs, "open", fail)
    else:
        monkeypatch.setattr("voc_seg.atomic._sync", fail)
    with pytest.raises(DatasetError, match=f"Could not write .*{name}: No space left on device") as caught:
        dataset.save(new)
    assert isinstance(caught.value.__cause__, VocSegError)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_object_stores_write_as_they_do() -> None:
    dataset = datasets.JSONDataset(filepath="memory://bucket/a.json")
    dataset.save({"a": 1})
    assert dataset.load() == {"a": 1}
