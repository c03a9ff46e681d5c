"""Statistics against numbers worked out by hand."""

import pandas as pd
import pytest

from voc_seg.voc.statistics import class_statistics, ids_in_several_splits, rejected_images, split_summary

NAMES = ("background", "cat", "dog")


def index(split: str, *rows: tuple) -> pd.DataFrame:
    """Rows are (id, background, cat, dog, void, rejected)."""
    table = pd.DataFrame(rows, columns=["image_id", *NAMES, "void", "rejected"])
    table.insert(1, "split", split)
    return table.astype(dict.fromkeys(("image_id", "split", "rejected"), "string") | dict.fromkeys(NAMES, "int64"))


@pytest.fixture
def indices() -> dict[str, pd.DataFrame]:
    return {
        "train": index("train", ("a", 60, 20, 0, 9, ""), ("b", 100, 20, 0, 0, ""), ("c", 7, 7, 7, 7, "broken")),
        "val": index("val", ("d", 3, 0, 1, 0, ""), ("a", 0, 0, 4, 0, "")),
        "test": index("test"),
    }


def test_images_pixels_and_shares(indices):
    table = class_statistics(indices, NAMES)
    assert table["class_index"].tolist() == [0, 1, 2]
    assert table["class_name"].tolist() == list(NAMES)
    assert table["train_images"].tolist() == [2, 2, 0]
    assert table["train_pixels"].tolist() == [160, 40, 0]
    assert table["train_pixel_share"].tolist() == [0.8, 0.2, 0.0]
    assert table["val_images"].tolist() == [1, 0, 2]
    assert table["val_pixels"].tolist() == [3, 0, 5]
    assert table["val_pixel_share"].tolist() == [0.375, 0.0, 0.625]


def test_splits_at_a_glance(indices):
    for table, sizes in zip(indices.values(), ([(30, 20), (50, 40), (9, 9)], [(5, 4), (6, 5)], [])):
        table["width"], table["height"] = [size[0] for size in sizes], [size[1] for size in sizes]
    table = split_summary(indices, NAMES)
    assert table.index.tolist() == ["train", "val", "test"]
    assert table["images"].tolist() == [2, 2, 0]
    assert table["left_out"].tolist() == [1, 0, 0]
    assert table["median_size"].tolist() == ["40 x 30", "6 x 4", ""]  # 5.5 and 4.5 round to even
    assert table["classes_per_image"].tolist()[:2] == [1.0, 1.0]
    assert table["void_share"].tolist() == [9 / 209, 0.0, 0.0]


def test_empty_split_counts_nothing(indices):
    table = class_statistics(indices, NAMES)
    assert table[["test_images", "test_pixels", "test_pixel_share"]].eq(0).all(axis=None)
    assert [str(kind) for kind in table.filter(like="test_").dtypes] == ["int64", "int64", "float64"]


def test_rejected_images_are_listed_with_their_reason(indices):
    assert rejected_images(indices).to_dict("records") == [{"split": "train", "image_id": "c", "reason": "broken"}]


def test_no_rejected_image_leaves_the_columns(indices):
    for none in ({"val": indices["val"], "test": indices["test"]}, {}):
        table = rejected_images(none)
        assert len(table) == 0
        assert list(table.columns) == ["split", "image_id", "reason"]


def test_images_in_several_splits(indices):
    assert ids_in_several_splits(indices).to_dict("records") == [{"image_id": "a", "splits": "train, val"}]
    del indices["val"]
    assert list(ids_in_several_splits(indices).columns) == ["image_id", "splits"]
    assert len(ids_in_several_splits(indices)) == 0
