"""Label Studio's JSON exports: tasks, their images and their regions.

The formats as https://github.com/HumanSignal/label-studio-sdk reads and writes them (label_studio_sdk/converter):
"JSON" has ``annotations`` and ``data`` for each task, "JSON-MIN" the keys of ``data`` and a list of regions for each
control tag. Coordinates are percentages of width and height.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_names import IMAGE_ENDINGS

from ..notes import Counted
from .class_values import clean_label
from .coco_masks import polygon_mask
from .drawing import declared_size
from .json_files import read_json, rows_of
from .label_studio_brush import decode_brush, half_covered

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Label Studio adds this to the names of uploaded files."""

_SEVERAL = ("task", "with several annotations: the newest is used, or that marked as ground truth")


@dataclass(frozen=True)
class Region:
    """One region with its label."""

    label: str
    value: Mapping[str, Any]
    size: tuple[int, int] | None  # of the image, as annotated

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        """Return its pixels, ``bool (H, W)``: polygons and rectangles as pycocotools draws them, as for COCO."""
        if "rle" in self.value:
            return half_covered(decode_brush(self.value["rle"], size))
        return polygon_mask(_corners(self.value, size), size)


@dataclass
class Task:
    """One image and its regions, in their order."""

    number: str
    images: list[str]  # paths or URLs, the likeliest first
    labelled: bool = False
    regions: list[Region] = field(default_factory=list)
    problem: str = ""


def read_tasks(path: Path, counts: Counter[Counted]) -> list[Task] | None:
    """Read an export; None if the JSON is something else.

    Args:
        path: The file.
        counts: What was ignored or assumed is added.
    """
    document = read_json(path)
    rows = rows_of(document)
    full = [one for one in rows if isinstance(one.get("data"), dict) and "id" in one]
    short = [] if full else [one for one in rows if "annotation_id" in one]
    if not full and not short:
        return None
    if others := len(document) - len(full or short):
        counts["task", "ignored, without an id and data"] += others
    return [_full(one, counts) for one in full] if full else _short(short, counts)


def _full(row: Mapping[str, Any], counts: Counter[Counted]) -> Task:
    task = Task(str(row.get("id")), _images(row["data"]))
    stored = rows_of(row.get("annotations", row.get("completions")))
    valid = [one for one in stored if not (one.get("was_cancelled") or one.get("skipped"))]
    if not valid:
        return task
    truth = [one for one in valid if one.get("ground_truth")] or valid
    if len(truth) > 1:
        counts[_SEVERAL] += 1
    _add_regions(task, rows_of(_newest(truth).get("result")), counts)
    return task


def _short(rows: Sequence[Mapping[str, Any]], counts: Counter[Counted]) -> list[Task]:
    """Return the tasks of a JSON-MIN export, which has a row for each annotation."""
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(str(row.get("id")), []).append(row)
    tasks = []
    for number, several in by_task.items():
        if len(several) > 1:
            counts[_SEVERAL] += 1
        row = _newest(several)
        task = Task(number, _images(row))
        values = [value for stored in row.values() for value in rows_of(stored)]
        if row.get("annotation_id") is not None:
            _add_regions(task, [{"value": value, **value} for value in values], counts)
        tasks.append(task)
    return tasks


def _newest(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return max(rows, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))


def _images(data: Mapping[str, Any]) -> list[str]:
    texts = {key: value.strip() for key, value in data.items() if isinstance(value, str)}
    found = [texts[key] for key in sorted(texts, key=lambda key: key != "image")]
    return [one for one in found if any(name.lower().endswith(IMAGE_ENDINGS) for name in image_names(one))]


def image_names(text: str) -> list[str]:
    """Return the names an image may have in the folder, by its path or URL: as stored, and as it was uploaded."""
    path = text.partition("?d=")[2] or (text.partition("?")[0] if "://" in text else text)
    path = path.partition("://")[2] or path
    paths = list(dict.fromkeys([path, unquote(path)]))
    return paths + [_UPLOAD.sub("", one.rpartition("/")[2], count=1) for one in paths if _uploaded(one)]


def _uploaded(path: str) -> bool:
    return _UPLOAD.match(path.rpartition("/")[2]) is not None


def _add_regions(task: Task, results: Iterable[Mapping[str, Any]], counts: Counter[Counted]) -> None:
    """Add the regions of an annotation. Shape and label of one region may be two results with one id."""
    task.labelled = True
    merged: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(results):
        value = one.get("value")
        if isinstance(value, dict):
            merged.setdefault(str(one.get("id", f"#{number}")), {}).update({**one, **value})
    for value in merged.values():
        if not ("rle" in value or "points" in value or "x" in value or "imageDataURL" in value):
            continue  # choices, text and ratings of the image, relations
        if "x" in value and "height" not in value and "radiusX" not in value:
            counts["key point", "ignored"] += 1
            continue
        key = next((key for key in value if key.endswith("labels") and isinstance(value[key], list) and value[key]), "")
        label = clean_label(value[key][0]) if key else ""
        if not label:
            task.problem = task.problem or "a region has no label; label or delete it"
        elif value.get("image_rotation"):
            task.problem = task.problem or "it was annotated while turned in the editor; turn it back and save"
        elif "imageDataURL" in value or "vertices" in value:
            task.problem = task.problem or f"regions of the type {key} are not read; use brush or polygon labels"
        else:
            if len(value[key]) > 1:
                counts["region", "with several labels: the first is used"] += 1
            size = declared_size(value.get("original_height"), value.get("original_width"))
            shape = {k: v for k, v in value.items() if k not in ("value", "original_width", "original_height")}
            task.regions.append(Region(label, shape, size))


def _corners(value: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Return the corners of a polygon, a rectangle or an ellipse in pixels; rectangles turn about their first corner.

    As ``convert_annotation_to_yolo_obb`` of the SDK computes them.
    """
    scale = np.array([size[1], size[0]], float)
    try:
        if "points" in value:
            corners = np.array(value["points"], float).reshape(-1, 2) / 100 * scale
            if len(corners) < 3:
                raise VocSegError("a polygon has fewer than three points; delete it")
            return corners
        start = np.array([value["x"], value["y"]], float) / 100 * scale
        if "radiusX" in value:
            angles = np.linspace(0, 2 * math.pi, 256, endpoint=False)
            radii = np.array([value["radiusX"], value["radiusY"]], float) / 100 * scale
            corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii
        else:
            width, height = np.array([value["width"], value["height"]], float) / 100 * scale
            corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        turn = math.radians(float(value.get("rotation") or 0))
        cos, sin = math.cos(turn), math.sin(turn)
        return start + corners @ np.array([[cos, sin], [-sin, cos]])
    except (KeyError, TypeError, ValueError) as error:
        raise VocSegError(f"a region has no usable coordinates ({error})") from None
