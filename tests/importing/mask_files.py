"""Tiny data sets for the tests of layouts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from voc_seg.importing.files import list_files
from voc_seg.importing.layout import Found, find_layout
from voc_seg.voc.classes import voc_palette
from voc_seg.voc.file_names import IMAGE_ENDINGS

SIZE = (6, 8)  # height and width


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """Write an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, values: tuple[int, ...] = (0, 1), size: tuple[int, int] = SIZE) -> Path:
    """Write a palette mask of vertical stripes of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(values, np.uint8)[np.arange(size[1]) * len(values) // size[1]]
    image = Image.fromarray(np.broadcast_to(stripes, size).copy())
    if path.suffix.lower() == ".png":
        image.putpalette(voc_palette().tobytes())
    image.save(path)
    return path


def write_files(folder: Path, *names: str) -> Path:
    """Write files: masks where a folder or the name says so, images and empty text files else."""
    for name in names:
        path = folder / name
        image = path.suffix.lower() in IMAGE_ENDINGS
        if image and any(
            word in name.lower() for word in ("mask", "label", "annot", "segmentation", "_gt", "_l.", "truth")
        ):
            write_mask(path)
        elif image:
            write_image(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    return folder


def write_text(path: Path, text: str, encoding: str = "utf-8", newline: str = "\n") -> Path:
    """Write a text file with its line endings as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    return path


def recognised(folder: Path, name: str = "") -> tuple[str, Found]:
    """Return the layout that is found in a folder."""
    return find_layout(list_files(folder), name)


def pairs(found: Found, folder: Path) -> dict[str, str]:
    """Return the paths of masks by those of images, relative to a folder."""
    root = folder.resolve()
    return {
        one.image.relative_to(root).as_posix(): one.mask.relative_to(root).as_posix() if one.mask else ""
        for one in found.images
    }


def splits(found: Found) -> Mapping[str, str]:
    """Return the splits by the names of images."""
    return {one.image.name: one.split for one in found.images}
