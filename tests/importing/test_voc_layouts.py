"""VOC's folders, and those that labelme2voc and CVAT write under the same names."""

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from voc_seg.importing.classes import class_pixels, plan_classes
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

build = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("mask_files.py"))))


def write_voc(folder: Path, lists: dict[str, str], *ids: str) -> Path:
    for image_id in ids or ("a", "b", "c"):
        build.write_files(folder, f"JPEGImages/{image_id}.jpg", f"SegmentationClass/{image_id}.png")
    for name, text in lists.items():
        build.write_text(folder / "ImageSets/Segmentation" / name, text)
    return folder


LISTS = {
    "ids": {"train.txt": "a\nb\n", "val.txt": "c\n"},
    "Windows": {"train.txt": "\ufeffa\r\nb\r\n\r\n", "val.txt": " c \r\n"},
    "other words": {"Training.txt": "a\nb", "Validation.txt": "c"},
    "file names": {"train.txt": "a.jpg\nb.jpg\n", "val.txt": "c.jpg\n"},
    "paths": {"train.txt": "JPEGImages/a.jpg\nJPEGImages\\b.jpg\n", "val.txt": "/home/me/JPEGImages/c.jpg\n"},
    "pairs": {"train.txt": "JPEGImages/a.jpg SegmentationClass/a.png\nb b\n", "val.txt": "c.jpg c.png\n"},
    "case": {"train.txt": "A\nB\n", "val.txt": "C\n"},
    "trainval beside": {"train.txt": "a\nb\n", "val.txt": "c\n", "trainval.txt": "a\nb\nc\n"},
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("where", [".", "export", "VOCdevkit/mine"])
def test_lists_are_splits(tmp_path: Path, name: str, where: str) -> None:
    write_voc(tmp_path / where, LISTS[name])
    layout, found = build.recognised(tmp_path)
    assert layout == "voc"
    assert build.splits(found) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "val"}
    assert not found.values and not found.notes and not found.unlabelled


def test_lists_of_all_images_are_no_splits(tmp_path: Path) -> None:
    write_voc(tmp_path, {"default.txt": "a\nb\nc\n"})
    assert build.splits(build.recognised(tmp_path)[1]) == {"a.jpg": "", "b.jpg": "", "c.jpg": ""}


def test_empty_lists_leave_all_images(tmp_path: Path) -> None:
    write_voc(tmp_path, {"train.txt": "\n", "val.txt": ""})
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"a.jpg": "", "b.jpg": "", "c.jpg": ""}
    assert "The list ImageSets/Segmentation/train.txt is empty." in found.notes


def test_what_lists_leave_out_is_said(tmp_path: Path) -> None:
    write_voc(tmp_path, {"train.txt": "a\nx\n", "val.txt": "b\na\n", "hard.txt": "a\n"})
    build.write_files(tmp_path, "JPEGImages/d.jpg")
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"a.jpg": "val", "b.jpg": "val"}
    assert [path.name for path in found.unlabelled] == ["d.jpg"]
    text = " ".join(found.notes)
    assert "1 image with a mask is in no list and not used: JPEGImages/c.jpg." in text
    assert "1 listed image does not exist: x." in text
    assert "1 image is in several lists and kept in test or val only: a." in text
    assert "not used: ImageSets/Segmentation/hard.txt." in text


def test_lists_of_other_images_are_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, {"train.txt": "x\ny\n"})
    with pytest.raises(VocSegError, match="None of the 2 images in the lists"):
        build.recognised(tmp_path)


def test_two_folders_are_refused(tmp_path: Path) -> None:
    for name in ("VOC2007", "VOC2012"):
        write_voc(tmp_path / "VOCdevkit" / name, {"train.txt": "a\nb\n"})
    with pytest.raises(VocSegError, match=r"several folders in VOC's layout: .*VOC2007, .*VOC2012\. Import one"):
        build.recognised(tmp_path)


@pytest.mark.parametrize("year, ids", [("2012", ("2007_000032", "2011_003276")), ("2007", ("000032", "009961"))])
def test_official_images_have_the_official_names(tmp_path: Path, year: str, ids: tuple[str, ...]) -> None:
    write_voc(tmp_path / f"VOC{year}", {"train.txt": ids[0], "val.txt": ids[1]}, *ids)
    layout, found = build.recognised(tmp_path)
    assert layout == "voc"
    assert found.values == {**dict(enumerate(CLASS_NAMES)), 255: "void"}
    assert build.splits(found) == {f"{ids[0]}.jpg": "train", f"{ids[1]}.jpg": "val"}
    assert build.recognised(tmp_path / f"VOC{year}")[1].values == found.values


def test_own_images_in_a_folder_of_vocs_name_do_not_get_vocs_names(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", {"train.txt": "a\nb\nc"})
    _, found = build.recognised(tmp_path)
    assert not found.values
    assert "its images are not those of VOC" in found.notes[0]


def test_voc_without_images_is_refused(tmp_path: Path) -> None:
    build.write_files(tmp_path, "SegmentationClass/a.png")
    build.write_text(tmp_path / "ImageSets/Segmentation/train.txt", "a\n")
    with pytest.raises(VocSegError, match="no JPEGImages"):
        build.recognised(tmp_path)


def write_labelme2voc(folder: Path, new: bool, names: str = "_background_\ncat\ntv/monitor") -> Path:
    for image_id in ("a", "b"):
        build.write_files(
            folder,
            f"JPEGImages/{image_id}.jpg",
            f"SegmentationClassVisualization/{image_id}.jpg",
            f"{'SegmentationClass' if new else 'SegmentationClassPNG'}/{image_id}.png",
            f"{'SegmentationClassNpy' if new else 'SegmentationClass'}/{image_id}.npy",
        )
    build.write_text(folder / "class_names.txt", names)
    return folder


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "names", ["_background_\ncat\ntv/monitor", "\ufeff__ignore__\r\n_background_\r\ncat\r\ntv/monitor\r\n"]
)
@pytest.mark.parametrize("where", [".", "data/data_dataset_voc"])
def test_labelme2voc(tmp_path: Path, new: bool, names: str, where: str) -> None:
    write_labelme2voc(tmp_path / where, new, names)
    layout, found = build.recognised(tmp_path)
    assert layout == "labelme2voc"
    assert found.values == {0: "background", 1: "cat", 2: "tv/monitor", 255: "void"}
    assert build.splits(found) == {"a.jpg": "", "b.jpg": ""}
    assert {one.mask.parent.name for one in found.images} == {"SegmentationClass" if new else "SegmentationClassPNG"}
    assert not found.notes


def test_lists_beside_labelme2voc_are_splits(tmp_path: Path) -> None:
    write_labelme2voc(tmp_path, new=False)
    for split, image_id in (("train", "a"), ("val", "b")):
        build.write_text(tmp_path / f"ImageSets/Segmentation/{split}.txt", image_id)
    layout, found = build.recognised(tmp_path)
    assert layout == "labelme2voc"
    assert build.splits(found) == {"a.jpg": "train", "b.jpg": "val"}


@pytest.mark.parametrize("names, what", [("", "has no names"), ("_background_\ncat\ncat\n", "names a class twice")])
def test_class_names_of_labelme2voc_must_be_clear(tmp_path: Path, names: str, what: str) -> None:
    write_labelme2voc(tmp_path, new=True, names=names)
    with pytest.raises(VocSegError, match=what):
        build.recognised(tmp_path)


LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ntree:51,221,255::\n"


def write_coloured(path: Path, *colours: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(colours, np.uint8)[np.arange(8) * len(colours) // 8]
    Image.fromarray(np.broadcast_to(stripes, (6, 8, 3)).copy()).save(path)


def write_cvat(
    folder: Path, labelmap: str = LABELMAP, ids: tuple[str, ...] = ("a", "sub/b 1", "sub/deep/c"),
    images: Callable[[str], str] | None = lambda image_id: f"JPEGImages/{image_id}.jpg",
    lists: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    for image_id in ids:
        write_coloured(folder / f"SegmentationClass/{image_id}.png", (0, 0, 0), (250, 50, 83))
        write_coloured(folder / f"SegmentationObject/{image_id}.png", (0, 0, 0), (128, 0, 0))
        if images is not None:
            build.write_image(folder / images(image_id))
    build.write_text(folder / "labelmap.txt", labelmap)
    for name, text in (lists or {"default.txt": "\n".join(ids)}).items():
        build.write_text(folder / "ImageSets/Segmentation" / name, text)
    return folder


@pytest.mark.parametrize("where", [".", "task_1/export"])
def test_cvat(tmp_path: Path, where: str) -> None:
    folder = write_cvat(tmp_path / where)
    layout, found = build.recognised(tmp_path)
    assert layout == "cvat"
    assert build.pairs(found, folder) == {
        f"JPEGImages/{one}.jpg": f"SegmentationClass/{one}.png" for one in ("a", "sub/b 1", "sub/deep/c")
    }
    assert found.colours == {(0, 0, 0): "background", (250, 50, 83): "cat", (51, 221, 255): "tree"}
    assert {one.split for one in found.images} == {""}
    assert not found.values and not found.notes
    plan = plan_classes(facts := inspect_pairs(found), found)
    assert plan.names == ("background", "cat", "tree")
    assert class_pixels(facts[0], plan) == {"background": 24, "cat": 24}


def test_subsets_of_cvat_are_splits(tmp_path: Path) -> None:
    write_cvat(tmp_path, lists={"Train.txt": "a\nsub\\b 1", "Validation.txt": "sub/deep/c\r\n"})
    _, found = build.recognised(tmp_path)
    assert build.splits(found) == {"a.jpg": "train", "b 1.jpg": "train", "c.jpg": "val"}


def test_images_without_shapes_have_no_mask_in_cvat(tmp_path: Path) -> None:
    write_cvat(tmp_path, lists={"default.txt": "a\nsub/b 1\nsub/deep/c\nempty\n"})
    build.write_image(tmp_path / "JPEGImages/empty.jpg")
    _, found = build.recognised(tmp_path)
    assert [path.name for path in found.unlabelled] == ["empty.jpg"]
    assert len(found.images) == 3


@pytest.mark.parametrize("start", ["photos/", "", "raw data/2024/"])
def test_images_of_cvat_may_be_elsewhere(tmp_path: Path, start: str) -> None:
    write_cvat(tmp_path, images=lambda image_id: f"{start}{image_id}.JPG")
    layout, found = build.recognised(tmp_path)
    assert layout == "cvat"
    assert build.pairs(found, tmp_path) == {
        f"{start}{one}.JPG": f"SegmentationClass/{one}.png" for one in ("a", "sub/b 1", "sub/deep/c")
    }


def test_cvat_without_images_is_refused(tmp_path: Path) -> None:
    write_cvat(tmp_path, images=None)
    with pytest.raises(VocSegError, match='Export it again with "Save images"'):
        build.recognised(tmp_path)


@pytest.mark.parametrize(
    "labelmap, colours",
    [
        ("cat:1,2,3::\n", {(1, 2, 3): "cat", (0, 0, 0): "background"}),
        ("background:0,128,0::\ncat:1,2,3::\n", {(0, 128, 0): "background", (1, 2, 3): "cat"}),
        ("\ufeffcat:1, 2, 3:hand,foot:run\r\nignored:4,5,6::\r\n",
         {(1, 2, 3): "cat", (4, 5, 6): "void", (0, 0, 0): "background"}),
        ("cat: big:1,2,3::\n", {(1, 2, 3): "cat: big", (0, 0, 0): "background"}),
        ("background:::\ncat:::\n", {(0, 0, 0): "background", (128, 0, 0): "cat"}),
    ],
)  # fmt: skip
def test_label_maps(tmp_path: Path, labelmap: str, colours: dict) -> None:
    write_cvat(tmp_path, labelmap)
    assert build.recognised(tmp_path)[1].colours == colours


@pytest.mark.parametrize(
    "labelmap, what",
    [("\ncat:1,2::\n", "has the line 'cat:1,2::'"), ("cat\n", "has the line 'cat'"), ("cat:1,2,300::\n", "1,2,300"),
     ("cat:1,2,3::\ndog:1,2,3::\n", "the same colour")],
)  # fmt: skip
def test_wrong_label_maps_are_refused(tmp_path: Path, labelmap: str, what: str) -> None:
    write_cvat(tmp_path, labelmap)
    with pytest.raises(VocSegError, match=what):
        build.recognised(tmp_path)


def test_grey_colours_keep_their_names(tmp_path: Path) -> None:
    """Masks in greys look like masks of values, and 255 like void."""
    labelmap = "background:0,0,0::\nsnow:255,255,255::\nstone:128,128,128::\n"
    write_cvat(tmp_path, labelmap)
    for one in ("a", "sub/b 1", "sub/deep/c"):
        write_coloured(tmp_path / f"SegmentationClass/{one}.png", (0, 0, 0), (128, 128, 128), (255, 255, 255))
    _, found = build.recognised(tmp_path)
    plan = plan_classes(facts := inspect_pairs(found), found)
    assert plan.names == ("background", "snow", "stone")
    assert set(class_pixels(facts[0], plan)) == {"background", "snow", "stone"}
