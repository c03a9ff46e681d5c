"""A table of an earlier run as an input."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from voc_seg.datasets import EarlierTableDataset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train_index.parquet"


def test_it_reads_what_is_there(path: Path) -> None:
    table = pd.DataFrame({"image_id": ["a"], "rejected": [""]})
    table.to_parquet(path)
    pd.testing.assert_frame_equal(EarlierTableDataset(filepath=str(path)).load(), table)


def test_it_reads_csv_by_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "training_history.csv"
    path.write_text("epoch,val_miou,is_best\n1,,False\n2,0.25,True\n")
    table = EarlierTableDataset(filepath=str(path)).load()
    assert table["is_best"].tolist() == [False, True]
    assert table["val_miou"].tolist()[1] == 0.25
    path.write_bytes(b"")
    assert EarlierTableDataset(filepath=str(path)).load().empty


def test_the_first_run_finds_an_empty_table(path: Path) -> None:
    dataset = EarlierTableDataset(filepath=str(path))
    assert dataset.IS_OPTIONAL
    assert not dataset.exists()
    assert dataset.load().empty


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all" * 10])
def test_a_damaged_table_counts_as_none_and_is_named(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    assert EarlierTableDataset(filepath=str(path)).load().empty
    assert "train_index.parquet cannot be read and is treated as missing" in caplog.text


def test_it_is_not_to_be_written(path: Path) -> None:
    with pytest.raises(DatasetError, match="written by another entry"):
        EarlierTableDataset(filepath=str(path)).save(pd.DataFrame())
