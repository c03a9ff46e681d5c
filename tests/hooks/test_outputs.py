"""Outputs that cannot be written are noticed before a run; nothing is made or changed by looking."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click import ClickException
from kedro.io import MemoryDataset
from kedro_datasets.json import JSONDataset

from voc_seg.datasets import CheckpointsDataset
from voc_seg.hooks import outputs
from voc_seg.hooks.outputs import fault_of_entry, fault_of_folder, fault_of_place


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=2, val=1, test=1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file/x.csv", "file is a file, but a folder is needed"),
        ("folder", "folder is a folder, but this run writes a file"),
        ("circle", "Repair or remove it"),
        ("circle/x.csv", "Repair or remove it"),
        ("file", None),
        ("new/a/x.csv", None),
        ("dead link", None),
    ],
)
def test_places_of_files(tmp_path: Path, name: str, message: str | None) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dead link").symlink_to(tmp_path / "gone" / "x.csv")
    (tmp_path / "circle").symlink_to("back")
    (tmp_path / "back").symlink_to("circle")
    before = sorted(tmp_path.rglob("*"))
    fault = fault_of_place(tmp_path / name)
    assert fault is None if message is None else re.search(message, fault)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert f"{tmp_path} cannot be written to" in fault_of_folder(tmp_path / "a" / "b")
    (tmp_path / "x.csv").write_text("")
    assert "cannot be replaced" in fault_of_place(tmp_path / "x.csv")  # immutable: its mode would allow it


def test_a_drive_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the parent of a missing drive is the drive itself."""
    drive = tmp_path / "Z"
    monkeypatch.setattr(Path, "parent", property(lambda path: drive))
    assert str(drive) in fault_of_folder(drive / "data")


def test_what_is_not_on_this_machine_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not fault_of_entry(MemoryDataset())
    assert not fault_of_entry(JSONDataset(filepath="memory://file/x.json"))
    assert fault_of_entry(JSONDataset(filepath=str(tmp_path / "file" / "x.json")))
    assert fault_of_entry(CheckpointsDataset(filepath=str(tmp_path / "file")))
    assert not fault_of_entry(CheckpointsDataset(filepath=str(tmp_path)))


def test_a_run_is_refused_before_any_work(
    project: Path, run_kedro: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = outputs.fault_of_folder
    monkeypatch.setattr(
        outputs, "fault_of_folder", lambda folder: "not there" if folder.name == "08_reporting" else look(folder)
    )
    with pytest.raises(ClickException, match=r"nothing has run\.\n  not there$"):
        run_kedro(project, "training")
    assert not (project / "data/06_models").exists()
