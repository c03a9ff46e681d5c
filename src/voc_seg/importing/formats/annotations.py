"""Masks in the formats of annotation tools, to be corrected there: labelme's JSON files, and COCO's instances.

The modules ``labelme_files`` and ``coco_files`` read them back.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from scipy import ndimage

from .class_values import BACKGROUND, clean_label
from .outlines import find_outlines

LABELME_VERSION = "5.5.0"
"""The first version whose files look like this; later ones read them."""
_NO_CLASS = "_background_"
"""The label of labelme's examples for pixels of no class."""


def exported_classes(names: Sequence[str]) -> dict[int, str]:
    """Return the classes that annotation tools get, by mask value: all but the background, which is what is not drawn.

    A first class of another name, such as the road of Cityscapes, is a class like the others.
    """
    return {value: name for value, name in enumerate(names) if clean_label(name) != BACKGROUND}


def labelme_document(mask: np.ndarray, classes: Mapping[int, str], image: PurePath) -> dict[str, Any]:
    """Return the content of a labelme file: one polygon for every connected region, later ones over earlier ones.

    Args:
        mask: ``uint8 (H, W)``; values that are not among the classes are not drawn.
        classes: Names by mask value.
        image: Path of the image, relative to the folder of the file if possible.
    """
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": [
            {
                "label": _NO_CLASS if outline.value is None else classes[outline.value],
                "points": outline.points.tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for outline in find_outlines(mask, classes)
        ],
        "imagePath": image.as_posix(),
        "imageData": None,
        "imageHeight": mask.shape[0],
        "imageWidth": mask.shape[1],
    }


def labelme_labels(classes: Mapping[int, str]) -> str:
    """Return the content of labels.txt, which gives the order of the classes."""
    return "\n".join(["__ignore__", _NO_CLASS, *classes.values(), ""])


def coco_categories(classes: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return COCO's categories; the id is the mask value plus 1, as ids begin with 1."""
    return [{"id": value + 1, "name": name, "supercategory": ""} for value, name in classes.items()]


def coco_annotations(mask: np.ndarray, classes: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """Yield COCO's annotations of an image, without ids: the run lengths of every connected region, exact to the pixel.

    Args:
        mask: ``uint8 (H, W)``; values that are not among the classes are not yielded.
        classes: Names by mask value.
    """
    height, width = mask.shape
    for value in sorted(set(np.unique(mask).tolist()) & set(classes)):
        labels, _ = ndimage.label(mask == value)
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            region = labels[rows, columns] == number
            yield {
                "category_id": value + 1,
                "segmentation": {
                    "size": [height, width],
                    "counts": run_lengths(region, rows, columns, (height, width)),
                },
                "area": int(np.count_nonzero(region)),
                "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
                "iscrowd": 0,
            }


def run_lengths(region: np.ndarray, rows: slice, columns: slice, size: tuple[int, int]) -> list[int]:
    """Return COCO's run lengths of a region: of outside and inside in turn, column by column.

    Args:
        region: ``bool``, the pixels within ``rows`` and ``columns``; not empty.
        rows: Where it is in the image.
        columns: The same.
        size: Height and width of the image.
    """
    height, width = size
    strip = np.zeros((columns.stop - columns.start, height), bool)  # column by column
    strip[:, rows] = region.T
    padded = np.concatenate([[False], strip.ravel(), [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1]) + columns.start * height
    edges = np.concatenate([[0], changes, [height * width]])
    counts = np.diff(edges).tolist()
    return counts if counts[-1] else counts[:-1]
