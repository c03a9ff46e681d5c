"""Regions of a mask as polygons without holes, which draw the mask again when drawn one over the other.

Annotation tools such as labelme have no polygons with holes. What is inside a region is therefore a polygon of its own,
drawn later.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import contour_generator
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)
_TOLERANCE = 1.0
"""Pixels by which an outline may leave the centres of the region's outermost pixels. It leaves VOC's masks with a sixth
of the corners, which can be corrected by hand."""
_SHORT = 40
"""Pixels of an outline that stays exact: it has few corners anyway, and a small region would lose much of its area."""
_NEAR = 5
"""Pixels across the neighbourhood in which an outline stays exact because of another class: what is farther away is not
reached by an outline that moves by the tolerance and is rounded."""
_INSIDE = 0.25
"""Pixels from the centre of a pixel to the corners of a polygon that is drawn as that pixel."""


@dataclass(frozen=True)
class Outline:
    """The outline of one region: ``points`` are its corners, ``float64 (N, 2)`` as x and y, at least three.

    The centre of the first pixel is at 0.5, 0.5. ``value`` is None where a region has pixels of no class inside.
    """

    value: int | None
    points: np.ndarray


def find_outlines(mask: np.ndarray, values: Collection[int]) -> list[Outline]:
    """Return the outlines of all connected regions, the largest first, so that those inside others come later.

    ``ImageDraw.polygon`` of Pillow, with which labelme draws polygons, draws the same mask again, except that the
    outline between a class and no class may move by a pixel. Between two classes it is exact, so no gap opens there.

    Args:
        mask: ``uint8 (H, W)``.
        values: Those that are classes; all others are no class.
    """
    labelled = np.isin(mask, list(values))
    exact = _beside_others(mask, labelled)
    found: list[tuple[int, Outline]] = []
    for value in sorted(set(np.unique(mask).tolist()) & set(values)):
        for corner, region, inside in _regions(mask == value):
            window = tuple(slice(start, start + n) for start, n in zip(corner, region.shape))
            found.append((int(region.sum()), Outline(value, _outline(region, exact[window], corner))))
            for more, hole, _ in _regions(inside):
                at = corner[0] + more[0], corner[1] + more[1]
                below = labelled[at[0] : at[0] + hole.shape[0], at[1] : at[1] + hole.shape[1]]
                if (hole & ~below).any():  # the whole hole, with what else is inside and drawn later
                    found.append((int(hole.sum()), Outline(None, _outline(hole, np.zeros_like(hole), at))))
    # A region is larger than what is inside it: regions are connected by their sides, so none crosses another. It may
    # fill a hole as large as itself.
    return [outline for _, outline in sorted(found, key=lambda one: (-one[0], one[1].value is not None))]


def _beside_others(mask: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return the pixels of a class that have another class no more than two pixels away, ``bool (H, W)``."""
    values = np.where(labelled, mask.astype(np.int16), -1)
    largest = ndimage.maximum_filter(values, _NEAR)
    smallest = ndimage.minimum_filter(np.where(labelled, values, 256), _NEAR)
    return labelled & ((largest != values) | (smallest != values))


def _regions(pixels: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """Return the top left corner of each region connected by sides, the region without its holes, and its holes."""
    labels, _ = ndimage.label(pixels)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        region = labels[box] == number
        filled = ndimage.binary_fill_holes(region, structure=_EIGHT)
        found.append(((box[0].start, box[1].start), filled, filled & ~region))
    return found


def _outline(region: np.ndarray, exact: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Return the corners of a region without holes, ``float64 (N, 2)``; pixels that are ``exact`` remain corners."""
    border = _border(region)
    tolerance = _TOLERANCE if len(border) > _SHORT else 0.0
    points = _simplified(border, exact[border[:, 1], border[:, 0]], tolerance)
    if len(points) < 3 and tolerance:
        points = _simplified(border, np.zeros(len(border), bool), 0.0)
    shift = np.array(corner[::-1]) + 0.5
    if len(points) >= 3:
        return points + shift
    (left, top), (right, bottom) = points.min(0) - _INSIDE, points.max(0) + _INSIDE  # a row, a column or a pixel
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) + shift


def _border(region: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of a region without holes, in order along its border: ``int64 (N, 2)``, x and y."""
    padded = np.pad(region, 1).astype(np.float32)
    # Above 0.5, so that pixels that touch at a corner are apart.
    lines: Any = contour_generator(z=padded, name="serial").lines(0.6)
    (line,) = lines
    # Every point lies between a pixel inside and one outside.
    first, second = np.floor(line[:-1]).astype(np.int64), np.ceil(line[:-1]).astype(np.int64)
    inside = padded[first[:, 1], first[:, 0]] > 0
    pixels = np.where(inside[:, None], first, second) - 1
    new = (pixels != np.roll(pixels, 1, axis=0)).any(axis=1)
    return pixels[new] if new.any() else pixels[:1]


def _simplified(border: np.ndarray, kept: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the corners of a closed line, simplified as by Douglas and Peucker (1973): ``int64 (N, 2)``.

    Args:
        border: Its points, ``int64 (N, 2)``.
        kept: Those that the simplified line passes through, ``bool (N,)``.
        tolerance: Largest distance from the simplified line, pixels.
    """
    count = len(border)
    ring = np.vstack([border, border[:1]])
    corners = np.append(kept, True)
    corners[[0, np.square(border - border[0]).sum(1).argmax()]] = True
    fixed = np.flatnonzero(corners)
    stack = list(zip(fixed[:-1].tolist(), fixed[1:].tolist()))
    while stack:
        start, stop = stack.pop()
        if stop - start < 2:
            continue
        away = _distances(ring[start + 1 : stop] - ring[start], ring[stop] - ring[start])
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            middle = start + 1 + farthest
            corners[middle] = True
            stack += [(start, middle), (middle, stop)]
    points = border[corners[:count]]
    # Points that had to be kept are no corners if the line does not turn there.
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = (before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]) | ((before * after).sum(1) < 0)
    return points[turns] if turns.sum() >= 2 else points


def _distances(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the distances of points from the line segment between the origin and ``line``, ``float64 (N,)``."""
    length = max(1, int(line @ line))
    along = np.clip(points @ line / length, 0, 1)
    return np.hypot(*(points - along[:, None] * line).T)
