"""Drawings of the VOC farm animals. Each faces right in a box one unit high, with its feet at y = 1."""

from __future__ import annotations

import numpy as np

from .pen import Colour, Pen, shade, vary


def draw_legs(
    pen: Pen,
    rng: np.random.Generator,
    hips: tuple[float, float],
    top: float,
    widths: tuple[float, float],
    coat: Colour,
    hoof: Colour,
) -> None:
    """Four walking legs: the far pair darker and behind, the near pair in front."""
    stride = rng.uniform(0.02, 0.09) * rng.choice([-1, 1])
    for near in (False, True):
        tone = coat if near else shade(coat, 0.72)
        for hip, way in zip(hips, (1, -1) if near else (-1, 1), strict=True):
            x = hip + (0.0 if near else 0.075)
            foot = x + way * stride
            knee = (x + way * stride * 0.3 + (0.02 if hip > hips[0] else -0.02), top + (1 - top) * 0.5)
            pen.limb([(x, top), knee, (foot, 0.95)], [widths[0], widths[1] * 1.1, widths[1]], tone)
            low = widths[1] * 0.56
            pen.poly(
                [(foot - low, 0.93), (foot + low, 0.93), (foot + low * 1.35, 1.0), (foot - low * 1.1, 1.0)],
                hoof,
            )


def draw_horse(pen: Pen, rng: np.random.Generator) -> None:
    """A chestnut horse, 1.3 wide: long neck and face, dark mane and tail."""
    coat = vary(rng, (142, 70, 30), 0.16, 10)
    mane = shade(vary(rng, (56, 30, 20), 0.2, 8), 1.0)
    pen.limb([(0.2, 0.38), (0.1, 0.46), (0.08, 0.62), (0.03, 0.78)], [0.06, 0.11, 0.11, 0.03], mane)
    draw_legs(pen, rng, (0.31, 0.75), 0.56, (0.15, 0.062), coat, (45, 36, 34))
    body = "0.18,0.4 0.3,0.33 0.5,0.37 0.68,0.34 0.85,0.36 0.9,0.5 0.8,0.63 0.55,0.65 0.34,0.64 0.19,0.56"
    pen.limb([(0.78, 0.47), (0.9, 0.33), (1.0, 0.17)], [0.3, 0.21, 0.15], coat)
    pen.blob(body, coat)
    pen.limb([(0.8, 0.46), (0.9, 0.33), (0.99, 0.19)], [0.24, 0.19, 0.14], coat, edge=False)
    pen.limb([(1.0, 0.15), (1.1, 0.22), (1.21, 0.32)], [0.16, 0.13, 0.1], coat)
    pen.ellipse(1.21, 0.32, 0.045, 0.05, shade(coat, 0.7), edge=False)
    pen.poly([(0.96, 0.1), (0.97, -0.01), (1.03, 0.08)], coat)
    pen.limb([(1.02, 0.07), (0.93, 0.13), (0.85, 0.23), (0.75, 0.36)], [0.06, 0.09, 0.1, 0.05], mane)
    if rng.random() < 0.6:
        pen.limb([(1.09, 0.15), (1.17, 0.24)], [0.03, 0.02], (240, 232, 220), edge=False)
    pen.ellipse(1.065, 0.165, 0.019, 0.023, (25, 16, 14), edge=False)
    pen.ellipse(1.235, 0.315, 0.01, 0.013, (30, 18, 15), edge=False)
    pen.line([(1.17, 0.37), (1.22, 0.36)], 0.01, shade(coat, 0.45))
    pen.ellipse(0.4, 0.42, 0.16, 0.05, (255, 220, 170, 45))


def draw_cow(pen: Pen, rng: np.random.Generator) -> None:
    """A white cow with black patches, 1.5 wide: boxy trunk, horns, pink muzzle and udder."""
    white, black = vary(rng, (240, 238, 232), 0.05, 5), vary(rng, (34, 32, 36), 0.2, 6)
    pink = vary(rng, (236, 164, 164), 0.06, 8)
    pen.line([(0.14, 0.26), (0.07, 0.4), (0.08, 0.62)], 0.035, white, smooth=True)
    pen.limb([(0.08, 0.6), (0.08, 0.66), (0.07, 0.74)], [0.04, 0.08, 0.03], black)
    draw_legs(pen, rng, (0.26, 0.86), 0.6, (0.15, 0.085), white, black)
    pen.ellipse(0.47, 0.71, 0.1, 0.07, pink)
    body = "0.13,0.27 0.3,0.21 0.6,0.24 0.9,0.2 1.03,0.3 1.03,0.52 0.92,0.68 0.6,0.73 0.3,0.71 0.14,0.6"
    pen.limb([(0.92, 0.38), (1.1, 0.26)], [0.3, 0.22], white)
    pen.blob(body, white)
    pen.limb([(0.88, 0.38), (1.09, 0.265)], [0.27, 0.2], white, edge=False)
    with pen.inside(body):
        for x in (0.2, 0.5, 0.82, 1.02):
            cx, cy = x + rng.uniform(-0.07, 0.07), rng.choice([0.28, 0.36, 0.55])
            turns = np.linspace(0, 2 * np.pi, 8)[:-1]
            reach = rng.uniform(0.09, 0.2, size=7)
            pen.blob(
                [(cx + r * np.cos(t), cy + r * 0.9 * np.sin(t)) for t, r in zip(turns, reach, strict=True)],
                black,
            )
    pen.limb([(1.09, 0.1), (1.06, 0.02), (1.1, -0.04)], [0.045, 0.035, 0.015], (214, 198, 160))
    pen.limb([(1.22, 0.09), (1.26, 0.02), (1.23, -0.04)], [0.045, 0.035, 0.015], (214, 198, 160))
    pen.ellipse(1.0, 0.14, 0.09, 0.045, black, turn=0.25)
    head = "1.05,0.1 1.16,0.06 1.27,0.11 1.31,0.26 1.39,0.4 1.32,0.5 1.2,0.47 1.09,0.33"
    pen.blob(head, white)
    with pen.inside(head):
        pen.ellipse(1.07, 0.18, 0.1, 0.15, black, edge=False, turn=-0.3)
        pen.ellipse(1.29, 0.12, 0.05, 0.12, black, edge=False, turn=-0.3)
    pen.ellipse(1.315, 0.43, 0.095, 0.068, pink, turn=0.35)
    for x, y in ((1.29, 0.41), (1.36, 0.43)):
        pen.ellipse(x, y, 0.013, 0.017, (120, 60, 70), edge=False)
    for x in (1.15, 1.265):
        pen.ellipse(x, 0.22, 0.026, 0.03, (250, 250, 250), edge=False)
        pen.ellipse(x + 0.006, 0.225, 0.018, 0.022, (20, 18, 20), edge=False)


def draw_sheep(pen: Pen, rng: np.random.Generator) -> None:
    """A woolly sheep, 1.25 wide: a cloud of off-white curls on short dark legs, dark face."""
    wool = vary(rng, (236, 222, 190), 0.05, 6)
    face = vary(rng, (74, 62, 60), 0.2, 8)
    for x in (0.3, 0.42, 0.76, 0.88):
        foot = x + rng.uniform(-0.03, 0.03)
        pen.limb([(x, 0.6), (foot, 0.97)], [0.1, 0.075], face if x in (0.3, 0.76) else shade(face, 0.7))
    turns = np.linspace(0, 2 * np.pi, 16)[:-1] + rng.uniform(0, 0.4)
    for t in turns:
        pen.ellipse(0.56 + 0.4 * np.cos(t), 0.45 + 0.25 * np.sin(t), 0.12, 0.115, wool)
    pen.ellipse(0.08, 0.4, 0.075, 0.085, wool)
    pen.ellipse(0.56, 0.45, 0.42, 0.28, wool, edge=False)
    tone = shade(wool, 0.76)
    for row in range(4):
        for column in range(6):
            x = 0.24 + column * 0.13 + (row % 2) * 0.06 + rng.uniform(-0.02, 0.02)
            y = 0.3 + row * 0.11 + rng.uniform(-0.015, 0.015)
            arc = np.linspace(0.2, 4.2, 6) + rng.uniform(0, 2)
            size = 0.034
            pen.line([(x + size * np.cos(a), y + size * np.sin(a)) for a in arc], 0.017, tone)
    pen.blob("0.93,0.2 1.02,0.16 1.12,0.22 1.22,0.4 1.2,0.5 1.1,0.51 0.98,0.42", face)
    pen.ellipse(0.9, 0.3, 0.1, 0.045, shade(face, 0.85), turn=0.5)
    for x, y in ((0.92, 0.19), (1.0, 0.14), (1.08, 0.17)):
        pen.ellipse(x, y, 0.075, 0.065, wool)
    pen.ellipse(1.08, 0.29, 0.03, 0.032, (250, 250, 245), edge=False)
    pen.ellipse(1.088, 0.295, 0.016, 0.02, (15, 15, 15), edge=False)
    pen.ellipse(1.185, 0.43, 0.012, 0.016, (25, 20, 20), edge=False)
    pen.line([(1.12, 0.47), (1.19, 0.475)], 0.01, (30, 24, 24))
