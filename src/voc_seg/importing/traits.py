"""Facts for the data check that need the pixels of an image and its mask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from voc_seg.voc.file_checks import FORMATS
from voc_seg.voc.images import UPRIGHT
from voc_seg.voc.mask_colours import pack_rgb, unpack_rgb

from .alignment import Alignment, align
from .layout import Colour

_PIXELS = 2**17
"""Pixels of a mask that are compared with their neighbours; of larger masks every k-th row is taken."""
_MAX_BORDER_VALUES = 16


@dataclass(frozen=True)
class Traits:
    """Facts about an image and its mask that need the pixels of both."""

    image_mode: str = ""  # Pillow's mode of the image file: RGB, L, RGBA, CMYK, I;16; empty if it cannot be opened
    grey: bool = False  # whether the three channels are equal
    alignment: Alignment = field(default_factory=Alignment)
    upright_score: float | None = None  # of the image turned by its EXIF orientation, if the mask fits both ways
    border_values: Mapping[int | Colour, int] = field(default_factory=dict)  # pixels of values that form lines only


def examine(path: Path, image: np.ndarray, orientation: int, mask: np.ndarray) -> Traits:
    """Return the traits of a pair.

    Args:
        path: The image file.
        image: ``uint8 (H, W, 3)``, as stored.
        orientation: The EXIF orientation of the image.
        mask: Stored values ``uint8 (H, W)``, or colours ``uint8 (H, W, 3)``.
    """
    alignment, upright_score = _aligned(image, orientation, mask)
    step = max(1, max(image.shape) // 128)
    sample = image[::step, ::step]
    grey = bool((sample == sample[..., :1]).all())
    return Traits(_mode(path), grey, alignment, upright_score, border_values(mask))


def _aligned(image: np.ndarray, orientation: int, mask: np.ndarray) -> tuple[Alignment, float | None]:
    turn = UPRIGHT.get(orientation)
    as_stored = align(image, mask) if image.shape[:2] == mask.shape[:2] else Alignment()
    if turn is None:
        return as_stored, None
    step = max(1, max(image.shape) // 512)
    upright = np.asarray(Image.fromarray(image[::step, ::step]).transpose(turn))
    smaller = mask[::step, ::step]
    if upright.shape[:2] != smaller.shape[:2]:
        return as_stored, None
    turned = align(upright, smaller)
    return (as_stored, turned.as_is or None) if as_stored.scores else (turned, None)


def border_values(mask: np.ndarray) -> dict[int | Colour, int]:
    """Return the pixels of each value or colour that forms lines only: none of its pixels has four equal neighbours.

    Blurred borders consist of such values. At most 16 are returned, the most frequent first.
    """
    height, width = mask.shape[:2]
    if min(height, width) < 3:
        return {}
    step = max(1, height * width // _PIXELS)
    above, rows, below = mask[:-2:step], mask[1:-1:step], mask[2::step]
    if mask.ndim == 3:
        above, rows, below = map(pack_rgb, (above, rows, below))
    inner = (rows == above) & (rows == below)
    inner[:, 1:-1] &= (rows[:, 1:-1] == rows[:, :-2]) & (rows[:, 1:-1] == rows[:, 2:])
    if rows.dtype == np.uint8:
        counts = np.bincount(rows.reshape(-1), minlength=256)
        alone = (counts > 0) & (np.bincount(rows[inner], minlength=256) == 0)
        found: dict[int | Colour, int] = {int(value): int(counts[value]) * step for value in np.flatnonzero(alone)}
    else:
        codes, counts = np.unique(rows, return_counts=True)
        alone = ~np.isin(codes, rows[inner])
        found = {unpack_rgb(code): int(count) * step for code, count in zip(codes[alone], counts[alone])}
    most = sorted(found.items(), key=lambda one: -one[1])
    return dict(most[:_MAX_BORDER_VALUES])


def _mode(path: Path) -> str:
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.mode
    except Exception:  # decoding the file reports the error
        return ""
