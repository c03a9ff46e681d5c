"""Tables and lists of image and mask paths, as people write them."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from voc_seg.importing.files import list_files
from voc_seg.importing.layouts import table
from voc_seg.system.errors import VocSegError

build = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("mask_files.py"))))

FILES = ("p/1.jpg", "p/2.jpg", "p/3.jpg", "q/m1.png", "q/m2.png", "q/m3.png")
PAIRS = {"p/1.jpg": "q/m1.png", "p/2.jpg": "q/m2.png", "p/3.jpg": "q/m3.png"}
ROWS = [("p/1.jpg", "q/m1.png"), ("p/2.jpg", "q/m2.png"), ("p/3.jpg", "q/m3.png")]


def write_data(folder: Path, *names: str) -> Path:
    for name in names or FILES:
        (build.write_mask if "m" in Path(name).stem else build.write_image)(folder / name)
    return folder


def lines(*rows: tuple[str, ...], by: str = ",") -> str:
    return "".join(by.join(row) + "\n" for row in rows)


HEADERS = [
    ("image", "mask"),
    ("image_path", "mask_path"),
    ("Image Path", "Label Path"),
    ("img", "annotation"),
    ("filename", "segmentation"),
    ("file_name", "target"),
    ("imagePath", "maskPath"),
    ("path", "gt"),
    ("sat_image_path", "mask_path"),
]


@pytest.mark.parametrize("header", HEADERS, ids=[header[0] for header in HEADERS])
def test_names_of_columns(tmp_path: Path, header: tuple[str, str]) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / "data.csv", lines(header, *ROWS))
    layout, found = build.recognised(tmp_path)
    assert layout == "table"
    assert build.pairs(found, tmp_path) == PAIRS
    assert {one.split for one in found.images} == {""} and not found.notes


TEXTS = {
    "semicolon": ("a.csv", lines(("image", "mask"), *ROWS, by=";")),
    "tab": ("a.tsv", lines(("image", "mask"), *ROWS, by="\t")),
    "tab in CSV": ("a.csv", lines(("image", "mask"), *ROWS, by="\t")),
    "BOM": ("a.csv", "\ufeff" + lines(("image", "mask"), *ROWS)),
    "quotes": ("a.csv", lines(('"image"', '"mask"'), *((f'"{image}"', f'"{mask}"') for image, mask in ROWS))),
    "backslashes": ("a.csv", lines(("image", "mask"), *ROWS).replace("/", "\\")),
    "blanks": (
        "a.csv",
        "\n" + lines(("image ", " mask"), *((f" {image} ", f" {mask}") for image, mask in ROWS)) + "\n\n",
    ),
    "index": ("a.csv", lines(("", "image", "mask"), *((str(number), *row) for number, row in enumerate(ROWS)))),
    "dot": ("a.csv", lines(("image", "mask"), *((f"./{image}", f"./{mask}") for image, mask in ROWS))),
    "other machine": (
        "a.csv",
        lines(("image", "mask"), *((f"/home/me/{image}", f"C:\\data\\{mask}") for image, mask in ROWS)),
    ),
    "no header": ("pairs.csv", lines(*ROWS)),
    "list": ("pairs.txt", lines(*ROWS, by=" ")),
    "list with tabs": ("pairs.lst", lines(*ROWS, by="\t")),
    "list of other machine": (
        "all.txt",
        lines(*((f"/data/x/{image}", f"/data/x/{mask}") for image, mask in ROWS), by=" "),
    ),
    "case": ("a.csv", lines(("image", "mask"), *((image.upper(), mask) for image, mask in ROWS))),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("where", [".", "archive/set"])
def test_text_formats(tmp_path: Path, name: str, newline: str, where: str) -> None:
    folder = write_data(tmp_path / where)
    build.write_text(folder / TEXTS[name][0], TEXTS[name][1], newline=newline)
    layout, found = build.recognised(tmp_path)
    assert layout == "table"
    assert build.pairs(found, folder) == PAIRS


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_encodings_of_spreadsheets(tmp_path: Path, encoding: str) -> None:
    write_data(tmp_path, "fotos/grün.jpg", "fotos/grün m.png")
    text = lines(("image", "mask"), ("fotos/grün.jpg", "fotos/grün m.png"), by="\t")
    build.write_text(tmp_path / "data.csv", text, encoding=encoding)
    assert build.pairs(build.recognised(tmp_path)[1], tmp_path) == {"fotos/grün.jpg": "fotos/grün m.png"}


def test_paths_may_be_relative_to_the_folder_that_is_imported(tmp_path: Path) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / "lists/data.csv", lines(("image", "mask"), *ROWS))
    assert build.pairs(build.recognised(tmp_path)[1], tmp_path) == PAIRS


def test_files_may_be_outside(tmp_path: Path) -> None:
    outside = write_data(tmp_path / "elsewhere")
    rows = [(str(outside / image), f"../elsewhere/{mask}") for image, mask in ROWS]
    build.write_text(tmp_path / "mine/data.csv", lines(("image", "mask"), *rows))
    _, found = build.recognised(tmp_path / "mine")
    assert [one.image.name for one in found.images] == ["1.jpg", "2.jpg", "3.jpg"]
    assert all(one.mask.is_file() for one in found.images)


def test_file_names_with_blanks_in_lists(tmp_path: Path) -> None:
    write_data(tmp_path, "my photos/a 1.jpg", "my masks/m 1.png")
    build.write_text(tmp_path / "train.txt", "my photos/a 1.jpg my masks/m 1.png\n")
    assert build.pairs(build.recognised(tmp_path)[1], tmp_path) == {"my photos/a 1.jpg": "my masks/m 1.png"}


def test_parquet(tmp_path: Path) -> None:
    write_data(tmp_path)
    frame = pd.DataFrame(ROWS, columns=["image", "mask"])
    frame["split"] = pd.Categorical(["train", "val", "test"])
    frame["pixels"] = [[1, 2]] * 3
    frame.to_parquet(tmp_path / "data.parquet")
    layout, found = build.recognised(tmp_path)
    assert layout == "table"
    assert build.pairs(found, tmp_path) == PAIRS
    assert build.splits(found) == {"1.jpg": "train", "2.jpg": "val", "3.jpg": "test"}


@pytest.mark.parametrize("column", ["split", "Subset", "set", "fold"])
def test_column_of_splits(tmp_path: Path, column: str) -> None:
    write_data(tmp_path)
    rows = [(*row, split) for row, split in zip(ROWS, ("Training", "valid", "TEST"))]
    build.write_text(tmp_path / "data.csv", lines(("image", "mask", column), *rows))
    assert build.splits(build.recognised(tmp_path)[1]) == {"1.jpg": "train", "2.jpg": "val", "3.jpg": "test"}


def test_folds_are_no_splits(tmp_path: Path) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / "data.csv", lines(("image", "mask", "fold"), *((*row, "3") for row in ROWS)))
    _, found = build.recognised(tmp_path)
    assert {one.split for one in found.images} == {""}
    assert found.notes == ("The column fold of data.csv has values that are not splits: 3.",)


def test_column_of_ids(tmp_path: Path) -> None:
    write_data(tmp_path)
    rows = [(f"id {number}", *row) for number, row in enumerate(ROWS)]
    build.write_text(tmp_path / "data.csv", lines(("image_id", "image", "mask"), *rows))
    assert [one.name for one in build.recognised(tmp_path)[1].images] == ["id 0", "id 1", "id 2"]


@pytest.mark.parametrize(
    "names", [("train.csv", "val.csv"), ("train_list.txt", "val_list.txt"), ("sets/Train.txt", "sets/Valid.txt")]
)
def test_a_table_for_each_split(tmp_path: Path, names: tuple[str, str]) -> None:
    write_data(tmp_path)
    for name, rows in zip(names, (ROWS[:2], ROWS[2:])):
        header = [("image", "mask")] if name.endswith(".csv") else []
        build.write_text(tmp_path / name, lines(*header, *rows, by="," if header else " "))
    build.write_text(tmp_path / "trainval.csv", lines(("image", "mask"), *ROWS))
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"1.jpg": "train", "2.jpg": "train", "3.jpg": "val"}
    assert "The table trainval.csv is not used, since there are tables of splits." in found.notes


def test_an_image_of_two_splits_is_kept_from_training(tmp_path: Path) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / "train.txt", lines(*ROWS, by=" "))
    build.write_text(tmp_path / "val.txt", lines(ROWS[0], by=" "))
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"1.jpg": "val", "2.jpg": "train", "3.jpg": "train"}
    assert "1 row repeats an image, which is used once: p/1.jpg." in found.notes


def test_several_tables_are_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    for name in ("first.csv", "second.csv"):
        build.write_text(tmp_path / name, lines(("image", "mask"), *ROWS))
    with pytest.raises(VocSegError, match=r"several tables of images and masks: first\.csv, second\.csv"):
        build.recognised(tmp_path)


def test_nothing_is_dropped_silently(tmp_path: Path) -> None:
    write_data(tmp_path)
    rows = [
        ROWS[0],
        ("p/2.jpg", ""),
        ("p/3.jpg", "q/x.png"),
        ("p/y.jpg", "q/m2.png"),
        ("p/1.jpg", "q/m3.png"),
        ("p/2.jpg",),
    ]
    build.write_text(tmp_path / "data.csv", lines(("image", "mask"), *rows))
    _, found = build.recognised(tmp_path)
    assert build.pairs(found, tmp_path) == {"p/1.jpg": "q/m1.png"}
    assert [path.name for path in found.unlabelled] == ["2.jpg", "3.jpg"]
    assert "2 files of the table do not exist: q/x.png, p/y.jpg." in found.notes
    assert "1 row has another mask for the same image and is not used: p/1.jpg." in found.notes


def test_a_missing_mask_is_not_the_image_of_its_name(tmp_path: Path) -> None:
    write_data(tmp_path, "p/1.png", "p/2.png", "q/1.png")
    build.write_text(tmp_path / "data.csv", lines(("image", "mask"), ("p/1.png", "q/1.png"), ("p/2.png", "q/2.png")))
    _, found = build.recognised(tmp_path)
    assert build.pairs(found, tmp_path) == {"p/1.png": "q/1.png"}
    assert [path.name for path in found.unlabelled] == ["2.png"]


def test_images_outside_the_table_are_said(tmp_path: Path) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / "data.csv", lines(("image", "mask"), *ROWS[:2]))
    assert build.recognised(tmp_path)[1].notes == ("2 images are in no table and not used: p/3.jpg, q/m3.png.",)


OTHERS = {
    "labels of images": ("labels.csv", lines(("image", "label"), ("p/1.jpg", "cat"))),
    "roboflow": ("_classes.csv", "Pixel Value, Class\n0, background\n"),
    "colours": ("class_dict.csv", "name,r,g,b\nsky,1,2,3\n"),
    "missing files": ("data.csv", lines(("image", "mask"), ("x/8.jpg", "x/9.png"))),
    "one column": ("train.txt", "p/1.jpg\np/2.jpg\n"),
    "ids": ("train.txt", "1\n2\n"),
    "boxes": ("boxes.csv", lines(("filename", "xmin", "label"), ("p/1.jpg", "3", "cat"))),
    "no text": ("data.csv", "\0\1\2"),
    "empty": ("data.csv", ""),
    "only a header": ("data.csv", "image,mask\n"),
    "no Parquet": ("data.parquet", "image,mask"),
    "run lengths": ("train.csv", lines(("ImageId", "EncodedPixels", "mask"), ("1.jpg", "1 3 10 5", "1 3 10 5"))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_tables_are_not_claimed(tmp_path: Path, name: str) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / OTHERS[name][0], OTHERS[name][1])
    assert table.find(list_files(tmp_path)) is None


def test_a_table_beside_folders_wins(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "masks/a.png")
    build.write_text(tmp_path / "data.csv", lines(("image", "mask", "split"), ("images/a.jpg", "masks/a.png", "val")))
    layout, found = build.recognised(tmp_path)
    assert layout == "table" and build.splits(found) == {"a.jpg": "val"}


def test_class_names_beside_the_table(tmp_path: Path) -> None:
    write_data(tmp_path)
    build.write_text(tmp_path / "train.txt", lines(*ROWS, by=" "))
    build.write_text(tmp_path / "labels.txt", "background\ntree\n")
    assert build.recognised(tmp_path)[1].values == {0: "background", 1: "tree"}
