"""A pen that draws flat shapes in unit coordinates on a colour layer with a coverage mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, ...]
"""Red, green, blue (0..255); a fourth number below 255 is the opacity of a glaze, which adds no coverage."""

Points = Sequence[tuple[float, float]] | np.ndarray | str
"""Unit coordinates: pairs, an array ``(n, 2)``, or text like an SVG polygon's ``points``: "x,y x,y"."""

_OUTLINE = 0.62


def _arc(stop: float, count: int) -> np.ndarray:
    turn = np.linspace(0, stop, count)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


_ROUND = _arc(2 * np.pi, 33)[:-1]
_CAP = _arc(np.pi, 8)[1:-1]
_QUARTER = _arc(np.pi / 2, 6)


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour with its brightness multiplied by ``factor``, clipped to 0..255; opacity is kept."""
    return tuple(int(min(255, max(0, channel * factor))) for channel in colour[:3]) + tuple(colour[3:])


def vary(rng: np.random.Generator, colour: Colour, light: float = 0.12, tint: float = 14.0) -> Colour:
    """Return a random variation: brightness within ``light`` (relative), each channel within ``tint``."""
    factor = 1 + rng.uniform(-light, light)
    return tuple(int(min(255, max(0, channel * factor + rng.uniform(-tint, tint)))) for channel in colour)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """Interpolate two colours; ``share`` (0..1) is the weight of the second."""
    return tuple(int(a + (b - a) * share) for a, b in zip(first, second, strict=True))


@lru_cache(maxsize=512)
def _parse(text: str) -> np.ndarray:
    return np.array([pair.split(",") for pair in text.split()], dtype=float)


def _array(points: Points) -> np.ndarray:
    return _parse(points) if isinstance(points, str) else np.asarray(points, dtype=float)


@lru_cache(maxsize=4)
def _spline_weights(steps: int) -> np.ndarray:
    t = np.arange(steps) / steps
    return 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1
    )


def _spline(points: np.ndarray, closed: bool, steps: int) -> np.ndarray:
    """Return a Catmull-Rom curve through ``(n, d)`` points, with ``steps`` points per segment."""
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    padded = np.concatenate([ends[0], points, ends[1]])
    quads = padded[np.arange(len(padded) - 3)[:, None] + np.arange(4)]
    curve = (_spline_weights(steps) @ quads).reshape(-1, points.shape[1])
    return curve if closed else np.concatenate([curve, points[-1:]])


class Pen:
    """Draws on ``colour`` (RGB image) and ``cover`` (8-bit mask) through an affine map from unit coordinates.

    The y axis points down. ``matrix``, ``float (2, 3)``, maps unit coordinates to pixels of the layer; it is a
    similarity (rotation, mirror, uniform scale), so one number scales all widths.
    """

    def __init__(self, size: tuple[int, int], matrix: np.ndarray, ground: Colour = (40, 34, 38)) -> None:
        self.colour = Image.new("RGB", size, ground)
        self.cover = Image.new("L", size, 0)
        self.matrix = matrix
        self.scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        self._bind()

    def _bind(self) -> None:
        self._paint = ImageDraw.Draw(self.colour)
        # In "RGBA" mode ImageDraw blends translucent fills into an RGB image; slower, so only for glazes.
        self._glaze = ImageDraw.Draw(self.colour, "RGBA")
        self._cover = ImageDraw.Draw(self.cover)

    def pixels(self, points: Points) -> list[float]:
        """Return unit points ``(n, 2)`` as pixel coordinates ``[x, y, x, y, ...]``."""
        return (_array(points) @ self.matrix[:, :2].T + self.matrix[:, 2]).ravel().tolist()

    def poly(self, points: Points, fill: Colour, edge: bool = True) -> None:
        """Draw a filled polygon, with a darker outline unless ``edge`` is false or the fill is a glaze."""
        corners = self.pixels(points)
        if len(fill) == 4:
            self._glaze.polygon(corners, fill=fill)
            return
        self._paint.polygon(corners, fill=fill)
        self._cover.polygon(corners, fill=255)
        if edge:
            width = min(4, max(2, round(0.009 * self.scale)))
            self._paint.line(corners + corners[:4], fill=shade(fill, _OUTLINE), width=width)

    def blob(self, points: Points, fill: Colour, edge: bool = True) -> None:
        """Draw a smooth closed shape through the points."""
        self.poly(_spline(_array(points), closed=True, steps=6), fill, edge)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, edge: bool = True, turn: float = 0.0
    ) -> None:
        """Draw an ellipse centred on ``(x, y)`` with half-axes ``rx``, ``ry``, rotated by ``turn`` radians."""
        cos, sin = np.cos(turn), np.sin(turn)
        circle = _ROUND * (rx, ry)
        self.poly(circle @ np.array([[cos, sin], [-sin, cos]]) + (x, y), fill, edge)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour, corner: float = 0.0, edge: bool = True
    ) -> None:
        """Draw an upright rectangle; ``corner`` is the radius of its corners."""
        if corner <= 0:
            self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, edge)
            return
        right, left, low, high = x1 - corner, x0 + corner, y1 - corner, y0 + corner
        turned = _QUARTER[:, ::-1] * (-1, 1)
        corners = [_QUARTER * corner + (right, low), turned * corner + (left, low)]
        corners += [-_QUARTER * corner + (left, high), -turned * corner + (right, high)]
        self.poly(np.concatenate(corners), fill, edge)

    def line(self, points: Points, width: float, fill: Colour, smooth: bool = False) -> None:
        """Draw a line of constant width with round ends; ``smooth`` fits a curve through its points."""
        path = _spline(_array(points), closed=False, steps=6) if smooth else points
        corners = self.pixels(path)
        thick = max(1, round(width * self.scale))
        if len(fill) == 4:
            self._glaze.line(corners, fill=fill, width=thick)
            return
        half = (thick - 1) / 2
        rounded = list(zip(corners[::2], corners[1::2], strict=True)) if thick > 3 else []
        for draw, ink in ((self._paint, fill), (self._cover, 255)):
            draw.line(corners, fill=ink, width=thick)
            for x, y in rounded:
                draw.ellipse((x - half, y - half, x + half, y + half), fill=ink)

    def limb(self, points: Points, widths: Sequence[float], fill: Colour, edge: bool = True) -> None:
        """Draw a smooth stroke with a width for each point: a leg, a neck, a tail."""
        path = _spline(np.column_stack([_array(points), widths]), closed=False, steps=5)
        steps = np.diff(path[:, :2], axis=0)
        along = np.concatenate([steps[:1], steps[1:] + steps[:-1], steps[-1:]])
        along /= np.hypot(along[:, :1], along[:, 1:]) + 1e-9
        reach = along * path[:, 2:3] / 2
        side = reach[:, ::-1] * (-1, 1)
        # Half circles cap both ends.
        tip = path[-1, :2] + _CAP[:, :1] * side[-1] + _CAP[:, 1:] * reach[-1]
        root = path[0, :2] - _CAP[:, :1] * side[0] - _CAP[:, 1:] * reach[0]
        self.poly(np.concatenate([path[:, :2] + side, tip, (path[:, :2] - side)[::-1], root]), fill, edge)

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour) -> None:
        """Fill rows ``y0`` to ``y1`` at full width with a colour gradient (unrotated layers only)."""
        first, last = (round(y * self.scale + self.matrix[1, 2]) for y in (y0, y1))
        height = max(1, last - first)
        ramp = np.linspace(top, bottom, height).round().astype(np.uint8)[:, None, :]
        self.colour.paste(
            Image.fromarray(ramp).resize((self.colour.width, height), Image.Resampling.NEAREST), (0, first)
        )

    def erase(self, points: Points) -> None:
        """Cut a polygon out of the coverage, so that the background shows through."""
        self._cover.polygon(self.pixels(points), fill=0)

    @contextmanager
    def inside(self, points: Points, smooth: bool = True) -> Iterator[None]:
        """Clip drawing to the shape, without adding coverage: patches, stripes, prints."""
        path = _spline(_array(points), closed=True, steps=6) if smooth else points
        before, cover = self.colour.copy(), self.cover.copy()
        yield
        stencil = Image.new("L", self.colour.size, 0)
        ImageDraw.Draw(stencil).polygon(self.pixels(path), fill=255)
        before.paste(self.colour, (0, 0), stencil)
        self.colour, self.cover = before, cover
        self._bind()
