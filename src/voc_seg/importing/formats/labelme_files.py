"""labelme's JSON files. The format is described by labelme/_label_file.py of https://github.com/wkentaro/labelme."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from voc_seg.system.errors import VocSegError

from ..files import Files
from .class_values import clean_label
from .drawing import declared_size
from .json_files import read_json
from .labelme_shapes import shape_type
from .text_files import read_head

_KEYS = re.compile(r'"(shapes|imagePath|imageData)"\s*:')


@dataclass(frozen=True)
class LabelmeFile:
    """What is needed of a JSON file; the image inside it is dropped."""

    path: PurePosixPath
    image: str = ""
    size: tuple[int, int] | None = None
    shapes: tuple[Mapping[str, Any], ...] = ()
    embedded: bool = False  # it holds its image
    flags: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # shapes without pixels
    problem: str = ""
    damaged: bool = False  # it is not valid JSON, and perhaps not of labelme


def read_labelme(files: Files, path: PurePosixPath) -> LabelmeFile | None:
    """Read a file; None if the JSON is something else."""
    head = read_head(files.absolute(path))
    if head.startswith("[") or (head.startswith("{") and not _KEYS.search(head)):
        return None  # perhaps large
    try:
        document = read_json(files.absolute(path))
    except VocSegError as error:
        return LabelmeFile(path, problem=str(error), damaged=True)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list) or "imagePath" not in document:
        return None
    shapes, ignored, problem = [], [], ""
    for shape in document["shapes"]:
        if not isinstance(shape, dict):
            problem = "a shape that is not a JSON object"
        elif _without_area(shape):
            ignored.append(shape_type(shape))
        elif not clean_label(shape.get("label")):
            problem = f"a {shape_type(shape)} without a label"
        else:
            kept = {key: shape.get(key) for key in ("label", "points", "shape_type", "mask")}
            shapes.append({key: value for key, value in kept.items() if value is not None})
    flags = document.get("flags")
    return LabelmeFile(
        path,
        str(document["imagePath"] or ""),
        declared_size(document.get("imageHeight"), document.get("imageWidth")),
        tuple(shapes),
        embedded=bool(document.get("imageData")),
        flags=tuple(name for name, on in flags.items() if on is True) if isinstance(flags, dict) else (),
        ignored=tuple(ignored),
        problem=f"{path.name} has {problem}; fix it in labelme" if problem else "",
    )


def _without_area(shape: Mapping[str, Any]) -> bool:
    points = shape.get("points") or []
    return not points or (isinstance(points, list) and len(points) < 3 and shape_type(shape) == "polygon")
