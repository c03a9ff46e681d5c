"""Tiny folders in the official layouts of public data sets: random images, and masks whose classes are known.

Each builder returns the expected masks by image name: class names, or void, ``(H, W)``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from voc_seg.importing.layouts import ade20k, camvid, cityscapes, oxford_pet, pascal_context

SIZE = (40, 50)
Expected = dict[str, np.ndarray]


def write_image(path: Path, form: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, form)


def write_mask(path: Path, stored: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Write a mask that holds all stored values or colours, and return their names by pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    which = scattered(len(stored))
    Image.fromarray(np.array(stored, np.uint8)[which]).save(path)
    return np.array(names, object)[which]


def scattered(count: int) -> np.ndarray:
    """Numbers below ``count``, each of them several times, in random places: ``int (H, W)``."""
    numbers = np.resize(np.arange(count), SIZE[0] * SIZE[1])
    return np.random.default_rng(0).permutation(numbers).reshape(SIZE)


def write_lines(path: Path, lines: Sequence[str], start: str = "", end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((start + end.join([*lines, ""])).encode())


def build_cityscapes(root: Path, ids: str = "labelIds", ending: str = ".png") -> Expected:
    values = cityscapes._official_names()[0]
    if ids == "labelTrainIds":
        values = dict(enumerate(cityscapes.CLASSES)) | {255: "void"}
    found = {}
    for frame in ("train/aachen/aachen_000000_000019", "val/munster/munster_000001_000019"):
        write_image(root / f"leftImg8bit/{frame}_leftImg8bit{ending}")
        found[Path(frame).name] = write_mask(root / f"gtFine/{frame}_gtFine_{ids}.png", [*values], [*values.values()])
        write_mask(root / f"gtFine/{frame}_gtFine_instanceIds.png", [7], [""])
        write_mask(root / f"gtFine/{frame}_gtFine_color.png", [(128, 64, 128)], [""])
        write_lines(root / f"gtFine/{frame}_gtFine_polygons.json", ['{"objects": [{"label": "cargroup"}]}'])
    test = "test/berlin/berlin_000000_000019"
    write_image(root / f"leftImg8bit/{test}_leftImg8bit{ending}")
    write_mask(root / f"gtFine/{test}_gtFine_{ids}.png", [0], ["void"])
    return found


CAMVID_FRAMES = {"0001TP_006690": "train", "0016E5_07959": "val", "Seq05VD_f00000": "test"}


def build_camvid(root: Path) -> Expected:
    colours, names = zip(*camvid.LABELS.values())
    found = {}
    for frame in CAMVID_FRAMES:
        write_image(root / f"701_StillsRaw_full/{frame}.png")
        found[frame] = write_mask(root / f"LabeledApproved_full/{frame}_L.png", colours, names)
    lines = [f"{red} {green} {blue}\t{name}" for name, ((red, green, blue), _) in camvid.LABELS.items()]
    write_lines(root / "label_colors.txt", [*lines, ""], end="\r\n")
    return found


def build_camvid_segnet(root: Path) -> Expected:
    found = {}
    for frame, split in CAMVID_FRAMES.items():
        write_image(root / f"CamVid/{split}/{frame}.png")
        path = root / f"CamVid/{split}annot/{frame}.png"
        found[frame] = write_mask(path, range(12), [*camvid.CLASSES, "void"])
        write_lines(root / f"CamVid/{split}.txt", [f"/SegNet/CamVid/{split}/{frame}.png /SegNet/x.png"])
    return found


def build_camvid_kaggle(root: Path) -> Expected:
    colours, names = zip(*camvid.LABELS.values())
    found = {}
    for frame, split in zip(CAMVID_FRAMES, ("test", "train", "val")):
        write_image(root / f"CamVid/{split}/{frame}.png")
        found[frame] = write_mask(root / f"CamVid/{split}_labels/{frame}_L.png", colours, names)
    write_lines(root / "CamVid/class_dict.csv", ["name,r,g,b", "Animal,64,128,64"])
    return found


def build_oxford_pet(root: Path) -> Expected:
    names = [f"{breed}_{number}" for breed in ("Abyssinian", "great_pyrenees") for number in range(1, 13)]
    found = {}
    for name in names:
        write_image(root / f"images/{name}.jpg")
        path = root / f"annotations/trimaps/{name}.png"
        found[name] = write_mask(path, [*oxford_pet.VALUES], [*oxford_pet.VALUES.values()])
        write_lines(root / f"annotations/trimaps/._{name}.png", ["of macOS"])
    tested = [name for name in names if name.endswith(("_11", "_12"))]
    trained = [name for name in names if name not in tested]
    comments = ["#Image CLASS-ID SPECIES BREED ID"]
    write_lines(root / "annotations/trainval.txt", comments + [f"{name} 1 1 1" for name in trained], "\ufeff", "\r\n")
    write_lines(root / "annotations/test.txt", [f"{name} 1 1 1" for name in tested])
    write_lines(root / "annotations/list.txt", comments)
    return found


def build_pascal_context(root: Path) -> Expected:
    """The official .mat files, with every number from 0 to 459, and the lists of VOC 2010."""
    numbers = {number: name for name, number in pascal_context.LABELS.items()}
    which = scattered(460)
    expected = np.array([numbers.get(number, "background") for number in range(460)], object)[which]
    for name, split in {"2008_000002": "train", "2010_006086": "val"}.items():
        write_image(root / f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg")
        write_lines(root / f"VOCdevkit/VOC2010/ImageSets/Main/{split}.txt", [name])
        (root / "trainval").mkdir(exist_ok=True)
        savemat(root / f"trainval/{name}.mat", {"LabelMap": which.astype(np.uint16)})
    write_image(root / "VOCdevkit/VOC2010/JPEGImages/2009_000001.jpg")
    write_lines(root / "labels.txt", [f"{number}: {name}" for number, name in numbers.items()] + ["397: table "])
    write_lines(root / "59_labels.txt", ["1: aeroplane"])
    return {"2008_000002": expected, "2010_006086": expected}


def build_pascal_context_png(root: Path) -> Expected:
    """As MMSegmentation's converter writes them."""
    found = {}
    for name, split in {"2008_000002": "train", "2010_006086": "val"}.items():
        write_image(root / f"VOC2010/JPEGImages/{name}.jpg")
        path = root / f"VOC2010/SegmentationClassContext/{name}.png"
        found[name] = write_mask(path, range(60), pascal_context.CLASSES)
        write_lines(root / f"VOC2010/ImageSets/SegmentationContext/{split}.txt", [name])
    return found


def build_ade20k(root: Path) -> Expected:
    found, base = {}, root / "ADEChallengeData2016"
    for folder, name in {"training": "ADE_train_00000001", "validation": "ADE_val_00000001"}.items():
        write_image(base / f"images/{folder}/{name}.jpg")
        path = base / f"annotations/{folder}/{name}.png"
        found[name] = write_mask(path, [*ade20k.VALUES], [*ade20k.VALUES.values()])
    write_image(root / "release_test/testing/ADE_test_00000001.jpg")
    write_lines(base / "objectInfo150.txt", ["Idx\tRatio\tTrain\tVal\tName", "1\t0.1576\t11664\t1172\twall"])
    write_lines(base / "sceneCategories.txt", ["ADE_train_00000001 airport_terminal"])
    return found


BUILDERS: dict[str, tuple[str, Callable[[Path], Expected]]] = {
    "cityscapes": ("cityscapes", build_cityscapes),
    "cityscapes train ids": ("cityscapes", lambda root: build_cityscapes(root, "labelTrainIds", ".PNG")),
    "camvid": ("camvid", build_camvid),
    "camvid segnet": ("camvid", build_camvid_segnet),
    "camvid kaggle": ("camvid", build_camvid_kaggle),
    "oxford_pet": ("oxford_pet", build_oxford_pet),
    "pascal_context": ("pascal_context", build_pascal_context),
    "pascal_context png": ("pascal_context", build_pascal_context_png),
    "ade20k": ("ade20k", build_ade20k),
}
"""By a title of the form: the environment and layout, and what builds the folder."""
