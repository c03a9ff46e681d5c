"""Tables, JSON and figures of kedro-datasets, written atomically."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from matplotlib.figure import Figure

from voc_seg import datasets
from voc_seg.settings import CONFIG_LOADER_ARGS
from voc_seg.system.errors import VocSegError
from voc_seg.system.versions import newest_version


def _figure(width: float) -> Figure:
    figure = Figure(figsize=(width, 1))
    figure.add_subplot()
    return figure


LISTS = pd.DataFrame({"image_id": ["a", "b"], "pixels": [np.arange(40), []], "kind": ["x", "y"]})

KINDS: dict[str, tuple[str, Any, Any]] = {
    "CSVDataset": ("a.csv", pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    "OptionalCSVDataset": ("a.csv", pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    "ParquetDataset": ("a.parquet", pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    "OptionalParquetDataset": ("a.parquet", LISTS, LISTS.head(1)),
    "JSONDataset": ("a.json", {"a": 1}, {"a": 2}),
    "OptionalJSONDataset": ("a.json", {"a": 1}, {"a": 2}),
    "TextDataset": ("a.md", "one", "two"),
    "BytesDataset": ("a.bin", b"one", b"two"),
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
    if hasattr(dataset, "preview"):
        assert json.dumps(dataset.preview())


def test_lists_are_previewed_as_text(tmp_path: Path) -> None:
    dataset = datasets.ParquetDataset(filepath=str(tmp_path / "lists.parquet"))
    dataset.save(LISTS)
    assert dataset.preview()["data"] == [["a", "0, 1, 2, 3, 4, 5, … (40 values)", "x"], ["b", "", "y"]]


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
        monkeypatch.setattr(*(Path, "write_bytes") if kind == "BytesDataset" else (dataset._fs, "open"), fail)
    else:
        monkeypatch.setattr("voc_seg.system.atomic.sync_file", fail)
    with pytest.raises(DatasetError, match=f"Could not write .*{name}: No space left on device") as caught:
        dataset.save(new)
    assert isinstance(caught.value.__cause__, VocSegError)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_removing_a_file_behind_a_link_keeps_the_link(tmp_path: Path) -> None:
    """As ``metrics.json`` before every evaluation; the new one would be written beside the user's disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.bin").symlink_to(tmp_path / "disk/a.bin")
    for content in (b"", b"one", b"", b"two"):
        datasets.BytesDataset(filepath=str(tmp_path / "a.bin")).save(content)
        assert (tmp_path / "disk/a.bin").exists() == bool(content)
    assert (tmp_path / "a.bin").is_symlink()


def test_a_card_of_another_file_is_deleted_first(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.touch()
    dataset = datasets.BytesDataset(filepath=str(tmp_path / "a"), outdates={"model_card": {"filepath": str(card)}})
    dataset.save(b"")  # an optional file that is not written
    assert not card.exists()


def test_text_and_bytes_come_back(tmp_path: Path) -> None:
    utf8 = {"open_args_save": {"encoding": "utf-8"}, "open_args_load": {"encoding": "utf-8"}}  # as the catalog has it
    text = datasets.TextDataset(filepath=str(tmp_path / "a.md"), fs_args=utf8)
    text.save("größe\n")
    assert text.load() == "größe\n"
    assert (tmp_path / "a.md").read_bytes() == "größe\n".encode()
    binary = datasets.BytesDataset(filepath=str(tmp_path / "a.bin"))
    assert not binary.exists()
    assert binary.load() == b""
    binary.save(b"\x00\xff")
    assert binary.load() == b"\x00\xff"


def test_saving_no_bytes_removes_the_file(tmp_path: Path) -> None:
    dataset = datasets.BytesDataset(filepath=str(tmp_path / "a.bin"))
    dataset.save(b"one")
    dataset.save(b"")
    assert not dataset.exists()
    dataset.save(b"")
    assert not list(tmp_path.iterdir())


def test_removing_a_file_leaves_its_versions(tmp_path: Path) -> None:
    entry = {"type": "voc_seg.datasets.JSONDataset", "filepath": str(tmp_path / "a.json"), "versioned": True}
    AbstractDataset.from_config("a", entry, save_version="2026-01-01").save({"a": 1})
    datasets.BytesDataset(filepath=str(tmp_path / "a.json")).save(b"")
    assert (tmp_path / "a.json/2026-01-01/a.json").is_file()


def test_json_that_is_optional_is_empty_until_it_is_there(tmp_path: Path) -> None:
    dataset = datasets.OptionalJSONDataset(filepath=str(tmp_path / "a.json"))
    assert dataset.IS_OPTIONAL
    assert not dataset.exists()
    assert dataset.load() == {}
    dataset.save({"a": 1})
    assert dataset.load() == {"a": 1}


def test_json_has_null_for_nan(tmp_path: Path) -> None:
    dataset = datasets.OptionalJSONDataset(filepath=str(tmp_path / "a.json"))
    dataset.save({"a": math.nan, "b": [np.float32(0.5), np.int64(2), (math.nan,)], "c": {"d": np.float64("nan")}})
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert dataset.load() == {"a": None, "b": [0.5, 2, [None]], "c": {"d": None}}


def test_object_stores_write_as_they_do() -> None:
    dataset = datasets.JSONDataset(filepath="memory://bucket/a.json")
    dataset.save({"a": 1})
    assert dataset.load() == {"a": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    for name in ("CSVDataset", "JSONDataset", "OptionalJSONDataset", "TextDataset"):
        with pytest.raises(DatasetError, match="a is a pipe, a socket or a device, not a file"):
            getattr(datasets, name)(filepath=str(tmp_path / "a")).load()
    assert datasets.BytesDataset(filepath=str(tmp_path / "a")).load() == b""


VERSIONED = [kind for kind in KINDS if kind != "BytesDataset"]


@pytest.mark.parametrize("kind", VERSIONED)
def test_versions_are_whole_files_that_can_be_loaded(kind: str, tmp_path: Path) -> None:
    name, old, new = KINDS[kind]
    path = tmp_path / name
    entry = {"type": f"voc_seg.datasets.{kind}", "filepath": str(path), "versioned": True}
    for version, data in (("2026-01-01T00.00.00.000Z", old), ("2026-01-02T00.00.00.000Z", new)):
        dataset = AbstractDataset.from_config("entry", entry, save_version=version)
        dataset.save(old)
        dataset.save(data)  # training saves its history after every epoch
        assert dataset.exists()
        dataset.load()
        if kind != "TextDataset":
            assert dataset.preview()
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
    assert files == [f"2026-01-01T00.00.00.000Z/{name}", f"2026-01-02T00.00.00.000Z/{name}"]
    assert newest_version(path) == path / files[-1]
    again = AbstractDataset.from_config("entry", entry, save_version="2026-01-01T00.00.00.000Z")
    with pytest.raises(DatasetError, match="must not exist"):
        again.save(new)


def test_what_is_read_elsewhere_is_the_newest_version(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    entry = {"type": "voc_seg.datasets.CSVDataset", "filepath": str(path), "versioned": True}
    for day in (1, 2):
        dataset = AbstractDataset.from_config("a", entry, save_version=f"2026-01-0{day}T00.00.00.000Z")
        dataset.save(pd.DataFrame({"a": [day]}))
    table = datasets.EarlierTableDataset(filepath=str(path))
    assert table.exists()
    assert table.load()["a"].tolist() == [2]


def test_a_figure_loads_as_an_image(tmp_path: Path) -> None:
    dataset = datasets.MatplotlibDataset(filepath=str(tmp_path / "a.png"))
    dataset.save(_figure(2))
    assert dataset.load().size == (200, 100)


@pytest.mark.filterwarnings("ignore:Save version")
@pytest.mark.parametrize("versioned", [False, True])
def test_no_figures_leave_the_file_as_it_is(versioned: bool, tmp_path: Path) -> None:
    entry = {"type": "voc_seg.datasets.MatplotlibDataset", "filepath": str(tmp_path / "a.png"), "versioned": versioned}
    for day, figures in ((1, _figure(2)), (2, [])):
        dataset = AbstractDataset.from_config("a", entry, save_version=f"2026-01-0{day}T00.00.00.000Z")
        dataset.save(figures)
        assert dataset.load().size == (200, 100)
    assert len([path for path in tmp_path.rglob("*.png") if path.is_file()]) == 1


def test_resolved_entries_are_those_of_a_catalog(tmp_path: Path) -> None:
    conf = OmegaConfigLoader(str(Path(__file__).parents[2] / "conf"), env="base", **CONFIG_LOADER_ARGS)
    given = conf["catalog"] | {
        "metrics": {"type": "voc_seg.datasets.JSONDataset", "filepath": "a.json", "versioned": True}
    }
    catalog = DataCatalog.from_config(given)
    names = [name for name in given if "{" not in name]
    resolved = yaml.safe_load(yaml.dump({name: catalog.get(name)._init_config() for name in names}))
    assert resolved["metrics"]["versioned"] is True
    again = DataCatalog.from_config(resolved)
    for name in names:
        assert type(again.get(name)) is type(catalog.get(name)), name
        assert not {"args", "kwargs"} & resolved[name].keys()


def test_an_empty_table_deletes_the_old_one(tmp_path: Path) -> None:
    dataset = datasets.OptionalCSVDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False})
    assert dataset.load().empty
    dataset.save(pd.DataFrame({"a": [1]}))
    assert dataset.load()["a"].tolist() == [1]
    for _ in range(2):
        dataset.save(pd.DataFrame())
        assert list(tmp_path.iterdir()) == [] and dataset.load().empty
