"""COCO's polygons and run lengths as masks, with the same pixels as pycocotools.

Follows ``rleFrPoly``, ``rleFrString`` and ``rleDecode`` in common/maskApi.c of https://github.com/cocodataset/cocoapi.
That library is not needed here: its C code must be compiled on some platforms, and does not check its input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voc_seg.system.errors import VocSegError

_SCALE = 5
"""The border of a polygon is followed in steps of a fifth of a pixel."""
_OUTSIDE = 2
"""A coordinate may lie outside the image by this many times its size; the length of a border needs a limit."""


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a polygon, ``bool (H, W)``.

    Args:
        points: Corners, ``float64 (N, 2)`` as x and y.
        size: Height and width.

    Raises VocSegError for coordinates that are not finite or far outside.
    """
    height, width = size
    if not np.isfinite(points).all():
        raise VocSegError("polygon with a coordinate that is not a number")
    limit = np.array([width, height], float)
    if (points < -_OUTSIDE * limit).any() or (points > (1 + _OUTSIDE) * limit).any():
        far = points[np.abs(points / limit - 0.5).max(axis=1).argmax()]
        raise VocSegError(f"polygon with the point {far[0]:g}, {far[1]:g}, far outside the {width} x {height} pixels")
    u, v = _border(points)
    steps = np.flatnonzero(u[1:] != u[:-1])
    left, low = np.minimum(u[steps], u[steps + 1]), np.minimum(v[steps], v[steps + 1])
    columns = (left + 0.5) / _SCALE - 0.5
    inside = (columns == np.floor(columns)) & (columns >= 0) & (columns <= width - 1)
    rows = np.ceil(np.clip((low[inside] + 0.5) / _SCALE - 0.5, 0, height))
    mask = np.zeros((height, width), bool)
    if not inside.any():
        return mask
    first, last = int(columns[inside].min()), int(columns[inside].max())
    # Every border point switches between outside and inside for all later pixels, column after column.
    switches = ((columns[inside] - first) * height + rows).astype(np.int64)
    span = (last - first + 1) * height
    counts = np.bincount(switches, minlength=span + 1)[:span]
    mask[:, first : last + 1] = (np.cumsum(counts) & 1).reshape(-1, height).T
    if switches.size & 1:  # an odd number leaves all pixels to the end of the image inside, as in the original
        mask[:, last + 1 :] = True
    return mask


def _border(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of the border on the fine grid, in order."""
    start = (_SCALE * points + 0.5).astype(np.int64)
    end = np.roll(start, -1, axis=0)
    length = np.abs(end - start)
    flat = length[:, 0] >= length[:, 1]  # follow x, else y
    # Columns: the axis that is followed, and the other one.
    start = np.where(flat[:, None], start, start[:, ::-1])
    end = np.where(flat[:, None], end, end[:, ::-1])
    flip = start[:, 0] > end[:, 0]
    start, end = np.where(flip[:, None], end, start), np.where(flip[:, None], start, end)
    steps = end[:, 0] - start[:, 0]
    slope = (end[:, 1] - start[:, 1]) / np.maximum(steps, 1)
    edge = np.repeat(np.arange(len(points)), steps + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - (steps + 1), steps + 1)
    step = np.where(flip[edge], steps[edge] - step, step)
    followed = start[edge, 0] + step
    other = (start[edge, 1] + slope[edge] * step + 0.5).astype(np.int64)
    return np.where(flat[edge], followed, other), np.where(flat[edge], other, followed)


def rle_mask(segmentation: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of run lengths, ``bool (H, W)``.

    ``counts`` is a list of run lengths, column by column and beginning with the outside, or text that packs them.

    Raises VocSegError if they do not fit the size of the image.
    """
    height, width = size
    declared = segmentation.get("size")
    if not isinstance(declared, (list, tuple)) or list(declared) != [height, width]:
        raise VocSegError(f"run lengths for the size (height, width) {declared}, in an image of {[height, width]}")
    counts = _counts(segmentation.get("counts"))
    if (counts < 0).any() or counts.sum() != height * width:
        raise VocSegError(f"run lengths of {counts.sum()} pixels, in an image of {height * width}")
    inside = np.arange(len(counts)) & 1 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def _counts(stored: object) -> np.ndarray:
    if isinstance(stored, (list, tuple)):
        if not all(isinstance(count, int) and abs(count) < 2**40 for count in stored):
            raise VocSegError("run lengths that are not whole numbers")
        return np.array(stored, np.int64)
    if not isinstance(stored, (str, bytes)):
        raise VocSegError("run lengths are missing")
    return _unpack(stored.encode("ascii", "replace") if isinstance(stored, str) else stored)


def _unpack(text: Sequence[int]) -> np.ndarray:
    """Unpack run lengths: five bits a letter, a bit for "more follows", and differences to the last but one."""
    letters = np.frombuffer(bytes(text), np.uint8).astype(np.int64) - 48
    if not letters.size:
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(letters & 0x20 == 0)
    if (letters < 0).any() or (letters > 63).any() or not ends.size or ends[-1] != len(letters) - 1:
        raise VocSegError("run lengths that are damaged")
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(letters)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 8:
        raise VocSegError("run lengths that are damaged")
    numbers = np.add.reduceat((letters & 0x1F) << (5 * place), starts)
    negative = letters[ends] & 0x10 != 0
    numbers = numbers - (negative.astype(np.int64) << (5 * (ends - starts + 1)))
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
