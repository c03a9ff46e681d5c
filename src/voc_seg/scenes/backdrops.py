"""Outdoor backgrounds of the drawn scenes: they fill the whole image and are never labelled.

Every function takes a pen whose unit is the image height (y from 0 at the top to 1 at the bottom), a random
generator and the image width in that unit.
"""

from __future__ import annotations

import numpy as np

from .backdrops_scenery import hills, houses, sky, tree, tufts
from .pen import Pen, blend, shade, vary


def street(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """Houses or trees, a pavement, and an asphalt road with lane markings."""
    sky(pen, rng, width, 0.6, 2)
    if rng.random() < 0.75:
        houses(pen, rng, width, 0.58)
    else:
        for x in np.arange(0, width + 0.2, 0.22):
            tree(pen, rng, x, 0.59, rng.uniform(0.25, 0.4))
    kerb = vary(rng, (190, 184, 176), 0.06, 5)
    pen.box(0, 0.57, width, 0.66, kerb, edge=False)
    for x in np.arange(rng.uniform(0, 0.1), width, 0.12):
        pen.line([(x, 0.57), (x - 0.02, 0.65)], 0.004, shade(kerb, 0.8))
    pen.box(0, 0.65, width, 0.675, shade(kerb, 0.75), edge=False)
    road = vary(rng, (104, 104, 110), 0.14, 4)
    pen.gradient(0.675, 1.0, shade(road, 0.92), shade(road, 1.1))
    for x in np.arange(rng.uniform(-0.3, 0), width, 0.36):
        pen.poly([(x, 0.82), (x + 0.18, 0.82), (x + 0.17, 0.845), (x - 0.02, 0.845)], (228, 226, 214), edge=False)
    if rng.random() < 0.3:
        for k in range(7):
            y = 0.69 + k * 0.044
            pen.poly([(0.2, y), (0.5, y), (0.49, y + 0.022), (0.18, y + 0.022)], (226, 226, 222), edge=False)


def meadow(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """Hills, trees, grass, now and then a path or a pond of flowers."""
    horizon = rng.uniform(0.36, 0.5)
    sky(pen, rng, width, horizon, 3)
    grass = vary(rng, (138, 172, 84), 0.12, 12)
    hills(pen, rng, width, horizon, 0.2, blend(grass, (130, 160, 190), 0.6))
    hills(pen, rng, width, horizon, 0.1, blend(grass, (110, 140, 120), 0.4))
    pen.gradient(horizon, 1.0, shade(grass, 0.92), shade(grass, 1.06))
    for _ in range(rng.integers(3, 8)):
        tree(pen, rng, rng.uniform(0, width), horizon + rng.uniform(0.0, 0.06), rng.uniform(0.14, 0.34))
    if rng.random() < 0.4:
        x = rng.uniform(0.3, width - 0.3)
        pen.poly([(x, horizon), (x + 0.05, horizon), (x + 0.5, 1.02), (x - 0.3, 1.02)], (206, 186, 146), edge=False)
    tufts(pen, rng, width, horizon + 0.04, grass)
    for x, y in zip(rng.uniform(0, width, 20), rng.uniform(horizon + 0.15, 1, 20), strict=True):
        pen.ellipse(x, y, 0.007, 0.006, (250, 240, 200) if rng.random() < 0.6 else (216, 120, 150), edge=False)


def farm(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """A meadow with a barn and a rail fence."""
    meadow(pen, rng, width)
    if rng.random() < 0.75:
        x, base = rng.uniform(0.05, width - 0.45), 0.54
        wall = vary(rng, (150, 104, 88), 0.1, 10)
        pen.box(x, base - 0.2, x + 0.38, base, wall)
        pen.poly(
            [
                (x - 0.03, base - 0.19),
                (x + 0.07, base - 0.32),
                (x + 0.31, base - 0.32),
                (x + 0.41, base - 0.19),
            ],
            (112, 106, 108),
        )
        pen.box(x + 0.13, base - 0.13, x + 0.25, base, shade(wall, 0.65))
        pen.line([(x + 0.13, base - 0.13), (x + 0.25, base)], 0.008, (220, 210, 196))
        pen.line([(x + 0.25, base - 0.13), (x + 0.13, base)], 0.008, (220, 210, 196))
    if rng.random() < 0.8:
        wood = vary(rng, (176, 156, 130), 0.1, 8)
        for y in (0.55, 0.595):
            pen.line([(-0.1, y), (width + 0.1, y)], 0.013, shade(wood, 0.9))
        for x in np.arange(rng.uniform(0, 0.1), width, 0.16):
            pen.box(x, 0.52, x + 0.02, 0.64, wood, edge=False)


def rails(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """Open country or houses behind a railway track with ballast and sleepers, a platform in front."""
    horizon = 0.5
    sky(pen, rng, width, horizon + 0.03, 3)
    grass = vary(rng, (150, 166, 96), 0.1, 10)
    if rng.random() < 0.4:
        houses(pen, rng, width, horizon + 0.04)
    else:
        hills(pen, rng, width, horizon, 0.16, blend(grass, (140, 160, 190), 0.5))
        for _ in range(5):
            tree(pen, rng, rng.uniform(0, width), horizon + 0.04, rng.uniform(0.15, 0.3))
    pen.gradient(horizon + 0.02, 0.68, shade(grass, 0.9), grass)
    for x in np.arange(0.1, width, 0.62):
        pen.line([(x, 0.7), (x, 0.08)], 0.014, (120, 124, 126))
        pen.line([(x, 0.12), (x + 0.14, 0.12)], 0.01, (120, 124, 126))
    pen.line([(0, 0.14), (width, 0.14)], 0.006, (90, 92, 96))
    stone = vary(rng, (156, 146, 136), 0.08, 6)
    pen.box(-0.1, 0.68, width + 0.1, 0.8, stone, edge=False)
    for x, y in zip(rng.uniform(0, width, 120), rng.uniform(0.68, 0.8, 120), strict=True):
        pen.ellipse(x, y, 0.007, 0.005, shade(stone, 0.8 if (x + y) % 0.02 < 0.01 else 1.15), edge=False)
    for x in np.arange(-0.05, width, 0.1):
        pen.poly([(x, 0.715), (x + 0.05, 0.715), (x + 0.04, 0.775), (x - 0.015, 0.775)], (112, 90, 74), edge=False)
    for y in (0.725, 0.765):
        pen.line([(-0.1, y), (width + 0.1, y)], 0.013, (186, 188, 194))
    platform = vary(rng, (198, 190, 178), 0.06, 6)
    pen.gradient(0.82, 1.0, platform, shade(platform, 0.9))
    pen.box(-0.1, 0.81, width + 0.1, 0.835, (228, 220, 204), edge=False)
    pen.line([(-0.1, 0.855), (width + 0.1, 0.855)], 0.012, (226, 200, 90))


def lake(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """Water with waves below a far shore, a strip of beach in front."""
    horizon = rng.uniform(0.4, 0.48)
    sky(pen, rng, width, horizon, 4)
    shore = vary(rng, (116, 140, 120), 0.15, 12)
    hills(pen, rng, width, horizon, rng.uniform(0.06, 0.2), shore)
    water = vary(rng, (56, 128, 162), 0.14, 14)
    pen.gradient(horizon, 1.0, shade(water, 1.25), shade(water, 0.9))
    for v in rng.uniform(0, 1, 60) ** 1.4:
        y, x, size = horizon + (0.98 - horizon) * v, rng.uniform(0, width), 0.03 + 0.06 * v
        crest = [
            (x - size, y),
            (x - size / 2, y - size * 0.12),
            (x, y),
            (x + size / 2, y - size * 0.12),
            (x + size, y),
        ]
        pen.line(crest, 0.004 + 0.006 * v, (255, 255, 255, 110), smooth=True)
    sand = vary(rng, (222, 202, 158), 0.05, 6)
    beach = [(width * k / 4, rng.uniform(0.89, 0.94)) for k in range(-1, 6)]
    pen.blob([*beach, (width + 0.3, 1.2), (-0.3, 1.2)], sand, edge=False)
    for x in (0.0, width):
        if rng.random() < 0.4:
            for _ in range(9):
                reed = x + rng.uniform(-0.12, 0.12)
                pen.limb(
                    [(reed, 1.02), (reed + rng.uniform(-0.05, 0.05), rng.uniform(0.74, 0.86))],
                    [0.012, 0.004],
                    (106, 122, 70),
                    edge=False,
                )


def air(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """High sky with clouds, a strip of hills or towns at the bottom."""
    sky(pen, rng, width, 1.0, int(rng.integers(5, 11)))
    if rng.random() < 0.7:
        grass = vary(rng, (140, 164, 112), 0.12, 12)
        hills(pen, rng, width, 0.93, 0.12, blend(grass, (150, 170, 200), 0.5))
        hills(pen, rng, width, 1.0, 0.1, grass)
        for _ in range(4):
            tree(pen, rng, rng.uniform(0, width), 1.02, rng.uniform(0.08, 0.16))


def airfield(pen: Pen, rng: np.random.Generator, width: float) -> None:
    """A runway apron below a terminal with its control tower."""
    sky(pen, rng, width, 0.56, 4)
    wall = vary(rng, (196, 198, 204), 0.06, 6)
    x = rng.uniform(0.0, width * 0.4)
    pen.box(x + 0.1, 0.18, x + 0.15, 0.5, wall, edge=False)
    pen.poly([(x + 0.04, 0.12), (x + 0.21, 0.12), (x + 0.18, 0.2), (x + 0.07, 0.2)], (96, 116, 132))
    pen.box(x, 0.42, x + 0.7, 0.57, wall)
    for k in range(8):
        pen.box(x + 0.03 + k * 0.083, 0.45, x + 0.09 + k * 0.083, 0.51, (120, 150, 168), edge=False)
    grass = vary(rng, (148, 166, 104), 0.1, 10)
    pen.gradient(0.56, 0.66, shade(grass, 0.9), grass)
    apron = vary(rng, (160, 160, 160), 0.08, 4)
    pen.gradient(0.65, 1.0, shade(apron, 0.9), shade(apron, 1.06))
    pen.line([(-0.1, 0.7), (width + 0.1, 0.7)], 0.01, (240, 240, 236))
    pen.line([(-0.1, 0.97), (width * 0.5, 0.84), (width + 0.1, 0.82)], 0.014, (232, 196, 60), smooth=True)
