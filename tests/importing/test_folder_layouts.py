"""Folder pairs and pairs by suffix: recognised under the usual names, and never mistaken for something else."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from voc_seg.importing.files import list_files
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layouts import folders, suffix
from voc_seg.system.errors import VocSegError

build = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("mask_files.py"))))

PAIRS = {
    "images and masks": {"images/a.jpg": "masks/a.png", "images/b.jpg": "masks/b.png"},
    "one pair": {"images/a.jpg": "masks/a.png"},
    "upper case": {"Images/A.JPG": "Masks/a.PNG", "Images/B.JPG": "Masks/b.PNG"},
    "imgs and annotations": {"imgs/a.jpg": "annotations/a.png"},
    "inputs and targets": {"inputs/a.png": "targets/a_mask.png"},
    "VOC folders without lists": {"JPEGImages/a.jpg": "SegmentationClass/a.png"},
    "ground truth": {"photos/a.jpg": "Ground Truth/a_gt.png"},
    "x and y": {"x/1.png": "y/1_mask.png"},
    "mmseg": {"img_dir/train/a.jpg": "ann_dir/train/a_labels.png", "img_dir/val/b.jpg": "ann_dir/val/b_labels.png"},
    "suffix": {"images/a.jpg": "masks/a_mask.png", "images/b.jpg": "masks/b_mask.png"},
    "prefix": {"images/a.jpg": "masks/mask_a.png", "images/b.jpg": "masks/mask_b.png"},
    "CamVid's suffix": {"images/0006R0.png": "labels/0006R0_L.png", "images/0016E5.png": "labels/0016E5_L.png"},
    "image named mask": {"images/mask_1.png": "masks/mask_1.png", "images/mask_2.png": "masks/mask_2.png"},
    "images named label": {"images/label.jpg": "masks/label.png", "images/gt_1.jpg": "masks/gt_1.png"},
    "split inside": {"images/train/a.jpg": "masks/train/a.png", "images/val/b.jpg": "masks/val/b.png"},
    "split outside": {"train/images/a.jpg": "train/masks/a.png", "val/images/a.jpg": "val/masks/a.png"},
    "split in names": {"train_images/a.jpg": "train_masks/a.png", "val_images/b.jpg": "val_masks/b.png"},
    "split at the end": {"images_train/a.jpg": "labels_train/a.png", "images_test/b.jpg": "labels_test/b.png"},
    "SegNet": {"train/a.png": "trainannot/a.png", "val/b.png": "valannot/b.png"},
    "Kaggle": {"train/a.png": "train_labels/a_L.png", "test/b.png": "test_labels/b_L.png"},
    "split with a year": {
        "images/train2017/a.jpg": "masks/train2017/a.png",
        "images/val2017/b.jpg": "masks/val2017/b.png",
    },
    "other words for val": {
        "images/training/a.jpg": "masks/train/a.png",
        "images/valid/b.jpg": "masks/validation/b.png",
    },
    "one folder down": {"archive/images/a.jpg": "archive/masks/a.png"},
    "two folders down": {"export/my data/images/a.jpg": "export/my data/masks/a.png"},
    "folder named after masks": {"segmentation/images/a.jpg": "segmentation/masks/a.png"},
    "folder named after images": {"data/images/a.jpg": "data/masks/a.png"},
    "subfolders": {"images/s/1.jpg": "masks/s/1.png", "images/t/1.jpg": "masks/t/1.png"},
    "masks are flat": {"images/s/1.jpg": "masks/1.png", "images/t/2.jpg": "masks/2.png"},
    "images beside the folder": {"a.jpg": "masks/a.png", "b.jpg": "masks/b.png"},
    "masks inside images": {"images/a.jpg": "images/masks/a.png"},
    "sizes": {"images_256/a.jpg": "masks_256/a.png", "images_512/b.jpg": "masks_512/b.png"},
    "not ASCII": {"images/äö 1.jpg": "masks/äö 1.png", "images/日本.jpg": "masks/日本.png"},
    "JPEG masks": {"images/a.jpg": "masks/a.jpg", "images/b.jpg": "masks/b.jpg"},
}


@pytest.mark.parametrize("name", PAIRS)
def test_folders_are_recognised(tmp_path: Path, name: str) -> None:
    build.write_files(tmp_path, *PAIRS[name], *PAIRS[name].values(), "README.md", "notebook.ipynb")
    layout, found = build.recognised(tmp_path)
    assert layout == ("camvid" if name == "SegNet" else "folders")
    assert build.pairs(found, tmp_path) == PAIRS[name]
    assert build.pairs(folders.find(list_files(tmp_path)), tmp_path) == PAIRS[name]
    assert not found.unlabelled
    assert suffix.find(list_files(tmp_path)) is None


@pytest.mark.parametrize(
    "name",
    [
        "split inside",
        "split outside",
        "split in names",
        "split at the end",
        "SegNet",
        "Kaggle",
        "mmseg",
        "split with a year",
    ],
)
def test_splits_are_in_the_names_of_folders(tmp_path: Path, name: str) -> None:
    build.write_files(tmp_path, *PAIRS[name], *PAIRS[name].values())
    _, found = build.recognised(tmp_path)
    for one in found.images:
        assert one.split and one.split in one.image.relative_to(tmp_path.resolve()).as_posix()


def test_other_words_for_the_splits(tmp_path: Path) -> None:
    build.write_files(tmp_path, *PAIRS["other words for val"], *PAIRS["other words for val"].values())
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"a.jpg": "train", "b.jpg": "val"}


def test_a_folder_named_test_is_no_split(tmp_path: Path) -> None:
    build.write_files(tmp_path, "test/images/a.jpg", "test/masks/a.png")
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"a.jpg": ""}


def test_nothing_is_dropped_silently(tmp_path: Path) -> None:
    build.write_files(
        tmp_path, "train/images/a.jpg", "train/masks/a.png", "train/images/b.jpg", "train/masks/c_mask.png",
        "test/images/t.jpg", "overlays/a.jpg",
    )  # fmt: skip
    _, found = build.recognised(tmp_path)
    assert [path.name for path in found.unlabelled] == ["t.jpg", "b.jpg"]
    text = " ".join(found.notes)
    assert "1 mask has no image: train/masks/c_mask.png." in text
    assert "1 other image is in folders of other names and not used: overlays/a.jpg." in text


def test_an_image_twice_is_not_guessed(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png", "images/b.jpg", "masks/b.png")
    _, found = build.recognised(tmp_path)
    assert build.pairs(found, tmp_path) == {"images/b.jpg": "masks/b.png"}
    assert any("images/a.jpg, images/a.png" in note for note in found.notes)


def test_jpeg_masks_are_refused_by_the_inspection(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg")
    build.write_image(tmp_path / "masks/a.jpg")
    _, found = build.recognised(tmp_path)
    (facts,) = inspect_pairs(found)
    assert "JPEG" in facts.problem


def test_folders_of_classes_are_said(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "masks/cat/a.png", "images/b.jpg", "masks/dog/b.png")
    _, found = build.recognised(tmp_path)
    assert "images/a.jpg has the mask masks/cat/a.png" in found.notes[0]


def test_names_that_do_not_agree_are_shown(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/cat.jpg", "masks/1.png")
    with pytest.raises(VocSegError, match=r"has the name of an image .*: masks/1.png and images/cat.jpg"):
        build.recognised(tmp_path)


def test_two_folders_of_masks_are_refused(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "masks/a.png", "labels/a.png")
    with pytest.raises(VocSegError, match="has a mask in labels and one in masks"):
        build.recognised(tmp_path)


def test_two_folders_of_images_are_refused(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "photos/a.jpg", "masks/a.png")
    with pytest.raises(VocSegError, match="Move one of these folders elsewhere"):
        build.recognised(tmp_path)


def test_folders_with_other_words_hold_no_masks(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "masks/a.png", "masks_preview/a.png", "SegmentationObject/a.png")
    _, found = build.recognised(tmp_path)
    assert build.pairs(found, tmp_path) == {"images/a.jpg": "masks/a.png"}


@pytest.mark.parametrize(
    "line, what", [("0 0.5 0.5 0.2 0.2", "boxes"), ("0 0.1 0.1 0.2 0.1 0.2 0.2 1e-05 0", "polygons")]
)
def test_text_files_of_yolo_are_no_masks(tmp_path: Path, line: str, what: str) -> None:
    build.write_files(tmp_path, "images/train/a.jpg")
    build.write_text(tmp_path / "labels/train/a.txt", line + "\n")
    with pytest.raises(VocSegError, match=f"text files of YOLO with {what}"):
        build.recognised(tmp_path)


@pytest.mark.parametrize("name", ["train_masks/a_mask.gif", "labels/a.npy", "masks/a.MAT"])
def test_formats_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    build.write_files(tmp_path, "train/a.jpg", "images/a.jpg", name)
    with pytest.raises(VocSegError, match=r"a format that is not read\. Save the masks as PNG"):
        build.recognised(tmp_path)


def test_yolo_beside_masks_does_not_matter(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "masks/a.png")
    build.write_text(tmp_path / "labels/a.txt", "0 0.5 0.5 0.2 0.2\n")
    _, found = build.recognised(tmp_path)
    assert build.pairs(found, tmp_path) == {"images/a.jpg": "masks/a.png"}


SUFFIXES = {
    "mask": {"a.jpg": "a_mask.png", "b.jpg": "b_mask.png"},
    "one": {"a.jpg": "a_mask.png"},
    "dash": {"a.jpg": "a-mask.png", "b.jpg": "b-mask.png"},
    "label": {"a.png": "a_label.png", "b.png": "b_label.png"},
    "seg": {"a.png": "a_seg.png"},
    "gt": {"a.bmp": "a_gt.png"},
    "upper case": {"A.JPG": "A_Mask.PNG", "B.JPG": "B_Mask.PNG"},
    "DeepGlobe": {"1_sat.jpg": "1_mask.png", "2_sat.jpg": "2_mask.png"},
    "prefix": {"a.jpg": "mask_a.png", "b.jpg": "mask_b.png"},
    "ending": {"a.jpg": "a.png", "b.jpg": "b.png"},
    "ending of TIFF": {"a.tif": "a.png", "b.tif": "b.png"},
    "images named mask": {"mask_1.png": "mask_1_mask.png", "mask_2.png": "mask_2_mask.png"},
    "JPEG mask": {"a.jpg": "a_mask.jpg"},
    "folder for each image": {"1/image.jpg": "1/mask.png", "2/image.jpg": "2/mask.png"},
    "folder down": {"export/a.jpg": "export/a_mask.png"},
    "splits": {"train/a.jpg": "train/a_mask.png", "valid/a.jpg": "valid/a_mask.png"},
    "splits of endings": {"train/a.jpg": "train/a.png", "val/b.jpg": "val/b.png"},
}


@pytest.mark.parametrize("name", SUFFIXES)
def test_suffixes_are_recognised(tmp_path: Path, name: str) -> None:
    build.write_files(tmp_path, *SUFFIXES[name], *SUFFIXES[name].values(), "notes.txt")
    layout, found = build.recognised(tmp_path)
    assert layout == "suffix"
    assert build.pairs(found, tmp_path) == SUFFIXES[name]
    assert {one.split for one in found.images} == ({"train", "val"} if "splits" in name else {""})
    assert folders.find(list_files(tmp_path)) is None


def test_a_stray_folder_of_masks_does_not_rule_out_suffixes(tmp_path: Path) -> None:
    build.write_files(tmp_path, "images/a.jpg", "images/a_mask.png", "labels/preview.png")
    with pytest.raises(VocSegError, match=r"No mask in .*labels"):
        build.recognised(tmp_path)
    _, found = build.recognised(tmp_path, "suffix")
    assert build.pairs(found, tmp_path) == {"images/a.jpg": "images/a_mask.png"}


def test_masks_of_another_folder_are_no_images(tmp_path: Path) -> None:
    build.write_files(tmp_path, "photo/a.jpg", "masks/a.png", "annotations/photo/b.png", "photo/b.jpg")
    _, found = build.recognised(tmp_path)
    assert set(build.pairs(found, tmp_path)) == {"photo/a.jpg", "photo/b.jpg"}


def test_images_without_a_mask_of_their_suffix(tmp_path: Path) -> None:
    build.write_files(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "c_mask.png")
    _, found = build.recognised(tmp_path)
    assert build.pairs(found, tmp_path) == {"a.jpg": "a_mask.png"}
    assert sorted(path.name for path in found.unlabelled) == ["b.jpg", "c_mask.png"]


def test_two_suffixes_are_refused(tmp_path: Path) -> None:
    build.write_files(tmp_path, "a.jpg", "a_mask.png", "a_seg.png", "b.jpg", "b_mask.png", "b_seg.png")
    with pytest.raises(VocSegError, match=r"have several masks: a_mask\.png, a_seg\.png"):
        build.recognised(tmp_path)


def test_exports_of_labelme_for_one_image_must_agree(tmp_path: Path) -> None:
    for name in ("a_json", "b_json"):
        build.write_files(tmp_path / name, "img.png", "label.png", "label_viz.png")
        build.write_text(tmp_path / name / "label_names.txt", "_background_\ncat\n")
    layout, found = build.recognised(tmp_path)
    assert layout == "suffix" and found.values == {0: "background", 1: "cat"}
    assert build.pairs(found, tmp_path) == {f"{one}_json/img.png": f"{one}_json/label.png" for one in "ab"}
    build.write_text(tmp_path / "b_json/label_names.txt", "_background_\ndog\n")
    with pytest.raises(VocSegError, match="numbers the classes of each image separately"):
        build.recognised(tmp_path)


@pytest.mark.parametrize("mark", ["_classes.csv", "_annotations.coco.json"])
def test_folders_of_roboflow_are_not_claimed(tmp_path: Path, mark: str) -> None:
    build.write_files(tmp_path, "train/a.jpg", "train/a_mask.png", "images/a.jpg", "masks/a.png", f"train/{mark}")
    assert suffix.find(list_files(tmp_path)) is None and folders.find(list_files(tmp_path)) is None


@pytest.mark.parametrize("names", [("a.jpg", "b.jpg"), ("gt_1.jpg", "car_1.jpg"), ("images/a.jpg", "images/b.jpg")])
def test_images_alone_are_no_layout(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        build.write_image(tmp_path / name)
    with pytest.raises(VocSegError, match="No layout was recognised"):
        build.recognised(tmp_path)


CLASS_FILES = {
    "classes.txt": ("background\ntree\n", {0: "background", 1: "tree"}, {}),
    "labels.txt": ("__ignore__\n_background_\ntree\n", {0: "background", 1: "tree", 255: "void"}, {}),
    "class_names.txt": ("\ufeffbackground\r\ntree\r\n", {0: "background", 1: "tree"}, {}),
    "label_map.txt": ("0: background\n3: tall tree\n255: ignore\n", {0: "background", 3: "tall tree", 255: "void"}, {}),
    "class_dict.csv": ("name,r,g,b\nsky,128,128,128\nVoid,0,0,0\n", {}, {(128, 128, 128): "sky", (0, 0, 0): "void"}),
    "label_colors.txt": ("64 128 64\tAnimal\n0 0 0\tBig bus\n", {}, {(64, 128, 64): "Animal", (0, 0, 0): "Big bus"}),
    "colors.txt": ("road 128 64 128\n", {}, {(128, 64, 128): "road"}),
    "labelmap.txt": ("# label:color_rgb\nroad:128,64,128::\n", {}, {(128, 64, 128): "road"}),
}


@pytest.mark.parametrize("name", CLASS_FILES)
@pytest.mark.parametrize("where", ["", "deep/", "deep/masks/"])
def test_class_names_are_beside(tmp_path: Path, name: str, where: str) -> None:
    text, values, colours = CLASS_FILES[name]
    build.write_files(tmp_path, "deep/images/a.jpg", "deep/masks/a.png")
    build.write_text(tmp_path / where / name, text)
    _, found = build.recognised(tmp_path)
    assert (found.values, found.colours) == (values, colours)
    assert any(f"{where}{name}" in note for note in found.notes)


@pytest.mark.parametrize("text", ["person\ncar\n", "name,r,g,b\na,1,2\n", "background\ntree\ntree\n", ""])
def test_class_names_that_are_not_clear_are_not_used(tmp_path: Path, text: str) -> None:
    build.write_files(tmp_path, "images/a.jpg", "masks/a.png")
    build.write_text(tmp_path / "classes.txt", text)
    _, found = build.recognised(tmp_path)
    assert not found.values and not found.colours
    assert any("--classes" in note for note in found.notes)
