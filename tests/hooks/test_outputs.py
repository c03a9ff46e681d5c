"""Outputs that cannot be written are noticed before a run, without changing anything."""

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
from voc_seg.hooks.outputs import OutputHooks, entry_fault, file_fault, folder_fault
from voc_seg.system.background import write_in_background
from voc_seg.system.errors import VocSegError


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
    fault = file_fault(tmp_path / name)
    assert fault is None if message is None else re.search(message, fault)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.csv").write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    for fault in (folder_fault(tmp_path / "a" / "b"), file_fault(tmp_path / "a.csv"), file_fault(tmp_path / "x.csv")):
        assert f"{tmp_path} cannot be written to (read-only" in fault


def test_a_file_that_is_immutable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.csv").write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)  # the file's mode would allow it
    assert "cannot be replaced" in file_fault(tmp_path / "x.csv")


def test_a_drive_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the parent of a missing drive is the drive itself."""
    drive = tmp_path / "Z"
    monkeypatch.setattr(Path, "parent", property(lambda path: drive))
    assert str(drive) in folder_fault(drive / "data")


def test_remote_and_memory_datasets_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not entry_fault(MemoryDataset())
    assert not entry_fault(JSONDataset(filepath="memory://file/x.json"))
    assert entry_fault(JSONDataset(filepath=str(tmp_path / "file" / "x.json")))
    assert entry_fault(CheckpointsDataset(filepath=str(tmp_path / "file")))
    assert not entry_fault(CheckpointsDataset(filepath=str(tmp_path)))


def test_a_run_is_refused_before_any_work(
    project: Path, run_kedro: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = outputs.folder_fault
    monkeypatch.setattr(
        outputs, "folder_fault", lambda folder: "not there" if folder.name == "08_reporting" else look(folder)
    )
    with pytest.raises(ClickException, match=r"nothing has run\.\n  not there$"):
        run_kedro(project, "training")
    assert not (project / "data/06_models").exists()


class TestBackground:
    def _fail(self) -> None:
        raise VocSegError("No space for the checkpoint")

    @pytest.mark.parametrize("hook", ["before_node_run", "after_pipeline_run"])
    def test_a_checkpoint_that_could_not_be_written_ends_the_run(self, hook: str) -> None:
        write_in_background(self._fail)
        with pytest.raises(VocSegError, match="No space for the checkpoint"):
            getattr(OutputHooks(), hook)()

    def test_after_another_error_it_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        write_in_background(self._fail)
        OutputHooks().on_pipeline_error()
        assert "The last checkpoint could not be written: No space" in caplog.text
