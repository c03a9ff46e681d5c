"""Shapes of labelme drawn into masks, pixel by pixel as labelme draws them."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from voc_seg.system.errors import VocSegError

from .drawing import COORDINATE_LIMIT

_LINE_WIDTH = 10
_POINT_RADIUS = 5


def draw_labelme(shapes: Sequence[Mapping[str, Any]], values: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Draw the shapes of a labelme file, later ones over earlier ones: ``uint8 (H, W)``.

    The pixels are those of ``shapes_to_label`` in labelme 7.1 (labelme/_utils/shape.py), which draws lines 10 pixels
    wide and points with a radius of 5. A rectangle with four points, which other programs write, is a polygon.

    Raises VocSegError for a shape that labelme cannot draw either.
    """
    canvas = Image.new("L", size[::-1])
    for shape, value in zip(shapes, values):
        kind = shape_type(shape)
        if kind == "mask":
            pixels = np.array(canvas)
            _draw_patch(pixels, shape, value)
            canvas = Image.fromarray(pixels)
        else:
            _draw_shape(ImageDraw.Draw(canvas), kind, shape_points(shape), value)
    return np.array(canvas)


def shape_type(shape: Mapping[str, Any]) -> str:
    """Return the type of a labelme shape; files of labelme 3 have polygons only and no type."""
    return str(shape.get("shape_type") or "polygon")


def shape_points(shape: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the points of a labelme shape. Raises VocSegError if they are not pairs of numbers."""
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise VocSegError(f"{_described(shape)} has points that are not pairs of numbers") from None
    if not all(abs(one) < COORDINATE_LIMIT for point in points for one in point):  # NaN is not smaller either
        raise VocSegError(f"{_described(shape)} has a point that is far outside")
    return points


def _described(shape: Mapping[str, Any]) -> str:
    return f"the {shape_type(shape)} {str(shape.get('label'))!r}"


def _draw_shape(draw: ImageDraw.ImageDraw, kind: str, points: list[tuple[float, float]], value: int) -> None:
    """Draw one shape. Pillow draws the same pixels for every value, so no mask of its own is needed."""
    if kind == "rectangle" and len(points) == 4:
        kind = "polygon"
    drawers: dict[str, tuple[Sequence[int], Callable[[], None]]] = {
        "polygon": (range(3, 10**9), lambda: draw.polygon(points, fill=value, outline=value)),
        "oriented_rectangle": ((4,), lambda: draw.polygon(points, fill=value, outline=value)),
        "rectangle": ((2,), lambda: draw.rectangle(_box(points), fill=value, outline=value)),
        "circle": ((2,), lambda: _draw_circle(draw, points[0], math.dist(*points), value)),
        "point": ((1,), lambda: _draw_circle(draw, points[0], _POINT_RADIUS, value)),
        "line": ((2,), lambda: draw.line(points, fill=value, width=_LINE_WIDTH)),
        "linestrip": (range(1, 10**9), lambda: draw.line(points, fill=value, width=_LINE_WIDTH, joint="curve")),
    }
    if kind not in drawers:
        raise VocSegError(f"shapes of the type {kind!r} cannot be drawn; known are {', '.join(drawers)} and mask")
    counts, run = drawers[kind]
    if len(points) not in counts:
        raise VocSegError(f"a {kind} cannot have {len(points)} points; delete it in labelme and draw it again")
    run()


def _box(points: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = points
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _draw_circle(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, value: int) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)


def _draw_patch(mask: np.ndarray, shape: Mapping[str, Any], value: int) -> None:
    """Draw a shape of the type mask: a PNG and the box it belongs in. Parts of it may lie outside the image."""
    points = shape_points(shape)
    if len(points) != 2:
        raise VocSegError(f"a mask cannot have {len(points)} points; delete it in labelme and draw it again")
    patch = decode_png(shape.get("mask")) != 0
    (x0, y0), (x1, y1) = ((round(x), round(y)) for x, y in points)  # to even, as NumPy does
    if all(one == int(one) for point in points for one in point):
        height, width = y1 - y0 + 1, x1 - x0 + 1
        if patch.shape[0] < height or patch.shape[1] < width:
            raise VocSegError(
                f"{_described(shape)} has {patch.shape[1]} x {patch.shape[0]} pixels in a box of {width} x {height}; "
                "delete it in labelme and draw it again"
            )
        patch = patch[:height, :width]
    height, width = patch.shape
    top, left = max(0, -y0), max(0, -x0)
    target = mask[max(0, y0) : max(0, y0 + height), max(0, x0) : max(0, x0 + width)]
    target[patch[top : top + target.shape[0], left : left + target.shape[1]]] = value


def decode_png(text: object) -> np.ndarray:
    """Decode a PNG in base64 to ``(H, W)``. Raises VocSegError if it is not a PNG, or has colours."""
    try:
        data = base64.b64decode(str(text), validate=False)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            pixels = np.array(image)
    except Exception as error:  # Pillow raises many exception types on malformed data
        raise VocSegError("a mask shape does not hold a PNG; delete it in labelme and draw it again") from error
    if pixels.ndim != 2:
        raise VocSegError(f"a mask shape has {pixels.shape[2]} channels, not one; delete it and draw it again")
    return pixels
