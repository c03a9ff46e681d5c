"""Roboflow's export "Semantic Segmentation Masks": ``_classes.csv`` beside images and their ``_mask.png``.

The format as https://github.com/luxonis/luxonis-ml reads it (SegmentationMaskDirectoryParser): the header
``Pixel Value, Class``, a row for each class, and a folder for each split.
"""

import csv
import re
from pathlib import Path, PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted
from voc_seg.voc.file_checks import short_name

from ..files import Files
from ..formats.class_values import clean_label
from ..formats.text_files import read_lines
from ..layout import Found, LabelledImage
from ..notes import note_of
from ..pairing.folder_names import split_of_folders

TITLE = 'Roboflow\'s "Semantic Segmentation Masks" with _classes.csv'
SPECIFIC = True

_MASK = "_mask"
_COPY = re.compile(r"(.+)_[a-z]{3,4}\.rf\.[0-9a-zA-Z]+$")


def find(files: Files) -> Found | None:
    """Return the images beside a ``_classes.csv``. Its folders are splits: train, valid, test."""
    classes = {
        path.parent: (path, found) for path in files.named("_classes.csv") if (found := _read(files.absolute(path)))
    }
    if not classes:
        return None
    first, values = next(iter(classes.values()))
    for path, other in classes.values():
        if other != values:
            raise VocSegError(
                f"{files.absolute(first)} and {files.absolute(path)} give the pixel values other classes. Export all "
                "splits from one version of the data set, or import one folder at a time."
            )
    images: list[LabelledImage] = []
    unlabelled: list[Path] = []
    alone: list[PurePosixPath] = []
    for folder in classes:
        inside = [path for path in files.images if path.parent == folder]
        masks = {path.stem[: -len(_MASK)]: path for path in inside if path.stem.lower().endswith(_MASK)}
        photos = [path for path in inside if path not in masks.values()]
        for path in photos:
            mask = masks.get(path.stem)
            if mask is None:
                unlabelled.append(files.absolute(path))
                continue
            image, split = files.absolute(path), split_of_folders(path)
            images.append(LabelledImage(image, files.absolute(mask), split, group=original_name(path)))
        stems = {path.stem for path in photos}
        alone += [path for stem, path in masks.items() if stem not in stems]
    copies = len(images) - len({(one.split, one.group or str(one.image)) for one in images})
    notes = note_of(alone, "mask", "without image ignored")
    if copies:
        notes += (
            f"{counted(copies, 'image')} added by Roboflow's augmentation: copies of one image stay in one split.",
        )
    return Found(tuple(images), values=values, unlabelled=tuple(unlabelled), notes=notes)


def original_name(path: PurePosixPath) -> str:
    """Return the name of the image that Roboflow made this one from; empty for other files.

    Roboflow names the copies of ``photo.jpg`` that it augments ``photo_jpg.rf.HASH.jpg``.
    """
    found = _COPY.match(path.stem)
    return found[1] if found else ""


def _read(path: Path) -> dict[int, str]:
    """Return the class of each pixel value; empty if the file is another of Roboflow's with this name.

    Raises VocSegError for a malformed row.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(read_lines(path), skipinitialspace=True)]
    rows = [row for row in rows if any(row)]
    if not rows or [cell.lower() for cell in rows[0]] != ["pixel value", "class"]:
        return {}
    values: dict[int, str] = {}
    for row in rows[1:]:
        name = clean_label(row[1]) if len(row) == 2 else ""
        if not name or not row[0].isdecimal() or int(row[0]) > 255:
            raise VocSegError(
                f"{short_name(path)} has the row {', '.join(row)!r}: it needs a pixel value from 0 to 255 and a class."
            )
        if values.setdefault(int(row[0]), name) != name:
            raise VocSegError(f"{short_name(path)} gives the pixel value {row[0]} two classes. Delete one of them.")
    return values
