"""Drawings of dog, cat and bird. Each faces right in a box one unit high, with its feet at y = 1."""

from __future__ import annotations

import numpy as np

from .drawings_animals import draw_legs
from .pen import Pen, blend, shade, vary


def draw_dog(pen: Pen, rng: np.random.Generator) -> None:
    """A golden dog, 1.25 wide: floppy ear, muzzle with black nose, collar, lifted tail."""
    coat = vary(rng, (214, 158, 78), 0.1, 10)
    ear = shade(coat, 0.62)
    cream = blend(coat, (255, 246, 220), 0.6)
    lift = rng.uniform(-0.08, 0.06)
    pen.limb([(0.2, 0.42), (0.09, 0.33), (0.06, 0.2 + lift), (0.11, 0.1 + lift)], [0.1, 0.09, 0.07, 0.03], coat)
    draw_legs(pen, rng, (0.3, 0.76), 0.6, (0.18, 0.085), coat, cream)
    body = "0.17,0.42 0.35,0.36 0.6,0.38 0.82,0.33 0.91,0.45 0.85,0.64 0.66,0.7 0.4,0.64 0.2,0.62"
    pen.blob(body, coat)
    with pen.inside(body):
        pen.ellipse(0.86, 0.62, 0.14, 0.13, cream, edge=False)
        pen.ellipse(0.6, 0.72, 0.22, 0.06, cream, edge=False)
        if rng.random() < 0.4:
            pen.ellipse(0.45, 0.38, 0.14, 0.12, ear, edge=False)
    pen.limb([(0.79, 0.44), (0.88, 0.26)], [0.27, 0.22], coat, edge=False)
    pen.blob("0.8,0.12 0.9,0.04 1.02,0.06 1.08,0.16 1.22,0.2 1.25,0.29 1.16,0.36 1,0.37 0.85,0.3", coat)
    pen.blob("1.06,0.21 1.2,0.21 1.245,0.28 1.16,0.35 1.04,0.35", cream, edge=False)
    if rng.random() < 0.5:
        pen.limb([(1.13, 0.34), (1.14, 0.4), (1.13, 0.44)], [0.06, 0.065, 0.04], (226, 96, 104))
    pen.line([(1.02, 0.34), (1.12, 0.345), (1.21, 0.3)], 0.014, shade(coat, 0.4), smooth=True)
    pen.ellipse(1.225, 0.215, 0.042, 0.034, (28, 24, 26), edge=False)
    pen.ellipse(1.03, 0.17, 0.024, 0.029, (30, 20, 16), edge=False)
    pen.ellipse(1.036, 0.161, 0.008, 0.009, (255, 255, 255), edge=False)
    pen.limb([(0.87, 0.08), (0.8, 0.18), (0.79, 0.33)], [0.1, 0.15, 0.1], ear)
    pen.line([(0.79, 0.4), (0.88, 0.43), (0.97, 0.39)], 0.045, vary(rng, (206, 40, 44), 0.15, 15), smooth=True)


def draw_cat(pen: Pen, rng: np.random.Generator) -> None:
    """A sitting grey tabby, 0.95 wide: round face with pointed ears and whiskers, ringed tail."""
    coat = vary(rng, (138, 142, 152), 0.14, 6)
    dark, pale = shade(coat, 0.5), blend(coat, (250, 250, 250), 0.6)
    tip = rng.uniform(-0.06, 0.08)
    tail = [(0.6, 0.93), (0.8, 0.92), (0.9, 0.78), (0.84 + tip, 0.64), (0.88 + tip, 0.54)]
    pen.limb(tail, [0.12, 0.12, 0.11, 0.1, 0.08], coat)
    for x, y, turn in (
        (0.72, 0.925, 0.1),
        (0.83, 0.885, -0.75),
        (0.885, 0.79, -1.5),
        (0.86 + tip * 0.6, 0.69, -1.9),
        (0.87 + tip, 0.56, -1.3),
    ):
        pen.ellipse(x, y, 0.017, 0.05, dark, edge=False, turn=turn)
    body = "0.3,0.42 0.48,0.4 0.62,0.55 0.72,0.78 0.7,0.94 0.5,0.99 0.2,0.99 0.13,0.85 0.2,0.6"
    pen.blob(body, coat)
    with pen.inside(body):
        for k in range(5):
            y = 0.5 + k * 0.095
            pen.limb([(0.74, y - 0.03), (0.6, y + 0.02), (0.5, y)], [0.045, 0.035, 0.01], dark, edge=False)
            pen.limb([(0.1, y - 0.03), (0.2, y + 0.01), (0.27, y)], [0.04, 0.03, 0.01], dark, edge=False)
        pen.ellipse(0.36, 0.6, 0.11, 0.16, pale, edge=False)
    for x in (0.28, 0.44):
        pen.limb([(x, 0.68), (x, 0.93)], [0.11, 0.1], coat)
        pen.ellipse(x - 0.005, 0.965, 0.075, 0.04, pale)
    for way in (-1, 1):
        pen.poly([(0.36 + way * 0.22, 0.2), (0.36 + way * 0.225, -0.03), (0.36 + way * 0.05, 0.08)], coat)
        pen.poly(
            [(0.36 + way * 0.185, 0.16), (0.36 + way * 0.2, 0.03), (0.36 + way * 0.1, 0.09)],
            (226, 160, 164),
            edge=False,
        )
    pen.ellipse(0.36, 0.25, 0.255, 0.205, coat)
    for x in (-0.07, 0.0, 0.07):
        pen.limb([(0.36 + x, 0.06), (0.36 + x * 0.8, 0.15)], [0.035, 0.012], dark, edge=False)
    for way in (-1, 1):
        for y in (0.25, 0.31):
            pen.limb([(0.36 + way * 0.25, y), (0.36 + way * 0.17, y + 0.015)], [0.03, 0.01], dark, edge=False)
        pen.ellipse(0.36 + way * 0.1, 0.23, 0.05, 0.046, (196, 212, 74))
        pen.ellipse(0.36 + way * 0.1, 0.23, 0.016, 0.04, (18, 18, 18), edge=False)
        pen.ellipse(0.36 + way * 0.045, 0.345, 0.06, 0.045, pale, edge=False)
    pen.poly([(0.33, 0.3), (0.39, 0.3), (0.36, 0.335)], (222, 120, 130), edge=False)
    for way in (-1, 1):
        for y in (0.32, 0.36):
            pen.line([(0.36 + way * 0.1, 0.34), (0.36 + way * 0.24, y + 0.01)], 0.007, (250, 250, 250, 220))
        pen.line(
            [
                (0.36, 0.33),
                (0.36 + way * 0.012, 0.372),
                (0.36 + way * 0.05, 0.376),
                (0.36 + way * 0.068, 0.352),
            ],
            0.01,
            dark,
            smooth=True,
        )


def draw_bird(pen: Pen, rng: np.random.Generator) -> None:
    """A flying songbird, 1.35 wide: azure back, yellow breast, wings raised or beating down."""
    blue = vary(rng, (30, 128, 214), 0.14, 22)
    yellow = vary(rng, (250, 206, 46), 0.06, 16)
    wing = shade(blue, 0.72)
    raised, tip = rng.random() < 0.6, rng.uniform(-0.06, 0.1)
    if raised:
        pen.blob("0.55,0.5 0.66,0.2 0.58,0 0.78,0.08 0.86,0.3 0.82,0.52", shade(wing, 0.8))
    else:
        pen.blob("0.62,0.4 0.68,0.2 0.82,0.06 0.86,0.22 0.84,0.42", shade(wing, 0.8))
    pen.poly("0.36,0.5 0.02,0.54 0,0.63 0.06,0.66 0.02,0.73 0.4,0.72", wing)
    body = "0.3,0.58 0.5,0.42 0.75,0.34 0.9,0.2 1.08,0.2 1.14,0.34 1.08,0.58 0.9,0.78 0.62,0.8 0.4,0.72"
    pen.blob(body, blue)
    with pen.inside(body):
        pen.blob("0.5,0.72 0.8,0.58 0.98,0.38 1.2,0.36 1.2,0.9 0.5,0.95", yellow, edge=False)
        for k in range(3):
            pen.line(
                [(0.8 + k * 0.07, 0.7 - k * 0.06), (0.84 + k * 0.07, 0.72 - k * 0.06)],
                0.014,
                shade(yellow, 0.8),
            )
    pen.poly([(1.11, 0.26), (1.34, 0.34), (1.12, 0.39)], (240, 140, 36))
    pen.line([(1.13, 0.33), (1.3, 0.34)], 0.01, (150, 80, 20))
    pen.ellipse(1.02, 0.29, 0.05, 0.052, (255, 255, 255), edge=False)
    pen.ellipse(1.03, 0.29, 0.032, 0.035, (16, 16, 20), edge=False)
    pen.ellipse(1.04, 0.28, 0.01, 0.011, (255, 255, 255), edge=False)
    for x in (0.56, 0.66):
        pen.line([(x, 0.79), (x - 0.1, 0.86), (x - 0.16, 0.855)], 0.032, (222, 130, 40))
    # The near wing by its tip and its two roots; the feathers run from root to tip.
    x, y = (0.14 + tip, 0.02) if raised else (0.3 + tip, 1.0)
    front, back = ((0.78, 0.42), (0.5, 0.56)) if raised else ((0.84, 0.44), (0.54, 0.5))
    side = -0.08 if raised else 0.06
    bend = [((a[0] + x) / 2 + dx, (a[1] + y) / 2 + dy) for a, dx, dy in ((front, 0.06, side), (back, -0.06, 0.0))]
    pen.blob(
        [
            (x, y),
            (x + 0.14, y + (0.0 if raised else -0.02)),
            bend[0],
            front,
            (0.7, 0.58 if raised else 0.44),
            back,
            bend[1],
        ],
        wing,
    )
    for k in range(4):
        share = (k + 1) / 5
        root = (back[0] + (front[0] - back[0]) * share, back[1] + (front[1] - back[1]) * share)
        ends = [
            (root[0] + (x + 0.08 - root[0]) * reach, root[1] + (y - root[1]) * reach) for reach in (0.25, 0.8 - 0.1 * k)
        ]
        pen.line(ends, 0.016, shade(wing, 0.65))
