"""What drawing masks from annotations has in common: the size of the mask, and overlapping regions."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_checks import FORMATS, short_name
from voc_seg.voc.images import exif_orientation

COORDINATE_LIMIT = 1e6
"""Pillow's coordinates are 32 bits wide."""


@dataclass(frozen=True)
class Unusable:
    """An annotation that cannot be drawn, in place of the annotation of an image."""

    reason: str


def header_size(path: Path) -> tuple[tuple[int, int], int]:
    """Return height and width of an image as stored, and its EXIF orientation, without decoding it."""
    with Image.open(path, formats=FORMATS) as image:
        return (image.height, image.width), exif_orientation(image)


def mask_size(image: Path, declared: tuple[int, int] | None, source: str) -> tuple[int, int]:
    """Return the height and width of a mask.

    Args:
        image: The image; its header is read.
        declared: Its height and width as annotated, if known.
        source: What declares it, for messages.

    Raises:
        VocSegError: The image has another size, as stored and with its EXIF orientation applied.
    """
    size, orientation = header_size(image)
    upright = size[::-1] if orientation >= 5 else size
    if declared is None:
        return upright
    if declared not in (size, upright):
        raise VocSegError(
            f"size: {short_name(image)} has {upright[1]} x {upright[0]} pixels, but {source} was made for "
            f"{declared[1]} x {declared[0]}; import the images that were annotated"
        )
    return declared


def declared_size(height: object, width: object) -> tuple[int, int] | None:
    """Return height and width from a JSON file; None if they are missing or make no sense."""
    try:
        sizes = [float(one) for one in (height, width) if isinstance(one, (int, float, str))]
    except (ValueError, OverflowError):
        return None
    if len(sizes) != 2 or not all(0 < one < COORDINATE_LIMIT and one == int(one) for one in sizes):
        return None
    return int(sizes[0]), int(sizes[1])


def draw_by_area(regions: Iterable[tuple[int, np.ndarray]], mask: np.ndarray) -> np.ndarray:
    """Draw regions into a mask, large ones first, so that small ones stay visible; of equal ones the later is on top.

    Args:
        regions: Stored value and pixels, ``bool (H, W)``, of each; consumed one by one.
        mask: What lies below, ``uint8 (H, W)``; written to and returned.
    """
    kept = []
    for value, region in regions:
        rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
        if rows.size:  # a hundred full masks of a large photograph would not fit in memory
            box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            kept.append((int(np.count_nonzero(region)), value, box, region[box].copy()))
    for _, value, box, region in sorted(kept, key=lambda one: -one[0]):
        mask[box][region] = value
    return mask
