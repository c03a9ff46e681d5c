"""What data_processing says of copies and misplaced masks, from the index alone."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_seg.importing.index_traits import index_traits, index_warnings
from voc_seg.scenes.sample import write_scenes
from voc_seg.voc.classes import CLASS_NAMES
from voc_seg.voc.index import index_images
from voc_seg.voc.splits import VOCSplit

COUNTS = {"train": 24, "val": 12, "test": 2}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("drawn"), COUNTS)


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the drawn scenes that a test may change."""
    return Path(shutil.copytree(drawn, tmp_path / "scenes"))


def indices(folder: Path) -> dict[str, pd.DataFrame]:
    made = {}
    for name in COUNTS:
        ids = tuple((folder / f"ImageSets/Segmentation/{name}.txt").read_text().split())
        split = VOCSplit(name, "sample", ids, folder / "JPEGImages", folder / "SegmentationClass")
        made[name] = index_images(split, describe=index_traits(len(split)))
    return made


def warnings(folder: Path) -> list[str]:
    return [one for one in index_warnings(indices(folder), CLASS_NAMES) if "one image only" not in one]


def change_masks(folder: Path, change: object) -> None:
    for path in (folder / "SegmentationClass").glob("*.png"):
        image = Image.open(path)
        changed = Image.fromarray(np.ascontiguousarray(change(np.array(image))))
        changed.putpalette(image.getpalette())
        changed.save(path)


def test_drawn_scenes_raise_no_alarm(folder: Path) -> None:
    assert warnings(folder) == []


def test_mirrored_masks(folder: Path) -> None:
    change_masks(folder, lambda mask: mask[:, ::-1])
    (warning,) = warnings(folder)
    assert warning.startswith("The masks look mirrored left to right: ")


def test_one_mask_for_all(folder: Path) -> None:
    for path in (folder / "JPEGImages").glob("*.jpg"):
        Image.open(path).resize((120, 100)).save(path)
    mask = np.zeros((100, 120), np.uint8)
    mask[20:50, 30:90] = 8
    change_masks(folder, lambda _: mask)
    assert any(one.startswith("All 38 images have the same mask.") for one in warnings(folder))


def test_copies_in_two_splits(folder: Path) -> None:
    train, val = ((folder / f"ImageSets/Segmentation/{name}.txt").read_text().split()[0] for name in ("train", "val"))
    Image.open(folder / f"JPEGImages/{train}.jpg").save(folder / f"JPEGImages/{val}.jpg", quality=40)
    Image.open(folder / f"SegmentationClass/{train}.png").save(folder / f"SegmentationClass/{val}.png")
    (warning,) = warnings(folder)
    assert warning.startswith(f"2 images look the same as others in another split, such as {train} in train and {val}")


def test_a_class_in_one_image(folder: Path) -> None:
    made = indices(folder)
    for index in made.values():
        index["cat"] = 0
    made["val"].loc[0, "cat"] = 5
    found = [one for one in index_warnings(made, CLASS_NAMES) if "one image only" in one]
    assert len(found) == 1 and "cat" in found[0]
    assert index_warnings(made, ["background"]) == []


def test_old_indices_empty_ones_and_rejected_images(folder: Path) -> None:
    assert index_warnings({"train": pd.DataFrame()}, CLASS_NAMES) == []
    made = indices(folder)
    for index in made.values():
        index["traits"] = ""
    assert [one for one in index_warnings(made, CLASS_NAMES) if "one image only" not in one] == []
    made["train"]["rejected"] = "damaged"
    index_warnings(made, CLASS_NAMES)
