"""Roboflow's "Semantic Segmentation Masks": values from _classes.csv, splits from folders, copies in one group."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from voc_seg.importing.files import list_files
from voc_seg.importing.layout import find_layout
from voc_seg.importing.layouts import roboflow
from voc_seg.system.errors import VocSegError

data = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("annotation_files.py"))))
CLASSES = "Pixel Value, Class\n0, background\n1, cat\n2, black dog\n"


def export(folder: Path, classes: str = CLASSES, copies: str = "bc", original: str = "photo", ending: str = "") -> None:
    data.write(folder / "_classes.csv", classes)
    for copy in copies:
        name = f"{original}_jpg.rf.{copy * 8}"
        data.image(folder / f"{name}.jpg{ending}")
        data.image(folder / f"{name}_mask.png")


@pytest.mark.parametrize("where", ["", "unpacked/pets.v3i.png-mask-semantic"])
def test_an_export(tmp_path: Path, where: str) -> None:
    root = tmp_path / where
    export(root / "train", copies="abc")
    export(root / "valid", copies="d", original="other")
    export(root / "test", copies="e", original="third")
    data.write(root / "README.roboflow.txt", "hello")
    data.image(root / "train" / "more_jpg.rf.f.jpg")
    data.image(root / "train" / "gone_jpg.rf.f_mask.png")
    found = data.found(tmp_path, "roboflow")
    assert found.values == {0: "background", 1: "cat", 2: "black dog"}
    assert [one.split for one in found.images] == ["test"] + ["train"] * 3 + ["val"]
    assert {one.group for one in found.images} == {"photo", "other", "third"}
    assert all(one.mask and one.mask.stem == f"{one.image.stem}_mask" for one in found.images)
    assert [path.name for path in found.unlabelled] == ["more_jpg.rf.f.jpg"]
    notes = " ".join(found.notes)
    assert "1 mask without image ignored" in notes
    assert "2 images added by Roboflow's augmentation" in notes


@pytest.mark.parametrize(
    "classes",
    [
        "\ufeffPixel Value, Class\r\n0, background\r\n1, cat\r\n2, black dog\r\n",
        'pixel value,class\n\n0,background\n 1 ," cat "\n2,"black  dog"\n',
    ],
)
def test_classes_csv_in_other_spellings(tmp_path: Path, classes: str) -> None:
    export(tmp_path, classes)
    assert data.found(tmp_path, "roboflow").values == {0: "background", 1: "cat", 2: "black dog"}


@pytest.mark.parametrize(
    "classes, what",
    [
        ("Pixel Value, Class\n0, background\nx, cat\n", "row 'x, cat'"),
        ("Pixel Value, Class\n300, cat\n", "from 0 to 255"),
        ("Pixel Value, Class\n1,\n", "a pixel value from 0 to 255 and a class"),
        ("Pixel Value, Class\n1, cat\n1, dog\n", "the pixel value 1 two classes"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, classes: str, what: str) -> None:
    export(tmp_path, classes)
    with pytest.raises(VocSegError, match=what):
        find_layout(list_files(tmp_path))


def test_splits_with_other_classes_are_refused(tmp_path: Path) -> None:
    export(tmp_path / "train")
    export(tmp_path / "valid", CLASSES.replace("cat", "cow"))
    with pytest.raises(VocSegError, match=r"train/_classes\.csv and .*valid/_classes\.csv give the pixel values other"):
        find_layout(list_files(tmp_path))


def test_the_export_for_classification_is_another_one(tmp_path: Path) -> None:
    export(tmp_path, "filename, cat, dog\na.jpg, 1, 0\n")
    assert roboflow.find(list_files(tmp_path)) is None
