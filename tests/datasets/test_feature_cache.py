"""The catalog entry of stored features."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from voc_seg.datasets import FeatureCacheDataset


def test_its_preview_lists_the_folders(tmp_path: Path) -> None:
    entry = FeatureCacheDataset(filepath=str(tmp_path / "features"))
    assert not entry.exists() and entry.preview()["data"] == []
    for name, size in (("val-a", 10), ("train-a", 2000)):
        folder = tmp_path / "features" / name
        folder.mkdir(parents=True)
        (folder / "00000.arrow").write_bytes(bytes(size))
    assert entry.preview()["data"] == [["train-a", "2.0 kB"], ["val-a", "10 bytes"]]


def test_nothing_but_a_training_fills_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="filled by the training"):
        FeatureCacheDataset(filepath=str(tmp_path)).save("features")
