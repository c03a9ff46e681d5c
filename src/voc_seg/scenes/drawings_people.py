"""Drawings of people, one unit high, feet at y = 1."""

from __future__ import annotations

import numpy as np

from .pen import Colour, Pen, shade, vary

_SKIN: tuple[Colour, ...] = ((246, 200, 166), (232, 176, 138), (198, 138, 98), (146, 94, 64), (110, 70, 50))
_HAIR: tuple[Colour, ...] = ((40, 28, 24), (84, 50, 28), (30, 28, 34), (170, 116, 50), (150, 60, 30))
_SHIRT: tuple[Colour, ...] = (
    (238, 92, 138),
    (244, 150, 170),
    (232, 74, 110),
    (246, 246, 240),
    (60, 190, 190),
    (250, 220, 90),
)
_TROUSERS: tuple[Colour, ...] = ((50, 58, 100), (64, 66, 80), (92, 70, 60), (44, 50, 70))


def draw_person(pen: Pen, rng: np.random.Generator) -> None:
    """A standing, walking or waving person, 0.5 wide: face, hair, shirt, trousers or skirt, shoes."""
    skin = vary(rng, _SKIN[rng.integers(len(_SKIN))], 0.04, 5)
    hair = vary(rng, _HAIR[rng.integers(len(_HAIR))], 0.15, 6)
    shirt = vary(rng, _SHIRT[rng.integers(len(_SHIRT))], 0.08, 14)
    lower = vary(rng, _TROUSERS[rng.integers(len(_TROUSERS))], 0.15, 10)
    long_hair, skirt = rng.random() < 0.45, rng.random() < 0.3
    if long_hair:
        pen.blob("0.15,0.06 0.25,0 0.35,0.06 0.37,0.22 0.34,0.3 0.16,0.3 0.13,0.22", hair)
    step = rng.uniform(0.01, 0.07)
    for way in (-1, 1):
        hip, foot = 0.25 + way * 0.05, 0.25 + way * (0.05 + step)
        pen.limb(
            [(hip, 0.54), (0.5 * (hip + foot), 0.76), (foot, 0.95)],
            [0.11, 0.09, 0.075],
            skin if skirt else lower,
        )
        pen.blob(
            [
                (foot - 0.04, 0.945),
                (foot + 0.03, 0.945),
                (foot + 0.075, 0.985),
                (foot + 0.05, 1.0),
                (foot - 0.04, 1.0),
            ],
            (52, 40, 40),
        )
    waving = rng.random() < 0.35
    for way in (-1, 1):
        shoulder = (0.25 + way * 0.1, 0.285)
        if waving and way > 0:
            elbow, hand = (0.42, 0.28), (0.45, 0.12)
        else:
            swing = rng.uniform(-0.02, 0.04)
            elbow, hand = (0.25 + way * (0.15 + swing * 0.5), 0.42), (0.25 + way * (0.15 + swing), 0.55)
        pen.limb([shoulder, elbow, hand], [0.075, 0.065, 0.05], skin)
        pen.ellipse(*hand, 0.032, 0.035, skin)
        pen.limb(
            [shoulder, (shoulder[0] * 0.4 + elbow[0] * 0.6, shoulder[1] * 0.4 + elbow[1] * 0.6)],
            [0.085, 0.085],
            shirt,
        )
    torso = "0.13,0.26 0.25,0.23 0.37,0.26 0.355,0.42 0.36,0.58 0.25,0.6 0.14,0.58 0.145,0.42"
    pen.limb([(0.25, 0.2), (0.25, 0.27)], [0.07, 0.08], skin)
    pen.blob(torso, shirt)
    pattern = rng.integers(3)
    if pattern:
        with pen.inside(torso):
            ink = shade(shirt, 0.72) if pattern == 1 else (252, 252, 250)
            for k in range(4):
                pen.line([(0.0, 0.3 + k * 0.075), (0.5, 0.3 + k * 0.075)], 0.024, ink)
    if skirt:
        pen.poly([(0.16, 0.54), (0.34, 0.54), (0.4, 0.75), (0.1, 0.75)], lower)
    else:
        pen.box(0.145, 0.55, 0.355, 0.61, lower, corner=0.02, edge=False)
    pen.limb([(0.215, 0.245), (0.25, 0.262), (0.285, 0.245)], [0.02, 0.04, 0.02], skin, edge=False)
    for way in (-1, 1):
        pen.ellipse(0.25 + way * 0.082, 0.125, 0.018, 0.022, skin)
    pen.ellipse(0.25, 0.118, 0.08, 0.096, skin)
    pen.blob("0.163,0.11 0.18,0.035 0.25,0.005 0.32,0.035 0.337,0.11 0.3,0.07 0.24,0.062 0.2,0.07", hair)
    if rng.random() < 0.6:
        pen.blob("0.172,0.09 0.2,0.035 0.26,0.02 0.325,0.06 0.328,0.095 0.27,0.072 0.22,0.08", hair, edge=False)
    for way in (-1, 1):
        pen.ellipse(0.25 + way * 0.031, 0.12, 0.0095, 0.012, (30, 22, 22), edge=False)
        pen.ellipse(0.25 + way * 0.047, 0.15, 0.014, 0.009, (240, 110, 100, 90))
        pen.line([(0.25 + way * 0.02, 0.094), (0.25 + way * 0.044, 0.097)], 0.007, shade(hair, 0.9))
    smile = np.linspace(0.4, np.pi - 0.4, 6)
    pen.line([(0.25 + 0.026 * np.cos(a), 0.156 + 0.02 * np.sin(a)) for a in smile], 0.009, shade(skin, 0.5))
