"""COCO's JSON files: images, their objects, and the labels of these.

The format is described at https://cocodataset.org/#format-data, and Datumaro's variant, which CVAT exports, by
datumaro/plugins/coco_format/converter.py of https://github.com/openvinotoolkit/datumaro.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_checks import short_name

from ..layout import VOID_NAME
from ..notes import Counted
from .class_values import clean_label
from .coco_masks import polygon_mask, rle_mask
from .drawing import declared_size
from .json_files import read_json, rows_of

CAPTIONS = ("annotation", "without category and segmentation ignored, such as captions")


@dataclass
class CocoObject:
    """One annotation."""

    label: str  # "void" for crowds and unknown categories
    parts: tuple[Any, ...] = ()  # polygons, ``float64 (N, 2)``, and run lengths as in the file; together its pixels
    box: tuple[float, ...] = ()  # x, y, width, height
    below: bool = False  # drawn below all others

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        """Return its pixels, ``bool (H, W)``. Raises VocSegError if they cannot be drawn."""
        mask = np.zeros(size, bool)
        for part in self.parts:
            mask |= rle_mask(part, size) if isinstance(part, Mapping) else polygon_mask(part, size)
        return mask

    def box_pixels(self, size: tuple[int, int]) -> np.ndarray:
        """Return the pixels of its box, as pycocotools draws boxes."""
        x, y, width, height = self.box
        corners = [(x, y), (x, y + height), (x + width, y + height), (x + width, y)]
        return polygon_mask(np.array(corners, float), size)


@dataclass
class CocoImage:
    """One image and its annotations."""

    name: str
    size: tuple[int, int] | None
    objects: list[CocoObject] = field(default_factory=list)
    problem: str = ""


@dataclass
class CocoFile:
    """One JSON file."""

    images: list[CocoImage]
    labels: list[str]  # of the categories, in the order of their ids
    labelled: bool  # it has a list of annotations
    counts: Counter[Counted] = field(default_factory=Counter)  # what was ignored or assumed


def read_coco(path: Path) -> CocoFile | None:
    """Read a COCO file; None if the JSON is something else.

    Raises VocSegError if it is damaged, of COCO's panoptic format, or has a category without a name.
    """
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        return None
    annotations = document.get("annotations")
    categories = document.get("categories")
    if not isinstance(annotations, list) and not isinstance(categories, list):
        return None
    annotations = rows_of(annotations)
    if any("segments_info" in one for one in annotations[:1]):
        raise VocSegError(
            f"{short_name(path)} is COCO's panoptic format, whose masks are PNG files. Export instances, or convert "
            "it with panoptic2semantic_segmentation.py of https://github.com/cocodataset/panopticapi."
        )
    counts: Counter[Counted] = Counter()
    images: dict[str, CocoImage] = {}
    for one in document["images"]:
        name = one.get("file_name") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name.strip():
            counts["image", "without a file_name ignored"] += 1
            continue
        image = CocoImage(name.strip(), declared_size(one.get("height"), one.get("width")))
        if (other := images.setdefault(_key(one.get("id")), image)) is not image:
            raise VocSegError(
                f"{short_name(path)} has the images {other.name!r} and {image.name!r} with the same id "
                f"{one.get('id')!r}, so it is not clear which annotations belong to which. Export it again."
            )
    labels = _labels(path, rows_of(categories), annotations)
    for one in annotations:
        _add(one, images, labels, counts)
    return CocoFile(
        list(images.values()),
        list(dict.fromkeys(labels.values())),
        isinstance(document.get("annotations"), list),
        counts,
    )


def _key(identifier: object) -> str:
    """Return an id for comparison: some files have ``1`` in one place and ``"1"`` or ``1.0`` in another."""
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)
    return str(identifier).strip()


def _labels(path: Path, rows: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the labels by category id, in the order of the ids."""
    used = {_key(one.get("category_id")) for one in annotations}
    parents = {str(one.get("supercategory")) for one in rows}
    labels: dict[str, str] = {}
    for row in sorted(rows, key=lambda one: (not _key(one.get("id")).isdigit(), _key(one.get("id")).zfill(20))):
        key, name = _key(row.get("id")), clean_label(row.get("name"))
        if key not in used and row.get("supercategory") == "none" and str(row.get("name")) in parents:
            continue  # Roboflow's root of all classes
        if not name:
            raise VocSegError(f"{short_name(path)}: category {key} has no name. Name it and export again.")
        if labels.get(key, name) != name:
            raise VocSegError(
                f"{short_name(path)}: {labels[key]!r} and {name!r} are both category {key}. Export it again."
            )
        labels[key] = name
    return labels


def _add(one: dict[str, Any], images: dict[str, CocoImage], labels: dict[str, str], counts: Counter[Counted]) -> None:
    """Add an annotation to its image."""
    if (image := images.get(_key(one.get("image_id")))) is None:
        counts["annotation", "ignored, as the image is not listed"] += 1
        return
    if (label := labels.get(_key(one.get("category_id")))) is None:
        if "segmentation" not in one and "bbox" not in one:
            counts[CAPTIONS] += 1
            return
        counts["annotation", "void, as the category is not listed"] += 1
        label = VOID_NAME
    below = False
    if one.get("iscrowd") in (1, "1", True):
        attributes = one.get("attributes")
        if isinstance(attributes, dict) and "occluded" in attributes:
            counts["mask", "drawn as objects, though marked as crowds: CVAT marks all masks so"] += 1
        else:
            counts["crowd", "void, below all objects"] += 1
            label, below = VOID_NAME, True
    if any(one.get("keypoints") or ()):
        counts["annotation", "with key points, which are ignored"] += 1
    box = one.get("bbox")
    valid = isinstance(box, list) and len(box) == 4 and all(isinstance(x, (int, float)) for x in box)
    try:
        parts, short = _parts(one.get("segmentation"))
    except (TypeError, ValueError):
        image.problem = image.problem or f"the segmentation of annotation {one.get('id')} is neither polygons nor RLE"
        return
    if short:
        counts["polygon", "of fewer than three points ignored"] += short
        if not parts:
            return
    image.objects.append(CocoObject(label, parts, tuple(box) if valid and isinstance(box, list) else (), below))


def _parts(segmentation: Any) -> tuple[tuple[Any, ...], int]:
    """Return polygons and run lengths, and the number of polygons that have too few points.

    Raises TypeError or ValueError for anything else.
    """
    if not segmentation:
        return (), 0
    if isinstance(segmentation, dict):
        return (segmentation,), 0
    if isinstance(segmentation[0], (int, float)) or all(
        isinstance(one, list) and len(one) == 2 for one in segmentation
    ):
        segmentation = [segmentation]  # a single polygon, or its points, without the list of parts
    parts: list[Any] = []
    short = 0
    for one in segmentation:
        if isinstance(one, dict):
            parts.append(one)
            continue
        points = np.asarray(one, np.float64).reshape(-1, 2)
        if len(points) < 3:
            short += 1
        else:
            parts.append(points)
    return tuple(parts), short
