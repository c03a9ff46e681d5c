"""Drawings of aeroplane, boat and train. Each heads right in a box one unit high."""

from __future__ import annotations

import numpy as np

from .pen import Colour, Pen, shade, vary

_GLASS: Colour = (168, 214, 232)


def draw_aeroplane(pen: Pen, rng: np.random.Generator) -> None:
    """An airliner from the side, 2.5 wide: white fuselage, coloured tail fin, swept wings, engine."""
    white = vary(rng, (240, 243, 248), 0.03, 4)
    livery = vary(rng, (214, 36, 60) if rng.random() < 0.6 else (30, 60, 160), 0.12, 20)
    grey = vary(rng, (176, 184, 198), 0.06, 5)
    pen.poly([(1.3, 0.5), (1.0, 0.16), (1.12, 0.15), (1.62, 0.5)], shade(grey, 0.85))
    pen.poly([(0.1, 0.02), (0.3, 0.0), (0.62, 0.43), (0.14, 0.48)], livery)
    hull = "0.03,0.42 0.4,0.39 1.2,0.36 2,0.36 2.3,0.43 2.47,0.55 2.35,0.64 2,0.7 1.2,0.7 0.6,0.62 0.2,0.5"
    pen.blob(hull, white)
    with pen.inside(hull):
        pen.poly([(0.0, 0.6), (2.6, 0.6), (2.6, 0.8), (0.0, 0.8)], shade(white, 0.82), edge=False)
        pen.line([(0.0, 0.585), (2.6, 0.585)], 0.04, livery)
        pen.poly([(2.22, 0.38), (2.36, 0.42), (2.44, 0.51), (2.26, 0.5)], (50, 66, 90), edge=False)
    for k in range(13):
        pen.ellipse(0.68 + k * 0.11, 0.49, 0.028, 0.035, (70, 100, 140), edge=False)
    pen.box(2.04, 0.45, 2.12, 0.63, shade(white, 0.92), corner=0.02)
    pen.poly([(0.06, 0.44), (0.3, 0.47), (0.16, 0.6), (0.0, 0.6)], grey)
    for x in (1.06, 2.1):
        pen.line([(x, 0.66), (x, 0.86)], 0.035, (120, 126, 136))
        pen.ellipse(x, 0.87, 0.06, 0.06, (44, 46, 52))
    pen.ellipse(1.36, 0.76, 0.18, 0.085, livery)
    pen.ellipse(1.52, 0.76, 0.035, 0.08, (50, 54, 64))
    pen.poly([(1.56, 0.6), (1.12, 0.59), (0.64, 0.97), (0.78, 1.0)], grey)
    pen.poly([(1.56, 0.6), (1.4, 0.6), (0.7, 0.985), (0.78, 1.0)], (255, 255, 255, 90))


def draw_boat(pen: Pen, rng: np.random.Generator) -> None:
    """A boat, 1.15 wide: white hull with a red band below two cream sails or a wheelhouse with a mast."""
    hull = vary(rng, (244, 244, 240), 0.04, 5)
    red = vary(rng, (204, 34, 38), 0.1, 12)
    sail = vary(rng, (252, 240, 214), 0.03, 6)
    accent = vary(rng, (236, 116, 40) if rng.random() < 0.5 else (204, 34, 60), 0.1, 14)
    timber = vary(rng, (120, 76, 40), 0.1, 8)
    if rng.random() < 0.7:
        pen.line([(0.555, 0.02), (0.555, 0.82)], 0.05, timber)
        main = "0.535,0.05 0.535,0.73 0.03,0.73 0.2,0.46 0.38,0.22"
        pen.poly(main, sail)
        with pen.inside(main, smooth=False):
            pen.box(0.0, 0.5, 0.6, 0.58, accent, edge=False)
            for k in range(3):
                pen.line([(0.0, 0.2 + k * 0.14), (0.6, 0.16 + k * 0.14)], 0.009, shade(sail, 0.78))
        pen.poly("0.58,0.08 0.74,0.26 0.9,0.5 1.06,0.75 0.58,0.75", shade(sail, 0.93))
        pen.poly("0.55,0.02 0.55,0.1 0.38,0.06", red)
        pen.line([(0.535, 0.745), (0.03, 0.745)], 0.032, timber)
        pen.box(0.24, 0.755, 0.84, 0.85, (206, 150, 90), corner=0.03)
        for x in (0.34, 0.46, 0.66, 0.76):
            pen.ellipse(x, 0.79, 0.026, 0.024, _GLASS)
    else:
        pen.limb([(0.36, 0.18), (0.36, 0.8)], [0.05, 0.06], timber)
        pen.poly("0.36,0.2 0.36,0.34 0.08,0.3", accent)
        for x in (0.04, 0.62):
            pen.line([(0.36, 0.2), (x, 0.78)], 0.012, shade(timber, 0.7))
        pen.box(0.44, 0.46, 0.86, 0.84, sail)
        pen.box(0.4, 0.4, 0.92, 0.48, red, corner=0.02)
        for x in (0.49, 0.69):
            pen.box(x, 0.54, x + 0.13, 0.68, _GLASS, corner=0.02)
        pen.box(0.66, 0.26, 0.78, 0.41, accent)
        pen.box(0.66, 0.3, 0.78, 0.34, sail, edge=False)
    body = "0.0,0.8 0.6,0.83 1.14,0.77 1.06,0.93 0.96,1 0.14,1 0.05,0.93"
    pen.poly(body, hull)
    with pen.inside(body, smooth=False):
        pen.box(0.0, 0.875, 1.2, 0.93, red, edge=False)
        pen.box(0.0, 0.965, 1.2, 1.0, (60, 50, 90), edge=False)


def draw_train(pen: Pen, rng: np.random.Generator) -> None:
    """A railcar with its nose to the right, 2.9 wide: dark green, cream stripe, framed windows, bogies."""
    green = vary(rng, (16, 78, 62), 0.14, 8)
    cream = vary(rng, (244, 226, 174), 0.04, 8)
    pen.box(0.06, 0.8, 2.7, 0.9, (48, 46, 48))
    for x in (0.3, 0.62, 1.28, 1.6, 2.22, 2.54):
        pen.ellipse(x, 0.89, 0.105, 0.105, (70, 66, 66))
        pen.ellipse(x, 0.89, 0.045, 0.045, (150, 146, 140), edge=False)
    for x in (0.46, 1.44, 2.38):
        pen.box(x - 0.22, 0.83, x + 0.22, 0.89, (34, 32, 34), corner=0.02)
    nose = "0,0.2 2.28,0.18 2.52,0.24 2.72,0.42 2.86,0.64 2.87,0.8 2.8,0.84 0,0.84"
    pen.poly(nose, green)
    pen.poly([(0.0, 0.2), (0.04, 0.13), (2.2, 0.12), (2.36, 0.19)], (120, 124, 126))
    with pen.inside(nose, smooth=False):
        pen.poly("0,0.58 2.4,0.58 2.95,0.68 2.95,0.74 2.4,0.67 0,0.67", cream, edge=False)
        pen.line([(0.0, 0.245), (2.5, 0.225)], 0.028, cream)
        pen.line([(0.0, 0.77), (2.9, 0.77)], 0.02, shade(green, 1.7))
    for x in (0.1, 0.42, 1.08, 1.4, 1.72):
        pen.box(x, 0.3, x + 0.26, 0.53, cream, corner=0.03)
        pen.box(x + 0.028, 0.325, x + 0.232, 0.505, (92, 128, 146), corner=0.02, edge=False)
        pen.poly([(x + 0.06, 0.505), (x + 0.14, 0.325), (x + 0.19, 0.325), (x + 0.11, 0.505)], (255, 255, 255, 90))
    for x in (0.76, 2.06):
        pen.box(x, 0.29, x + 0.22, 0.82, shade(green, 1.35), corner=0.02)
        pen.box(x + 0.05, 0.34, x + 0.17, 0.54, (92, 128, 146), corner=0.02)
        pen.line([(x + 0.185, 0.6), (x + 0.185, 0.68)], 0.02, cream)
    pen.poly("2.36,0.28 2.5,0.28 2.7,0.48 2.7,0.53 2.36,0.53", (60, 88, 104))
    pen.poly([(2.42, 0.52), (2.42, 0.3), (2.48, 0.3), (2.54, 0.52)], (255, 255, 255, 80))
    pen.ellipse(2.8, 0.7, 0.04, 0.045, (255, 246, 190))
    pen.box(2.76, 0.82, 2.9, 0.88, (150, 30, 30), corner=0.02)
    if rng.random() < 0.6:
        pen.line([(1.1, 0.12), (1.3, 0.06), (1.12, 0.01)], 0.03, (60, 60, 64))
        pen.line([(0.98, 0.01), (1.28, 0.01)], 0.03, (60, 60, 64))
