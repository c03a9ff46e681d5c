"""A tiny data set of two classes, written in every layout that ``kedro import-data`` recognises."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from voc_seg.voc.classes import voc_palette

SIZE = (72, 96)
NAMES = ("background", "cat", "dog")
RED, BLUE = (200, 30, 40), (40, 60, 210)
Box = tuple[int, int, int, int]  # left, top, right and bottom pixel, inclusive


@dataclass(frozen=True)
class Scene:
    """An image with its boxes by class index, later ones on top."""

    name: str
    image: np.ndarray
    boxes: tuple[tuple[int, Box], ...]
    split: str

    @property
    def mask(self) -> np.ndarray:
        mask = np.zeros(SIZE, np.uint8)
        for index, (left, top, right, bottom) in self.boxes:
            mask[top : bottom + 1, left : right + 1] = index
        return mask


def scenes(count: int = 18) -> list[Scene]:
    """Red and blue boxes on noise; every class is in most images."""
    rng, made = np.random.default_rng(7), []
    for number in range(count):
        image = rng.integers(90, 150, (*SIZE, 3), dtype=np.uint8)
        boxes = []
        for index, colour in ((1, RED), (2, BLUE)):
            if index == 1 or number % 4:
                left, top = int(rng.integers(0, 60)), int(rng.integers(0, 40))
                box = (left, top, left + int(rng.integers(18, 34)), top + int(rng.integers(16, 30)))
                image[box[1] : box[3] + 1, box[0] : box[2] + 1] = np.array(colour) + rng.integers(-20, 20, 3)
                boxes.append((index, box))
        split = "train" if number % 3 else "val"
        made.append(Scene(f"photo {number:02d}", image, tuple(boxes), split))
    return made


def save_images(folder: Path, made: Sequence[Scene], ending: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scene in made:
        Image.fromarray(scene.image).save(folder / f"{scene.name}{ending}", quality=95)


def save_mask(path: Path, mask: np.ndarray, colours: Sequence[tuple[int, int, int]] | None = None) -> None:
    """Write a palette mask, or with ``colours`` an RGB one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if colours:
        Image.fromarray(np.array(colours, np.uint8)[mask]).save(path)
        return
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    image.save(path)


def write_lists(folder: Path, made: Sequence[Scene], names: Sequence[str]) -> None:
    """Write a list by split, or one of all images under another name."""
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name in names:
        ids = [scene.name for scene in made if name not in ("train", "val") or scene.split == name]
        (lists / f"{name}.txt").write_text("".join(f"{one}\n" for one in ids))


def voc(folder: Path, made: Sequence[Scene]) -> None:
    save_images(folder / "JPEGImages", made)
    for scene in made:
        save_mask(folder / "SegmentationClass" / f"{scene.name}.png", scene.mask)
    write_lists(folder, made, ["train", "val"])


def labelme2voc(folder: Path, made: Sequence[Scene], new: bool = False) -> None:
    save_images(folder / "JPEGImages", made)
    for scene in made:
        save_mask(folder / ("SegmentationClass" if new else "SegmentationClassPNG") / f"{scene.name}.png", scene.mask)
        arrays = folder / ("SegmentationClassNpy" if new else "SegmentationClass")
        arrays.mkdir(exist_ok=True)
        np.save(arrays / f"{scene.name}.npy", scene.mask)
    (folder / "class_names.txt").write_text("_background_\ncat\ndog")


def labelme2voc_new(folder: Path, made: Sequence[Scene]) -> None:
    labelme2voc(folder, made, new=True)


def cvat(folder: Path, made: Sequence[Scene]) -> None:
    colours = [(0, 0, 0), (250, 50, 83), (51, 221, 255)]
    save_images(folder / "JPEGImages" / "batch 1", made)
    for scene in made:
        save_mask(folder / "SegmentationClass" / "batch 1" / f"{scene.name}.png", scene.mask, colours)
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n"
    )
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("".join(f"batch 1/{scene.name}\n" for scene in made))


def labelme(folder: Path, made: Sequence[Scene]) -> None:
    save_images(folder, made)
    for scene in made:
        shapes = [
            {"label": NAMES[index], "points": [[left, top], [right, bottom]], "group_id": None,
             "shape_type": "rectangle", "flags": {}}
            for index, (left, top, right, bottom) in scene.boxes
        ]  # fmt: skip
        document = {
            "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{scene.name}.jpg", "imageData": None,
            "imageHeight": SIZE[0], "imageWidth": SIZE[1],
        }  # fmt: skip
        (folder / f"{scene.name}.json").write_text(json.dumps(document))


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed RLE: runs of 0 and 1 in column order, beginning with 0."""
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def coco(folder: Path, made: Sequence[Scene]) -> None:
    """RLE of what is seen of each object, so that no overlap is left."""
    save_images(folder / "images", made)
    for split in ("train", "val"):
        chosen = [scene for scene in made if scene.split == split]
        annotations = [
            {"id": 10 * number + index, "image_id": number, "category_id": 5 * index, "iscrowd": 0,
             "area": int((scene.mask == index).sum()), "bbox": [0, 0, 1, 1],
             "segmentation": {"size": list(SIZE), "counts": run_lengths(scene.mask == index)}}
            for number, scene in enumerate(chosen) for index in (1, 2) if (scene.mask == index).any()
        ]  # fmt: skip
        document = {
            "images": [{"id": number, "file_name": f"{scene.name}.jpg", "height": SIZE[0], "width": SIZE[1]}
                       for number, scene in enumerate(chosen)],
            "categories": [{"id": 5, "name": "cat"}, {"id": 10, "name": "dog"}],
            "annotations": annotations,
        }  # fmt: skip
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def roboflow(folder: Path, made: Sequence[Scene]) -> None:
    for scene in made:
        inside = folder / ("train" if scene.split == "train" else "valid")
        name = f"{scene.name.replace(' ', '-')}_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(inside / f"{name}.jpg", quality=95)
        Image.fromarray(scene.mask).save(inside / f"{name}_mask.png")
        (inside / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")


def label_studio(folder: Path, made: Sequence[Scene]) -> None:
    save_images(folder / "images", made)
    tasks = []
    for number, scene in enumerate(made, start=1):
        tasks.append(
            {"id": number, "data": {"image": f"/data/upload/1/{scene.name}.jpg"}, "annotations": [{"id": number}]}
        )
        for index in (1, 2):
            if (scene.mask == index).any():
                name = f"task-{number}-annotation-{number}-by-1-tag-{NAMES[index]}-0.png"
                Image.fromarray(np.where(scene.mask == index, 255, 0).astype(np.uint8)).save(folder / name)
    (folder / "tasks.json").write_text(json.dumps(tasks))


def cityscapes(folder: Path, made: Sequence[Scene]) -> None:
    """Own data in Cityscapes' naming, with values 0, 1 and 2."""
    for scene in made:
        name = f"farm_{scene.name[-2:]}0000_000019"
        for kind in ("leftImg8bit", "gtFine"):
            (folder / kind / scene.split / "farm").mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(folder / "leftImg8bit" / scene.split / "farm" / f"{name}_leftImg8bit.png")
        Image.fromarray(scene.mask).save(folder / "gtFine" / scene.split / "farm" / f"{name}_gtFine_labelIds.png")


def folders(folder: Path, made: Sequence[Scene]) -> None:
    save_images(folder / "images", made, ".PNG")
    for scene in made:
        save_mask(folder / "masks" / f"{scene.name}.png", scene.mask)


def folders_by_split(folder: Path, made: Sequence[Scene]) -> None:
    for scene in made:
        save_images(folder / scene.split / "images", [scene])
        save_mask(folder / scene.split / "labels" / f"{scene.name}.png", scene.mask)


def suffix(folder: Path, made: Sequence[Scene]) -> None:
    save_images(folder, made)
    for scene in made:
        save_mask(folder / f"{scene.name}_mask.png", scene.mask)


def table(folder: Path, made: Sequence[Scene]) -> None:
    save_images(folder / "a", made)
    for number, scene in enumerate(made):
        save_mask(folder / "b" / f"{number}.png", scene.mask)
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["image_path", "mask_path", "split"])
        writer.writerows([f"a/{scene.name}.jpg", f"b/{number}.png", scene.split] for number, scene in enumerate(made))


def parquet(folder: Path, made: Sequence[Scene]) -> None:
    table(folder, made)
    pd.read_csv(folder / "data.csv", sep=";").to_parquet(folder / "data.parquet")
    (folder / "data.csv").unlink()


@dataclass(frozen=True)
class Written:
    """A writer of a layout, and what the layout says."""

    write: Callable[[Path, Sequence[Scene]], None]
    layout: str
    names: tuple[str, str, str] = NAMES
    splits: bool = True  # whether it has train and val


UNNAMED = ("background", "class_1", "class_2")
LAYOUTS = {
    "voc": Written(voc, "voc", UNNAMED),
    "labelme2voc": Written(labelme2voc, "labelme2voc", splits=False),
    "labelme2voc_new": Written(labelme2voc_new, "labelme2voc", splits=False),
    "cvat": Written(cvat, "cvat", splits=False),
    "labelme": Written(labelme, "labelme", splits=False),
    "coco": Written(coco, "coco"),
    "roboflow": Written(roboflow, "roboflow"),
    "label_studio": Written(label_studio, "label_studio", splits=False),
    "cityscapes": Written(cityscapes, "cityscapes", UNNAMED),
    "folders": Written(folders, "folders", UNNAMED, splits=False),
    "folders_by_split": Written(folders_by_split, "folders", UNNAMED),
    "suffix": Written(suffix, "suffix", UNNAMED, splits=False),
    "table": Written(table, "table", UNNAMED),
    "parquet": Written(parquet, "table", UNNAMED),
}
"""Every layout in the form that its tool writes."""
