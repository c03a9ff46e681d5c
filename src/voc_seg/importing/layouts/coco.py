"""COCO JSON with polygons or run lengths, as COCO itself, CVAT, Roboflow, Label Studio and others write it."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, listed
from voc_seg.voc.classes import VOID
from voc_seg.voc.file_checks import short_name

from ..files import Files
from ..formats.class_values import number_classes, value_names
from ..formats.coco_files import CAPTIONS, CocoFile, CocoImage, read_coco
from ..formats.drawing import draw_by_area, mask_size
from ..formats.text_files import read_head
from ..layout import Found, LabelledImage
from ..notes import Counted, count_notes, note_of
from ..pairing.folder_names import split_of_file, split_of_folders
from ..pairing.image_search import ImageSearch
from .roboflow import original_name

TITLE = "COCO JSON with polygons or RLE"
SPECIFIC = True

_KEYS = re.compile(r'"(images|annotations|categories)"\s*:\s*\[')
_MANY = 50
"""A folder with more JSON files than this has one for each image, so it is not COCO."""
_OTHER_TASKS = re.compile(r"(captions|person_keypoints|image_info|panoptic)_", re.I)
"""COCO's files that describe the same images as its ``instances_``, for other tasks."""


@dataclass
class _Read:
    """What the files hold, by image."""

    images: dict[PurePosixPath, tuple[CocoImage, PurePosixPath, str]] = field(default_factory=dict)  # file and split
    labels: dict[str, None] = field(default_factory=dict)
    counts: Counter[Counted] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    unlabelled: set[PurePosixPath] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def find(files: Files) -> Found | None:
    """Return the images that COCO files list. Several files are splits by their names or folders."""
    paths = files.with_endings((".json",))
    together = Counter(path.parent for path in paths)
    paths = tuple(path for path in paths if together[path.parent] <= _MANY and _may_be(files.absolute(path)))
    if any(path.name.lower().startswith("instances_") for path in paths):
        others = [path for path in paths if _OTHER_TASKS.match(path.name)]
        paths = tuple(path for path in paths if path not in others)
    else:
        others = []
    search, read, boxes = ImageSearch(files), _Read(), []
    read.notes += note_of(others, "JSON file", "for other tasks ignored")
    documents = [(path, one) for path in paths if (one := read_coco(files.absolute(path))) is not None]
    if not documents:
        return None
    for path, document in documents:
        if document.labelled and _boxes_only(document):
            boxes.append(path)
        else:
            _collect(files, search, path, document, read)
    read.notes += note_of(boxes, "JSON file", "without polygons and RLE ignored")
    if not read.images:
        raise _nothing_usable(files, [path for path, _ in documents], read, boxes)
    values = number_classes(read.labels)
    unlabelled = {*search.unused(read.images), *read.unlabelled}
    return Found(
        tuple(_labelled(files, path, *one, values) for path, one in sorted(read.images.items())),
        values=value_names(values),
        draw=_draw,
        unlabelled=tuple(files.absolute(path) for path in sorted(unlabelled)),
        notes=(*_notes(read), *read.notes),
    )


def _may_be(path: Path) -> bool:
    head = read_head(path)
    return head.startswith("{") and _KEYS.search(head) is not None


def _boxes_only(document: CocoFile) -> bool:
    objects = [one for image in document.images for one in image.objects]
    other = document.counts[CAPTIONS]
    return bool(objects or other) and not any(one.parts for one in objects)


def _collect(files: Files, search: ImageSearch, path: PurePosixPath, document: CocoFile, read: _Read) -> None:
    """Add the images of a file; each must be in one file only."""
    split = split_of_file(path)
    read.counts += document.counts
    read.labels |= dict.fromkeys(document.labels)
    for image in document.images:
        found = search.find(image.name, path.parent, split)
        if found is None:
            read.missing.append(image.name)
            continue
        if not document.labelled:
            read.unlabelled.add(found)
            continue
        if found in read.images:
            other, other_path, _ = read.images[found]
            if other_path != path or other.name != image.name or other.size != image.size:
                raise VocSegError(
                    f"{found} is {other.name!r} in {other_path} and {image.name!r} in {path}, but an image can be in "
                    "one place only. Import a folder with one JSON file for each split, and all its images."
                )
            read.counts["image", "listed twice: their annotations are joined"] += 1
            other.objects += image.objects
            other.problem = other.problem or image.problem
            continue
        read.images[found] = (image, path, split or split_of_folders(found))
    for found, (image, _, _) in list(read.images.items()):
        without = [one for one in image.objects if not one.parts]
        if without and not (any(one.parts for one in image.objects) and all(one.box for one in without)):
            read.counts["image", "not used, as objects have a box only"] += 1
            read.unlabelled.add(found)
            del read.images[found]


def _nothing_usable(files: Files, paths: list[PurePosixPath], read: _Read, boxes: list[PurePosixPath]) -> VocSegError:
    names = listed([path.as_posix() for path in paths])
    if boxes:
        return VocSegError(
            f"{listed([path.as_posix() for path in boxes])} in {files.root} has boxes or captions, but no polygons and "
            "no RLE. Export the data for segmentation."
        )
    if read.missing:
        return VocSegError(
            f"None of the {len(read.missing)} images of {names} is below {files.root}; the first is "
            f"{read.missing[0]!r}. Put the images into this folder, or import the folder that holds both."
        )
    return VocSegError(f"{names} in {files.root} lists no image that is labelled. Export it again.")


def _labelled(
    files: Files, path: PurePosixPath, image: CocoImage, source: PurePosixPath, split: str, values: Mapping[str, int]
) -> LabelledImage:
    annotation = (image, source.name, values)
    return LabelledImage(files.absolute(path), split=split, annotation=annotation, group=original_name(path))


def _draw(source: LabelledImage) -> np.ndarray:
    """Draw the objects of an image: crowds and boxes without pixels void and below all, small ones over large ones."""
    image: CocoImage = source.annotation[0]
    _, name, values = source.annotation
    size = mask_size(source.image, image.size, name)
    try:
        if image.problem:
            raise VocSegError(image.problem)
        mask = np.zeros(size, np.uint8)
        for one in image.objects:
            if one.below or not one.parts:
                mask[one.pixels(size) if one.parts else one.box_pixels(size)] = VOID
        objects = [one for one in image.objects if one.parts and not one.below]
        return draw_by_area(((values[one.label], one.pixels(size)) for one in objects), mask)
    except VocSegError as error:
        raise VocSegError(f"{name} has for {short_name(source.image)}: {error}") from error


def _notes(read: _Read) -> list[str]:
    notes = ["Where objects overlap, the smaller one is on top."]
    empty = [path.name for path, (image, _, _) in read.images.items() if not image.objects]
    notes += note_of(empty, "image", "without annotations: background only")
    boxes = sum(not one.parts for image, _, _ in read.images.values() for one in image.objects)
    if boxes:
        notes.append(f"{counted(boxes, 'object')} with a box only: the box is void where no other object is drawn.")
    notes += note_of(read.missing, "listed image", "ignored, not found in the folder")
    return [*notes, *count_notes(read.counts)]
