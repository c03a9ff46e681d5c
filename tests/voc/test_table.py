"""A table of images and masks as the source of a data set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_seg.datasets import SampleStoreDataset, VOCSplitDataset
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.system.errors import VocSegError
from voc_seg.voc.index import fingerprints, index_images
from voc_seg.voc.pairs import Reading
from voc_seg.voc.splits import find_voc_folder, read_split
from voc_seg.voc.table import read_table, write_table


def make_table(folder: Path, name: str = "images.csv") -> Path:
    """Two images in different folders, with the same file name, and their masks elsewhere."""
    rows = []
    for split, image, mask in (("train", "a/x.PNG", "deep/er/x mask.png"), ("val", "b/x.jpg", "x2.png")):
        for path in (folder / image, folder / mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(folder / image)
        Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(folder / mask)
        rows.append((f"x_{split}", split, image, mask))
    table = pd.DataFrame(rows, columns=["image_id", "split", "image", "mask"])
    path = folder / name
    if name.endswith(".csv"):
        write_table(path, table)
    else:
        table.to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["images.csv", "images.parquet"])
def test_split_of_a_table(tmp_path: Path, name: str) -> None:
    path = make_table(tmp_path, name)
    split = read_split(find_voc_folder(path, None), "own", "train")
    assert split.ids == ("x_train",)
    assert split.image_path("x_train") == tmp_path / "a/x.PNG"
    assert split.mask_path("x_train") == tmp_path / "deep/er/x mask.png"
    assert read_split(path, "own", "test").ids == ()
    index = index_images(split)
    assert index["rejected"].tolist() == [""] and index["aeroplane"].tolist() == [6]
    assert index["image_file"].tolist() == ["a/x.PNG"]


def test_fingerprint_changes_with_a_file_of_any_folder(tmp_path: Path) -> None:
    path = make_table(tmp_path)
    before = fingerprints(read_split(path, "own", "train"), Reading())
    table = read_table(path)
    table["image"] = table["image"].replace("a/x.PNG", "b/x.jpg")
    write_table(path, table)
    assert fingerprints(read_split(path, "own", "train"), Reading()) != before


def test_a_missing_file_is_reported_by_name(tmp_path: Path) -> None:
    path = make_table(tmp_path)
    (tmp_path / "x2.png").unlink()
    index = index_images(read_split(path, "own", "val"))
    assert index["rejected"].str.contains("missing mask: .*/x2.png").all()


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("split", "training", "has the split 'training': use train, val, test or nothing"),
        ("image_id", "a/b", "has the image_id 'a/b': it must be a file name"),
        ("image_id", "X_VAL", "as row 2"),
        ("mask", "", "has no mask"),
        ("image", "", "has no image"),
    ],
)
def test_bad_rows_are_refused_with_their_number(tmp_path: Path, column: str, value: str, message: str) -> None:
    path = make_table(tmp_path)
    table = read_table(path).iloc[::-1]
    table.iloc[1, table.columns.get_loc(column)] = value
    write_table(path, table)
    with pytest.raises(VocSegError, match=f"Row 3 of .*{message}"):
        read_table(path)


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match="does not exist"):
        read_split(tmp_path / "none.csv", "own", "train")
    (tmp_path / "other.csv").write_text("id,path\n1,a.png\n")
    with pytest.raises(VocSegError, match="has no column image_id, split, image, mask; its columns are: id, path"):
        read_table(tmp_path / "other.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(VocSegError, match=r"broken.parquet cannot be read"):
        read_table(tmp_path / "broken.parquet")
    path = make_table(tmp_path)
    table = read_table(path)
    write_table(path, table[table["split"] == "train"])
    with pytest.raises(VocSegError, match="has no row with the split val"):
        read_split(path, "own", "val")


def test_samples_of_a_table_are_those_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_table(tmp_path / "trees")
    dataset = VOCSplitDataset(source="own", split="train", voc_root=str(path))
    assert dataset.data_name() == "trees"
    split = dataset.load()
    file = tmp_path / "train.arrow"
    SampleStoreDataset(filepath=str(file), source="own", voc_root=str(path)).save(DecodedSamples(split, split.ids))
    monkeypatch.chdir(tmp_path)
    store = SampleStoreDataset(filepath=str(file), source="own", voc_root="trees/images.csv").load()
    assert list(store.ids) == ["x_train"] and store.origin.name == "trees"
    other = make_table(tmp_path / "bushes")
    with pytest.raises(Exception, match=r"holds samples of .*trees"):
        SampleStoreDataset(filepath=str(file), source="own", voc_root=str(other)).load()


def test_relative_roots_are_found_from_a_subfolder_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[tool.kedro]\npackage_name = "voc_seg"\n')
    make_table(project / "trees")
    monkeypatch.chdir(project / "notebooks")
    split = VOCSplitDataset(source="own", split="train", voc_root="trees/images.csv").load()
    assert split.image_path("x_train").is_file()
    # or from elsewhere, where Kedro has made the path of the raw data absolute
    monkeypatch.chdir(tmp_path)
    raw = str(project / "data/01_raw")
    split = VOCSplitDataset(source="own", split="train", filepath=raw, voc_root="trees/images.csv").load()
    assert split.image_path("x_train").is_file()


def test_groups_are_read_and_written_where_there_are_any(tmp_path: Path) -> None:
    path = make_table(tmp_path)
    assert "group" not in path.read_text()
    table = read_table(path)
    assert table["group"].tolist() == ["", ""]
    before = fingerprints(read_split(path, "own", "train"), Reading())
    table["group"] = ["patient1", ""]
    write_table(path, table)
    assert read_table(path)["group"].tolist() == ["patient1", ""]
    split = read_split(path, "own", "train")
    assert split.groups == {"x_train": "patient1"} and read_split(path, "own", "val").groups == {}
    assert fingerprints(split, Reading()) != before  # so that the index says so, too
