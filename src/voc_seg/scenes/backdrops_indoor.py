"""Indoor backgrounds of the drawn scenes: walls, floors, windows, pictures, lamps; never labelled."""

from __future__ import annotations

import numpy as np

from .pen import Colour, Pen, shade, vary

_WALLS: tuple[Colour, ...] = (
    (226, 214, 190),
    (196, 212, 206),
    (222, 200, 196),
    (200, 206, 222),
    (214, 218, 196),
    (180, 176, 170),
)


def _wall(pen: Pen, rng: np.random.Generator, width: float, floor: float) -> None:
    wall = vary(rng, _WALLS[rng.integers(len(_WALLS))], 0.06, 8)
    pen.gradient(0.0, floor, wall, shade(wall, 0.92))
    paper = rng.integers(3)
    if paper == 0:
        for x in np.arange(0, width, 0.11):
            pen.box(x, 0, x + 0.045, floor, (*shade(wall, 0.8)[:3], 110))
    elif paper == 1:
        for j, y in enumerate(np.arange(0.05, floor, 0.1)):
            for x in np.arange(0.05 * (j % 2), width, 0.1):
                pen.ellipse(x, y, 0.011, 0.014, (*shade(wall, 0.78)[:3], 150))
    pen.box(-0.1, floor - 0.035, width + 0.1, floor, shade(wall, 1.12), edge=False)
    pen.line([(-0.1, floor - 0.035), (width + 0.1, floor - 0.035)], 0.004, shade(wall, 0.7))


def _window(pen: Pen, rng: np.random.Generator, x: float, y: float, wide: float, high: float) -> None:
    frame = (244, 242, 236)
    pen.box(x - 0.02, y - 0.02, x + wide + 0.02, y + high + 0.02, frame)
    pen.box(x, y, x + wide, y + high, vary(rng, (176, 208, 228), 0.08, 10), edge=False)
    pen.blob(
        [
            (x, y + high * 0.75),
            (x + wide * 0.4, y + high * 0.62),
            (x + wide, y + high * 0.7),
            (x + wide, y + high),
            (x, y + high),
        ],
        (150, 176, 130),
        edge=False,
    )
    pen.box(x - 0.02, y + high, x + wide + 0.02, y + high + 0.03, frame)
    pen.line([(x + wide / 2, y), (x + wide / 2, y + high)], 0.014, frame)
    pen.line([(x, y + high / 2), (x + wide, y + high / 2)], 0.014, frame)
    drape = vary(rng, (196, 150, 140), 0.15, 30)
    for way, side in ((-1, x - 0.02), (1, x + wide + 0.02)):
        pen.poly(
            [
                (side, y - 0.05),
                (side + way * 0.09, y - 0.05),
                (side + way * 0.1, y + high + 0.12),
                (side + way * 0.02, y + high + 0.12),
                (side - way * 0.05, y + high * 0.4),
            ],
            drape,
        )
    pen.line([(x - 0.13, y - 0.05), (x + wide + 0.13, y - 0.05)], 0.014, (120, 90, 64))


def _picture(pen: Pen, rng: np.random.Generator, x: float, y: float) -> None:
    wide, high = rng.uniform(0.14, 0.24), rng.uniform(0.12, 0.2)
    pen.box(x, y, x + wide, y + high, vary(rng, (160, 124, 80), 0.2, 20))
    pen.box(x + 0.018, y + 0.018, x + wide - 0.018, y + high - 0.018, (238, 232, 220))
    ink = vary(rng, (180, 140, 130), 0.25, 50)
    pen.ellipse(x + wide * 0.4, y + high * 0.5, wide * 0.18, high * 0.2, ink, edge=False)
    pen.poly(
        [(x + 0.03, y + high - 0.03), (x + wide * 0.6, y + high * 0.45), (x + wide - 0.03, y + high - 0.03)],
        shade(ink, 0.7),
        edge=False,
    )


def _decor(pen: Pen, rng: np.random.Generator, width: float) -> None:
    if rng.random() < 0.6:
        wide = rng.uniform(0.26, 0.4)
        _window(pen, rng, rng.uniform(0.12, max(0.13, width - wide - 0.12)), 0.1, wide, 0.3)
    else:
        for x in np.arange(rng.uniform(0.05, 0.2), width - 0.2, 0.36):
            _picture(pen, rng, x, rng.uniform(0.08, 0.18))
    if rng.random() < 0.35:
        x = rng.uniform(0.2, width - 0.2)
        pen.line([(x, 0), (x, 0.12)], 0.008, (70, 66, 64))
        pen.poly([(x - 0.03, 0.11), (x + 0.03, 0.11), (x + 0.1, 0.2), (x - 0.1, 0.2)], (222, 196, 140))


def room(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """A wall with wallpaper, window or pictures; a floor of boards or tiles with a rug."""
    floor = rng.uniform(0.6, 0.68)
    _wall(pen, rng, width, floor)
    _decor(pen, rng, width)
    if rng.random() < 0.7:
        board = vary(rng, (190, 162, 132), 0.12, 8)
        pen.gradient(floor, 1.0, shade(board, 0.9), shade(board, 1.05))
        lines = floor + (1 - floor) * np.array([0.12, 0.28, 0.48, 0.72])
        for k, y in enumerate(lines):
            pen.line([(-0.1, y), (width + 0.1, y)], 0.004, shade(board, 0.76))
            for x in np.arange(0.1 + 0.17 * (k % 2), width, 0.42):
                pen.line([(x, y), (x - 0.01, y + (1 - floor) * 0.16)], 0.004, shade(board, 0.76))
    else:
        tile = vary(rng, (206, 202, 196), 0.06, 8)
        pen.gradient(floor, 1.0, shade(tile, 0.92), tile)
        for x in np.arange(-1.0, 2.2, 0.16):
            pen.line(
                [(width / 2 + (x - 0.6) * 0.8, floor), (width / 2 + (x - 0.6) * 1.5, 1.02)],
                0.004,
                shade(tile, 0.8),
            )
        for v in (0.15, 0.36, 0.64):
            pen.line(
                [(-0.1, floor + (1 - floor) * v), (width + 0.1, floor + (1 - floor) * v)],
                0.004,
                shade(tile, 0.8),
            )
    if rng.random() < 0.5:
        rug = vary(rng, (196, 176, 160), 0.15, 26)
        x, y = width * rng.uniform(0.35, 0.65), 0.5 + floor / 2
        pen.ellipse(x, y, width * 0.38, (1 - floor) * 0.34, rug)
        pen.ellipse(x, y, width * 0.32, (1 - floor) * 0.26, shade(rug, 1.15), edge=False)


def desk(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """A close view of a desk or counter against a wall with shelves."""
    edge = rng.uniform(0.64, 0.7)
    _wall(pen, rng, width, edge)
    if rng.random() < 0.6:
        _decor(pen, rng, width)
    else:
        y = rng.uniform(0.16, 0.24)
        pen.box(0.05, y, width - 0.05, y + 0.025, (176, 150, 120))
        x = 0.1
        while x < width - 0.15:
            wide, high = rng.uniform(0.02, 0.045), rng.uniform(0.08, 0.13)
            if rng.random() < 0.8:
                pen.box(x, y - high, x + wide, y, vary(rng, (160, 130, 120), 0.25, 50))
            x += wide + 0.004
    top = vary(rng, (206, 182, 150), 0.1, 10)
    pen.gradient(edge, 0.93, shade(top, 0.94), shade(top, 1.05))
    for y in rng.uniform(edge + 0.02, 0.92, 9):
        x = rng.uniform(0, width)
        pen.line([(x - 0.2, y), (x, y + 0.006), (x + 0.2, y)], 0.003, (*shade(top, 0.8)[:3], 150), smooth=True)
    pen.box(-0.1, 0.93, width + 0.1, 1.02, shade(top, 0.72), edge=False)
    if rng.random() < 0.6:
        x = rng.uniform(0.1, width - 0.4)
        pen.poly([(x, 0.8), (x + 0.22, 0.8), (x + 0.26, 0.88), (x - 0.03, 0.88)], (240, 238, 232))
        for k in range(3):
            pen.line([(x + 0.02, 0.82 + k * 0.02), (x + 0.2, 0.82 + k * 0.02)], 0.003, (150, 150, 160))


def cabinet(pen: Pen, rng: np.random.Generator, width: float, height: float) -> None:
    """A low cabinet with doors that fills a box of the given size, in units of the pen."""
    wood = vary(rng, (216, 200, 176), 0.1, 8)
    pen.box(0, 0, width, height, wood, edge=False)
    pen.box(0, 0, width, height * 0.13, shade(wood, 1.1), edge=False)
    pen.box(0, height * 0.13, width, height * 0.17, shade(wood, 0.7), edge=False)
    for k in range(3):
        x0, x1 = width * (k / 3 + 0.02), width * ((k + 1) / 3 - 0.02)
        pen.box(x0, height * 0.24, x1, height * 0.88, shade(wood, 0.93))
        pen.ellipse(x1 - width * 0.03, height * 0.56, 2.5, 2.5, shade(wood, 0.5), edge=False)
    pen.box(0, height * 0.94, width, height, shade(wood, 0.55), edge=False)
