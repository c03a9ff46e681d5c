"""Tiny data sets of annotation tools: images, JSON files, and what the layouts make of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from voc_seg.importing.files import list_files
from voc_seg.importing.layout import Found, LabelledImage, find_layout

SIZE = (24, 32)


def image(path: Path, size: tuple[int, int] = SIZE, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([*path.name.encode()]).integers(0, 256, (*size, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, **({"exif": exif} if orientation > 1 else {}))
    return path


def write(path: Path, document: Any, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding=encoding)
    return path


def found(folder: Path, layout: str) -> Found:
    """What the layout finds that is recognised by itself."""
    name, one = find_layout(list_files(folder))
    assert name == layout
    return one


def by_name(found: Found) -> dict[str, LabelledImage]:
    return {one.image.name: one for one in found.images}


def drawn(found: Found, name: str) -> np.ndarray:
    """The mask of an image; its values all have names."""
    assert found.draw is not None
    mask = found.draw(by_name(found)[name])
    assert mask.dtype == np.uint8
    assert set(np.unique(mask).tolist()) <= set(found.values)
    return mask


def value(found: Found, name: str) -> int:
    return {text: key for key, text in found.values.items()}[name]
