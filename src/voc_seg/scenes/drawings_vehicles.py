"""Drawings of the VOC road vehicles. Each heads right in a box one unit high, wheels at y = 1."""

from __future__ import annotations

import numpy as np

from .pen import Colour, Pen, blend, shade, vary

_GLASS: Colour = (168, 214, 232)
_TYRE: Colour = (34, 34, 38)


def _wheel(pen: Pen, x: float, y: float, radius: float, rim: Colour, spokes: int = 5) -> None:
    """A road wheel: tyre, rim, hub and bold spokes."""
    pen.ellipse(x, y, radius, radius, _TYRE)
    pen.ellipse(x, y, radius * 0.62, radius * 0.62, rim)
    for k in range(spokes):
        angle = 2 * np.pi * k / spokes + 0.4
        reach = radius * 0.52
        pen.line([(x, y), (x + reach * np.cos(angle), y + reach * np.sin(angle))], radius * 0.14, shade(rim, 0.6))
    pen.ellipse(x, y, radius * 0.18, radius * 0.18, shade(rim, 0.45), edge=False)


def draw_bicycle(pen: Pen, rng: np.random.Generator) -> None:
    """A bicycle, 1.62 wide: closed wheel discs with spokes, bright lime frame, saddle, handlebar, pedals."""
    frame = vary(rng, (150, 214, 30), 0.1, 16)
    disc = vary(rng, (206, 212, 216), 0.06, 6)
    radius, y = 0.34, 0.66
    rear, front = (radius, y), (1.62 - radius, y)
    for x, _ in (rear, front):
        pen.ellipse(x, y, radius, radius, (40, 40, 44), edge=False)
        pen.ellipse(x, y, radius * 0.84, radius * 0.84, disc, edge=False)
        turn = rng.uniform(0, 1)
        for k in range(12):
            angle = turn + 2 * np.pi * k / 12
            end = (x + radius * 0.82 * np.cos(angle), y + radius * 0.82 * np.sin(angle))
            pen.line([(x, y), end], 0.014, shade(disc, 0.62))
        pen.ellipse(x, y, 0.05, 0.05, (80, 84, 90))
    crank, seat, head = (0.72, 0.68), (0.6, 0.27), (1.13, 0.27)
    width = 0.062
    for first, second in (
        (rear, crank),
        (rear, (0.62, 0.34)),
        (crank, seat),
        (crank, (1.15, 0.34)),
        ((0.63, 0.34), head),
    ):
        pen.line([first, second], width + 0.018, shade(frame, 0.6))
    for first, second in (
        (rear, crank),
        (rear, (0.62, 0.34)),
        (crank, seat),
        (crank, (1.15, 0.34)),
        ((0.63, 0.34), head),
    ):
        pen.line([first, second], width, frame)
    pen.line([(1.09, 0.1), (1.15, 0.34), front], width, shade(frame, 0.82))
    pen.line([(1.08, 0.11), (1.2, 0.06), (1.3, 0.12)], 0.06, (54, 50, 52), smooth=True)
    pen.line([seat, (0.585, 0.2)], 0.05, (90, 94, 100))
    pen.blob("0.43,0.14 0.6,0.13 0.74,0.18 0.6,0.22 0.45,0.21", (84, 50, 34))
    pen.ellipse(*crank, 0.1, 0.1, (76, 80, 88))
    pen.ellipse(*crank, 0.055, 0.055, (190, 194, 200), edge=False)
    swing = rng.uniform(0, np.pi)
    for way in (1, -1):
        end = (crank[0] + way * 0.17 * np.cos(swing), crank[1] + way * 0.17 * np.sin(swing))
        pen.line([crank, end], 0.036, (110, 114, 120))
        pen.line([(end[0] - 0.06, end[1]), (end[0] + 0.06, end[1])], 0.045, (30, 30, 34))
    if rng.random() < 0.5:
        pen.poly([(1.2, 0.2), (1.5, 0.2), (1.46, 0.4), (1.24, 0.4)], (190, 140, 76))
        for x in (1.27, 1.35, 1.43):
            pen.line([(x, 0.21), (x, 0.39)], 0.012, (130, 90, 44))


def draw_bus(pen: Pen, rng: np.random.Generator) -> None:
    """A red city bus with amber bands, 2.1 wide, or 1.6 with two decks: rows of panes, door, wheels."""
    double = rng.random() < 0.5
    wide = 1.6 if double else 2.1
    red = vary(rng, (214, 40, 28), 0.08, 12)
    amber = vary(rng, (252, 186, 40), 0.05, 10)
    top = 0.02 if double else 0.12
    pen.box(0.0, top, wide, 0.9, red, corner=0.07)
    pen.box(0.02, top + 0.025, wide - 0.02, top + 0.065, shade(red, 1.2), corner=0.015, edge=False)
    rows = ((0.12, 0.34), (0.5, 0.7)) if double else ((0.24, 0.52),)
    for y0, y1 in rows:
        panes = round(wide / 0.27) - 1
        step = (wide - 0.16) / panes
        for k in range(panes):
            x = 0.06 + k * step
            pen.box(x, y0, x + step - 0.04, y1, _GLASS, corner=0.02)
            pen.poly([(x + 0.03, y1), (x + 0.1, y0), (x + 0.15, y0), (x + 0.08, y1)], (255, 255, 255, 110))
        pen.box(wide - 0.09, y0 - 0.01, wide - 0.005, y1 + 0.03, (120, 176, 204), corner=0.02)
    band = (0.38, 0.46) if double else (0.58, 0.68)
    pen.box(0.0, band[0], wide, band[1], amber, edge=False)
    low = 0.74 if double else 0.72
    pen.box(0.0, low, wide, low + 0.035, amber, edge=False)
    door = wide - 0.42
    y0 = 0.49 if double else 0.23
    pen.box(door, y0, door + 0.26, 0.87, shade(amber, 0.9))
    for k in range(2):
        pen.box(door + 0.02 + k * 0.125, y0 + 0.03, door + 0.115 + k * 0.125, 0.8, _GLASS)
    pen.box(wide * 0.3, top + 0.015, wide * 0.62, top + 0.085, (30, 28, 30))
    for k in range(6):
        pen.line(
            [(wide * 0.32 + k * wide * 0.047, top + 0.05), (wide * 0.345 + k * wide * 0.047, top + 0.05)],
            0.03,
            (255, 196, 40),
        )
    pen.ellipse(wide - 0.035, 0.8, 0.03, 0.045, (255, 244, 190))
    pen.ellipse(0.025, 0.78, 0.02, 0.045, (150, 16, 20))
    pen.box(0.0, 0.86, wide, 0.9, (52, 44, 46), edge=False)
    for x in (wide * 0.2, wide * 0.66):
        pen.ellipse(x, 0.87, 0.15, 0.15, (46, 30, 30), edge=False)
        _wheel(pen, x, 0.87, 0.13, (196, 200, 206))


def draw_car(pen: Pen, rng: np.random.Generator) -> None:
    """A saloon or hatchback, 2.2 wide: blue to silver paint, cabin glass, alloy wheels, lamps, door seams."""
    paint = vary(rng, (44, 96, 206) if rng.random() < 0.65 else (130, 164, 206), 0.1, 14)
    saloon = rng.random() < 0.6
    tail = (
        "0.03,0.62 0.08,0.46 0.4,0.41 0.66,0.13 0.9,0.06"
        if saloon
        else "0.03,0.62 0.07,0.42 0.22,0.12 0.5,0.05 0.9,0.04"
    )
    nose = " 1.25,0.07 1.62,0.4 2.02,0.48 2.16,0.6 2.17,0.8 2.08,0.86 0.1,0.86 0.03,0.8"
    pen.poly(tail + nose, paint)
    low = "0.03,0.64 2.17,0.64 2.17,0.8 2.08,0.86 0.1,0.86 0.03,0.8"
    pen.poly(low, shade(paint, 0.82), edge=False)
    pen.line([(0.1, 0.52), (0.9, 0.49), (2.0, 0.55)], 0.016, blend(paint, (255, 255, 255), 0.5), smooth=True)
    pen.poly(
        "0.52,0.42 0.73,0.17 0.98,0.12 0.98,0.42" if saloon else "0.22,0.42 0.34,0.16 0.56,0.12 0.98,0.12 0.98,0.42",
        _GLASS,
    )
    pen.poly("1.05,0.12 1.22,0.13 1.5,0.42 1.05,0.42", _GLASS)
    pen.poly("0.68,0.42 0.86,0.16 0.94,0.14 0.76,0.42", (255, 255, 255, 110))
    pen.poly("1.16,0.42 1.08,0.28 1.08,0.16 1.28,0.42", (255, 255, 255, 90))
    if not saloon:
        pen.line([(0.54, 0.12), (0.54, 0.42)], 0.035, shade(paint, 0.8))
    for x in (0.5, 1.015, 1.52):
        pen.line([(x, 0.44), (x - 0.01, 0.8)], 0.012, shade(paint, 0.5))
    for x in (0.84, 1.34):
        pen.line([(x, 0.53), (x + 0.1, 0.53)], 0.026, (226, 230, 234))
    pen.ellipse(2.09, 0.57, 0.07, 0.05, (255, 246, 196), turn=0.5)
    pen.box(0.03, 0.52, 0.11, 0.62, (206, 30, 36), corner=0.02)
    pen.box(2.06, 0.72, 2.19, 0.8, (70, 76, 88), corner=0.02)
    pen.box(0.01, 0.72, 0.12, 0.8, (70, 76, 88), corner=0.02)
    pen.blob("1.46,0.38 1.54,0.34 1.57,0.41 1.5,0.44", shade(paint, 0.7))
    for x in (0.46, 1.72):
        pen.ellipse(x, 0.81, 0.225, 0.225, shade(paint, 0.35), edge=False)
        _wheel(pen, x, 0.81, 0.19, (206, 210, 218))


def draw_motorbike(pen: Pen, rng: np.random.Generator) -> None:
    """A motorcycle, 1.7 wide: fat tyres, chrome engine and exhaust, crimson tank, long seat, headlamp."""
    tank = vary(rng, (168, 18, 34), 0.12, 10)
    chrome, black = (178, 182, 190), (30, 30, 34)
    radius, y = 0.29, 0.7
    rear, front = (0.31, y), (1.4, y)
    for x, _ in (rear, front):
        pen.ellipse(x, y, radius, radius, black, edge=False)
        pen.ellipse(x, y, radius * 0.64, radius * 0.64, (92, 94, 102), edge=False)
        for k in range(7):
            angle = 2 * np.pi * k / 7
            pen.line([(x, y), (x + 0.17 * np.cos(angle), y + 0.17 * np.sin(angle))], 0.03, chrome)
        pen.ellipse(x, y, 0.07, 0.07, (50, 52, 58))
    pen.line([(1.12, 0.2), (1.2, 0.36), front], 0.085, (120, 124, 132))
    pen.line([(1.1, 0.2), (1.18, 0.36), front], 0.04, chrome)
    pen.limb([rear, (0.6, 0.62), (0.9, 0.72)], [0.09, 0.12, 0.1], (54, 54, 60))
    pen.blob("0.56,0.46 1.08,0.42 1.14,0.62 1.02,0.84 0.66,0.86 0.54,0.66", black)
    pen.ellipse(0.76, 0.72, 0.13, 0.12, (128, 132, 140))
    pen.ellipse(0.76, 0.72, 0.06, 0.055, chrome)
    for k in range(4):
        pen.line([(0.86, 0.5 + k * 0.045), (1.06, 0.48 + k * 0.045)], 0.024, chrome)
    pen.limb([(0.96, 0.78), (0.6, 0.87), (0.2, 0.84), (0.06, 0.8)], [0.05, 0.06, 0.09, 0.1], chrome)
    pen.blob("0.06,0.4 0.22,0.32 0.42,0.42 0.62,0.5 0.4,0.56 0.16,0.5", tank)
    pen.blob("0.16,0.31 0.4,0.3 0.7,0.37 0.72,0.46 0.44,0.46 0.2,0.39", (44, 32, 30))
    pen.blob("0.66,0.36 0.8,0.22 1.02,0.2 1.14,0.3 1.06,0.44 0.8,0.48", tank)
    pen.blob([(0.78, 0.31), (0.88, 0.25), (1.0, 0.26), (0.9, 0.31)], (255, 220, 220, 130))
    pen.limb([(1.12, 0.52), (1.34, 0.39), (1.6, 0.48), (1.66, 0.6)], [0.03, 0.07, 0.06, 0.03], tank)
    pen.line([(1.16, 0.24), (1.08, 0.1), (0.92, 0.13)], 0.055, black, smooth=True)
    pen.line([(0.98, 0.12), (0.9, 0.14)], 0.075, (70, 70, 76))
    pen.ellipse(1.06, 0.04, 0.055, 0.04, (110, 114, 122))
    pen.line([(1.06, 0.07), (1.07, 0.13)], 0.025, black)
    pen.ellipse(1.25, 0.27, 0.1, 0.1, (70, 72, 80))
    pen.ellipse(1.28, 0.27, 0.075, 0.085, (255, 240, 186))
    pen.ellipse(0.06, 0.43, 0.035, 0.045, (250, 110, 60))
