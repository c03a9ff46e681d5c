"""Parts of outdoor backgrounds: sky, clouds, hills, trees, houses, grass; never labelled as objects.

Coordinates are in image heights; ``width`` is the image width in that unit.
"""

from __future__ import annotations

import numpy as np

from .pen import Colour, Pen, shade, vary


def _cloud(pen: Pen, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    white = vary(rng, (244, 246, 250), 0.03, 5)
    base = y + 0.24 * size
    for dx, r, tone in ((-0.5, 0.2, 0.95), (0.55, 0.18, 0.94), (0.24, 0.3, 0.97), (-0.16, 0.36, 1.0)):
        r *= size * rng.uniform(0.88, 1.12)
        pen.ellipse(x + dx * size, base - r, r * 1.15, r, shade(white, tone), edge=False)
    pen.box(
        x - 0.72 * size,
        base - 0.2 * size,
        x + 0.74 * size,
        base,
        shade(white, 0.96),
        corner=0.1 * size,
        edge=False,
    )


def sky(pen: Pen, rng: np.random.Generator, width: float, horizon: float, clouds: int) -> None:
    """A sky from the top down to the horizon in one of four moods, with clouds."""
    moods = (
        ((78, 150, 222), (204, 230, 246)),
        ((110, 178, 226), (238, 240, 228)),
        ((116, 132, 176), (250, 214, 178)),
        ((150, 170, 190), (216, 222, 226)),
    )
    top, low = moods[rng.integers(len(moods))]
    pen.gradient(0.0, horizon + 0.01, vary(rng, top, 0.08, 8), vary(rng, low, 0.04, 6))
    for _ in range(clouds):
        _cloud(pen, rng, rng.uniform(0, width), rng.uniform(0.05, horizon * 0.75), rng.uniform(0.1, 0.24))


def hills(pen: Pen, rng: np.random.Generator, width: float, base: float, high: float, colour: Colour) -> None:
    """A row of hills whose foot is at ``base`` and whose tops are up to ``high`` above it."""
    xs = np.linspace(-0.1, width + 0.1, 7)
    ys = base - high * rng.uniform(0.25, 1.0, size=7)
    pen.blob(
        [
            *zip(xs, ys, strict=True),
            (width + 0.4, base + 0.02),
            (width + 0.2, base + 0.1),
            (-0.2, base + 0.1),
            (-0.4, base + 0.02),
        ],
        colour,
        edge=False,
    )


def tree(pen: Pen, rng: np.random.Generator, x: float, base: float, high: float) -> None:
    """A leafy tree or a fir with its foot at ``(x, base)``."""
    trunk, crown = vary(rng, (110, 82, 58), 0.15, 8), vary(rng, (76, 118, 70), 0.18, 12)
    pen.limb([(x, base), (x, base - high * 0.5)], [high * 0.11, high * 0.07], trunk, edge=False)
    if rng.random() < 0.3:
        for k in range(3):
            y, half = base - high * (0.25 + 0.22 * k), high * (0.3 - 0.06 * k)
            pen.poly([(x - half, y), (x + half, y), (x, y - high * 0.36)], shade(crown, 0.8 + 0.1 * k), edge=False)
        return
    for dx, dy, r, tone in (
        (-0.17, 0.58, 0.22, 0.85),
        (0.17, 0.57, 0.22, 0.8),
        (0.0, 0.75, 0.25, 1.0),
        (-0.07, 0.8, 0.12, 1.14),
    ):
        pen.ellipse(x + dx * high, base - dy * high, r * high, r * high, shade(crown, tone), edge=False)


def houses(pen: Pen, rng: np.random.Generator, width: float, base: float) -> None:
    """A row of houses with windows across the image, with their feet at ``base``."""
    x = rng.uniform(-0.15, 0)
    while x < width:
        wide, high = rng.uniform(0.2, 0.38), rng.uniform(0.25, 0.55)
        walls: tuple[Colour, ...] = (
            (206, 190, 170),
            (180, 172, 176),
            (214, 206, 192),
            (176, 150, 134),
            (190, 200, 196),
        )
        wall = vary(rng, walls[rng.integers(len(walls))], 0.08, 8)
        pen.box(x, base - high, x + wide, base, wall, edge=False)
        pen.box(x - 0.01, base - high - 0.02, x + wide + 0.01, base - high + 0.01, shade(wall, 0.72), edge=False)
        columns, rows = max(2, int(wide / 0.1)), max(2, int(high / 0.13))
        for i in range(columns):
            for j in range(rows):
                cx, cy = x + wide * (i + 0.5) / columns, base - high + 0.03 + (high - 0.04) * (j + 0.4) / rows
                pane = (112, 130, 146) if rng.random() < 0.75 else (236, 214, 150)
                pen.box(cx - 0.025, cy - 0.035, cx + 0.025, cy + 0.035, pane, edge=False)
                pen.box(cx - 0.03, cy + 0.035, cx + 0.03, cy + 0.045, shade(wall, 1.15), edge=False)
        x += wide + rng.uniform(0, 0.03)


def tufts(pen: Pen, rng: np.random.Generator, width: float, top: float, grass: Colour, count: int = 70) -> None:
    """Tufts of grass from ``top`` down to the bottom of the image, larger towards the viewer."""
    for x, v, lean in zip(
        rng.uniform(0, width, count), rng.uniform(0, 1, count), rng.uniform(-0.01, 0.01, count), strict=True
    ):
        y = top + (1 - top) * v
        size = 0.012 + 0.022 * v
        tone = shade(grass, 0.82 if lean < 0 else 1.16)
        pen.poly([(x - size * 0.4, y), (x + lean, y - size), (x + size * 0.4, y)], tone, edge=False)
