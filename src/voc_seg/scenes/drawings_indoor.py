"""Drawings of the VOC furniture and household things, one unit high, with their feet at y = 1."""

from __future__ import annotations

import numpy as np

from .pen import Pen, blend, shade, vary


def draw_bottle(pen: Pen, rng: np.random.Generator) -> None:
    """A glass bottle, 0.4 wide: deep green or amber, paper label, capped neck."""
    glass = vary(rng, (18, 92, 48) if rng.random() < 0.6 else (110, 62, 14), 0.14, 8)
    slim = rng.uniform(0.165, 0.185)
    neck, shoulder = 0.066, rng.uniform(0.34, 0.42)
    half = [
        (neck, 0.06),
        (neck, 0.22),
        (neck * 1.3, shoulder - 0.1),
        (slim * 0.95, shoulder),
        (slim, shoulder + 0.06),
        (slim, 0.97),
        (slim * 0.9, 1.0),
    ]
    outline = [(0.2 + x, y) for x, y in half] + [(0.2 - x, y) for x, y in reversed(half)]
    pen.poly(outline, glass)
    foil = vary(rng, (206, 168, 60), 0.15, 20)
    pen.box(0.2 - neck * 1.15, 0.0, 0.2 + neck * 1.15, 0.15, foil, corner=0.015)
    pen.line([(0.2 - neck, 0.11), (0.2 + neck, 0.11)], 0.012, shade(foil, 0.6))
    label = vary(rng, (240, 228, 196), 0.05, 10)
    y0, y1 = shoulder + 0.12, rng.uniform(0.8, 0.86)
    pen.box(0.2 - slim, y0, 0.2 + slim, y1, label)
    accent = vary(rng, (170, 36, 44), 0.2, 40)
    pen.box(0.2 - slim, y0 + 0.03, 0.2 + slim, y0 + 0.06, accent, edge=False)
    pen.ellipse(0.2, (y0 + y1) / 2 + 0.02, 0.065, 0.065, accent, edge=False)
    for k in range(2):
        pen.line([(0.12, y1 - 0.06 + k * 0.03), (0.28, y1 - 0.06 + k * 0.03)], 0.009, (120, 110, 100))
    pen.limb([(0.2 - slim * 0.55, shoulder + 0.03), (0.2 - slim * 0.6, 0.94)], [0.03, 0.03], (255, 255, 255, 90))
    pen.limb([(0.2 - neck * 0.4, 0.17), (0.2 - neck * 0.5, shoulder - 0.1)], [0.02, 0.02], (255, 255, 255, 100))
    pen.box(0.2 + slim * 0.55, shoulder + 0.02, 0.2 + slim, 0.99, (0, 0, 0, 50))


def draw_chair(pen: Pen, rng: np.random.Generator) -> None:
    """A wooden chair seen from front and side, 0.72 wide: slatted back, seat cushion or board, four legs."""
    wood = vary(rng, (226, 126, 36), 0.1, 12)
    back, far = shade(wood, 0.86), shade(wood, 0.66)
    for x0, x1, base in ((0.16, 0.13, 0.9), (0.58, 0.6, 0.9)):
        pen.limb([(x0, 0.5), (x1, base)], [0.06, 0.05], far)
    pen.limb([(0.11, 0.02), (0.14, 0.55)], [0.075, 0.075], back)
    pen.limb([(0.59, 0.02), (0.56, 0.55)], [0.075, 0.075], back)
    if rng.random() < 0.5:
        for k in range(3):
            y = 0.06 + k * 0.135
            pen.poly(
                [
                    (0.1, y),
                    (0.35, y - 0.02),
                    (0.6, y),
                    (0.59, y + 0.085),
                    (0.35, y + 0.065),
                    (0.11, y + 0.085),
                ],
                wood,
            )
    else:
        pen.poly("0.08,0.02 0.35,-0.02 0.62,0.02 0.61,0.13 0.35,0.09 0.09,0.13", wood)
        pen.box(0.12, 0.4, 0.58, 0.46, wood)
        for x in (0.21, 0.31, 0.41, 0.51):
            pen.limb([(x - 0.01, 0.1), (x - 0.01, 0.42)], [0.055, 0.055], wood)
    pen.line([(0.09, 0.8), (0.63, 0.8)], 0.035, far)
    for x0, x1 in ((0.1, 0.06), (0.62, 0.66)):
        pen.limb([(x0, 0.6), (x1, 0.97)], [0.085, 0.065], wood)
    pen.poly([(0.13, 0.5), (0.57, 0.5), (0.7, 0.61), (0.02, 0.61)], blend(wood, (255, 220, 150), 0.35))
    pen.poly([(0.02, 0.61), (0.7, 0.61), (0.69, 0.68), (0.03, 0.68)], wood)
    for x in (0.2, 0.36, 0.52):
        pen.line([(0.36 + (x - 0.36) * 0.8, 0.51), (x, 0.6)], 0.008, shade(wood, 0.7))


def draw_diningtable(pen: Pen, rng: np.random.Generator) -> None:
    """A laid table, 1.9 wide: dark wood, checked cloth hanging over the front, plates and cups."""
    wood = vary(rng, (88, 48, 30), 0.14, 6)
    check = vary(rng, (52, 92, 190), 0.12, 16)
    white = (240, 242, 246)
    for x, base in ((0.34, 0.88), (1.56, 0.88)):
        pen.limb([(x, 0.3), (x, base)], [0.08, 0.06], shade(wood, 0.7))
    for x in (0.14, 1.76):
        pen.limb([(x, 0.4), (x, 0.97)], [0.12, 0.085], wood)
    pen.box(0.06, 0.36, 1.84, 0.47, wood)
    pen.poly([(0.3, 0.1), (1.6, 0.1), (1.9, 0.36), (0.0, 0.36)], shade(wood, 1.25))
    # The cloth: its top follows the table's perspective, its front hangs straight down.
    fringe = rng.uniform(0.54, 0.62)
    top = [(0.46, 0.1), (1.44, 0.1), (1.62, 0.36), (0.28, 0.36)]
    drop = [(0.28, 0.36), (1.62, 0.36), (1.62, fringe), (0.28, fringe)]
    pen.poly(top, white)
    pen.poly(drop, white)
    columns, rows = 10, 4
    for column in range(0, columns, 1):
        u0, u1 = column / columns, (column + 1) / columns
        for row in range(rows):
            if (column + row) % 2:
                continue
            v0, v1 = row / rows, (row + 1) / rows
            cell = []
            for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1)):
                left, right = 0.46 - 0.18 * v, 1.44 + 0.18 * v
                cell.append((left + (right - left) * u, 0.1 + 0.26 * v))
            pen.poly(cell, check, edge=False)
        for row in range(3):
            if (column + row) % 2 == 0:
                high = (fringe - 0.36) / 3
                x0, x1 = 0.28 + 1.34 * u0, 0.28 + 1.34 * u1
                pen.box(x0, 0.36 + row * high, x1, 0.36 + (row + 1) * high, shade(check, 0.82), edge=False)
    pen.box(0.28, 0.36, 1.62, fringe, (0, 0, 30, 28))
    for x in (0.62, 1.26):
        pen.ellipse(x, 0.23, 0.2, 0.075, (250, 248, 244))
        pen.ellipse(x, 0.228, 0.13, 0.045, (222, 222, 226), edge=False)
        food = vary(rng, (206, 96, 48), 0.2, 40)
        pen.ellipse(x - 0.02, 0.215, 0.08, 0.034, food, edge=False)
        pen.ellipse(x + 0.05, 0.225, 0.05, 0.024, (96, 160, 66), edge=False)
    pen.limb([(0.94, 0.05), (0.94, 0.16)], [0.12, 0.1], (244, 236, 224))
    pen.ellipse(0.94, 0.04, 0.06, 0.022, (120, 70, 40))


def draw_pottedplant(pen: Pen, rng: np.random.Generator) -> None:
    """A house plant, 0.85 wide: terracotta pot with a rim, fan of broad green leaves."""
    clay = vary(rng, (196, 92, 54), 0.1, 12)
    leaf = vary(rng, (52, 158, 62), 0.12, 14)
    stems = int(rng.integers(9, 13))
    narrow = rng.uniform(0.07, 0.12)
    for near in (False, True):
        for k in range(stems):
            lean = (k + 0.5 + rng.uniform(-0.3, 0.3)) / stems * 2 - 1
            length = rng.uniform(0.42, 0.6) * (1.0 if not near else 0.75)
            angle = lean * (1.25 if not near else 1.5)
            tip = (0.425 + np.sin(angle) * length * 0.72, 0.64 - np.cos(angle) * length)
            middle = (0.425 + np.sin(angle * 0.8) * length * 0.42, 0.66 - np.cos(angle * 0.8) * length * 0.62)
            tone = shade(leaf, (0.72 if not near else 1.0) * rng.uniform(0.88, 1.16))
            pen.limb([(0.425, 0.68), middle, tip], [0.03, narrow * 1.4, 0.012], tone)
            pen.line([(0.425, 0.68), middle, tip], 0.01, shade(tone, 1.3), smooth=True)
    pen.poly([(0.2, 0.69), (0.65, 0.69), (0.58, 1.0), (0.27, 1.0)], clay)
    pen.box(0.16, 0.64, 0.69, 0.735, shade(clay, 1.1), corner=0.02)
    pen.poly([(0.24, 0.75), (0.31, 0.75), (0.35, 0.99), (0.29, 0.99)], (255, 220, 190, 70))
    pen.poly([(0.54, 0.74), (0.64, 0.74), (0.58, 1.0), (0.5, 1.0)], (60, 0, 0, 50))
    if rng.random() < 0.4:
        pen.line([(0.23, 0.84), (0.34, 0.88), (0.45, 0.84), (0.61, 0.86)], 0.02, (246, 214, 170), smooth=True)


def draw_sofa(pen: Pen, rng: np.random.Generator) -> None:
    """An upholstered sofa, 2.1 wide: back cushions, seat cushions, rolled armrests, short feet."""
    cloth = vary(rng, (124, 54, 150), 0.12, 16) if rng.random() < 0.75 else vary(rng, (20, 128, 132), 0.12, 10)
    light, dark = blend(cloth, (255, 255, 255), 0.16), shade(cloth, 0.78)
    for x in (0.16, 1.94):
        pen.limb([(x, 0.88), (x, 0.98)], [0.09, 0.06], (70, 44, 28))
    pen.box(0.14, 0.04, 1.96, 0.8, dark, corner=0.14)
    seats = int(rng.integers(2, 4))
    wide = 1.58 / seats
    for k in range(seats):
        x = 0.26 + k * wide
        pen.box(x + 0.01, 0.09, x + wide - 0.01, 0.58, cloth, corner=0.09)
        pen.ellipse(x + wide / 2, 0.32, 0.02, 0.022, dark)
        for way in (-1, 1):
            pen.line([(x + wide / 2 + way * 0.05, 0.31), (x + wide / 2 + way * 0.14, 0.28)], 0.01, dark)
    pen.box(0.2, 0.68, 1.9, 0.92, dark, corner=0.04)
    for k in range(seats):
        x = 0.26 + k * wide
        pen.box(x, 0.54, x + wide, 0.74, light, corner=0.06)
    for x in (0.0, 1.8):
        pen.box(x, 0.34, x + 0.3, 0.94, cloth, corner=0.12)
        pen.ellipse(x + 0.15, 0.46, 0.13, 0.11, light)
        pen.ellipse(x + 0.15, 0.46, 0.06, 0.05, cloth, edge=False)
    if rng.random() < 0.7:
        x = rng.choice([0.46, 1.56])
        pillow = vary(rng, (244, 200, 70), 0.1, 30)
        pen.blob(
            [
                (x - 0.17, 0.29),
                (x, 0.32),
                (x + 0.17, 0.27),
                (x + 0.15, 0.43),
                (x + 0.18, 0.6),
                (x, 0.57),
                (x - 0.17, 0.6),
                (x - 0.14, 0.44),
            ],
            pillow,
        )


def draw_tvmonitor(pen: Pen, rng: np.random.Generator) -> None:
    """A flat screen, 1.45 wide: black bezel on a stand, glowing picture of hills, windows or bars."""
    black = vary(rng, (24, 25, 30), 0.25, 4)
    pen.poly([(0.62, 0.8), (0.83, 0.8), (0.86, 0.95), (0.59, 0.95)], shade(black, 1.6))
    pen.box(0.42, 0.93, 1.03, 1.0, black, corner=0.03)
    pen.box(0.0, 0.0, 1.45, 0.86, black, corner=0.035)
    x0, y0, x1, y1 = 0.065, 0.06, 1.385, 0.76
    kind = rng.integers(3)
    sky = vary(rng, (60, 190, 250), 0.08, 16)
    screen = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    pen.poly(screen, sky, edge=False)
    with pen.inside(screen, smooth=False):
        if kind == 0:
            pen.ellipse(rng.uniform(0.3, 1.1), 0.24, 0.12, 0.12, (255, 240, 130), edge=False)
            pen.poly("0,0.8 0.35,0.3 0.62,0.58 0.9,0.36 1.4,0.8", (150, 90, 230), edge=False)
            pen.blob("-0.1,0.62 0.4,0.56 0.8,0.64 1.5,0.56 1.5,1 -0.1,1", (90, 240, 130), edge=False)
        elif kind == 1:
            for x, y, wide, high in ((0.14, 0.13, 0.62, 0.42), (0.62, 0.26, 0.66, 0.44)):
                pen.box(x, y, x + wide, y + high, (248, 250, 255))
                pen.box(x, y, x + wide, y + 0.07, (240, 70, 160), edge=False)
                for k in range(4):
                    length = wide * rng.uniform(0.4, 0.85)
                    pen.line(
                        [(x + 0.05, y + 0.14 + k * 0.07), (x + length, y + 0.14 + k * 0.07)],
                        0.024,
                        (120, 150, 210),
                    )
        else:
            inks = [
                (250, 250, 250),
                (250, 236, 60),
                (60, 236, 240),
                (70, 230, 90),
                (236, 80, 226),
                (240, 70, 60),
                (60, 80, 240),
            ]
            wide = (x1 - x0) / len(inks)
            for k, ink in enumerate(inks):
                pen.box(x0 + k * wide, y0, x0 + (k + 1) * wide, y1, ink, edge=False)
        pen.poly([(0.2, 0.0), (0.5, 0.0), (0.12, 0.9), (-0.18, 0.9)], (255, 255, 255, 46))
    pen.ellipse(1.34, 0.81, 0.014, 0.014, (60, 240, 110), edge=False)
    pen.line([(0.67, 0.81), (0.78, 0.81)], 0.016, (150, 152, 160))
