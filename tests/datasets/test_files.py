"""A folder of files: all of one save, or none."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from voc_seg.datasets import FilesDataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "export" / "demo"


@pytest.fixture
def dataset(folder: Path) -> FilesDataset:
    return FilesDataset(filepath=str(folder))


def test_a_save_replaces_all_files_and_keeps_others(dataset: FilesDataset, folder: Path) -> None:
    assert not dataset.exists()
    dataset.save({"a.html": b"1", "b.js": b"2"})
    (folder / "mine.txt").write_bytes(b"3")
    dataset.save({"a.html": b"4"})
    assert dataset.load() == {"a.html": b"4", "mine.txt": b"3"}
    assert dataset.exists()
    assert dataset.preview()["data"] == [["a.html", "1 byte"], ["mine.txt", "1 byte"]]


def test_saving_none_deletes_what_was_saved(dataset: FilesDataset, folder: Path) -> None:
    dataset.save({})
    assert not folder.exists()
    dataset.save({"a.html": b"1"})
    dataset.save({})
    assert not folder.exists()


def test_a_save_that_fails_leaves_the_old_files(
    dataset: FilesDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.save({"a.html": b"old", "b.js": b"old"})
    write = Path.write_bytes

    def fail(path: Path, content: bytes) -> int:
        if path.name == "b.js":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(DatasetError, match="No space left"):
        dataset.save({"a.html": b"new", "b.js": b"new"})
    assert dataset.load() == {"a.html": b"old", "b.js": b"old"}
