"""Contents of the drawn scenes: themes, a schedule that balances the classes, and the layout of one image."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Theme:
    """A kind of scene: its backdrop, its classes and where in the image they are drawn.

    ``ground`` is the band (far, near) for the feet of objects; ``fixed`` overrides it for single classes. Both are in
    image heights from the top. For classes in ``flying`` the band applies to the centre of the object.
    """

    backdrop: str
    classes: tuple[str, ...]
    ground: tuple[float, float]
    fixed: dict[str, tuple[float, float]]
    flying: tuple[str, ...] = ()


THEMES: dict[str, Theme] = {
    "street": Theme("street", ("bus", "car", "bicycle", "motorbike", "person"), (0.76, 0.97), {"bus": (0.72, 0.82)}),
    "park": Theme(
        "meadow",
        ("person", "dog", "bicycle", "bird", "horse", "motorbike"),
        (0.74, 0.97),
        {"bird": (0.2, 0.36)},
        ("bird",),
    ),
    "farm": Theme("farm", ("cow", "sheep", "horse", "dog", "person"), (0.72, 0.97), {}),
    "living_room": Theme(
        "room",
        ("sofa", "tvmonitor", "chair", "pottedplant", "cat", "person", "dog"),
        (0.8, 0.97),
        {"sofa": (0.78, 0.9), "tvmonitor": (0.66, 0.72)},
    ),
    "dining_room": Theme(
        "room",
        ("diningtable", "bottle", "chair", "pottedplant", "cat", "person"),
        (0.8, 0.97),
        {"diningtable": (0.88, 0.98)},
    ),
    "desk": Theme("desk", ("tvmonitor", "bottle", "pottedplant", "cat"), (0.76, 0.91), {}),
    "lake": Theme(
        "lake",
        ("boat", "bird", "person"),
        (0.93, 0.98),
        {"boat": (0.56, 0.86), "bird": (0.18, 0.34)},
        ("bird",),
    ),
    "sky": Theme("air", ("aeroplane", "bird"), (0.2, 0.75), {}, ("aeroplane", "bird")),
    "airfield": Theme("airfield", ("aeroplane", "car", "person"), (0.86, 0.97), {"aeroplane": (0.7, 0.78)}),
    "rail": Theme(
        "rails",
        ("train", "person", "bicycle", "dog", "bird"),
        (0.9, 0.98),
        {"train": (0.77, 0.785), "bird": (0.14, 0.26)},
        ("bird",),
    ),
}

NOMINAL_HEIGHT: dict[str, float] = {
    "aeroplane": 0.32, "bicycle": 0.36, "bird": 0.28, "boat": 0.52, "bottle": 0.5, "bus": 0.42, "car": 0.28,
    "cat": 0.38, "chair": 0.48, "cow": 0.38, "diningtable": 0.4, "dog": 0.33, "horse": 0.44,
    "motorbike": 0.36, "person": 0.6, "pottedplant": 0.44, "sheep": 0.36, "sofa": 0.36, "train": 0.36,
    "tvmonitor": 0.36,
}  # fmt: skip
"""Height of each drawing relative to the square root of the image area, before depth and crowding."""

LEVEL: frozenset[str] = frozenset({"bottle", "diningtable", "sofa", "train", "tvmonitor", "pottedplant", "chair"})
"""Classes drawn upright; all others are rotated slightly, flying ones more."""

SUPPORTS: dict[tuple[str, str], float] = {("bottle", "diningtable"): 0.27, ("cat", "sofa"): 0.67}
"""(object, support): height of the object's feet in the support's box, from 0 (top) to 1 (bottom)."""

SIZES: tuple[tuple[int, int], ...] = ((500, 375), (500, 375), (500, 375), (500, 333), (500, 400), (375, 500))
"""Image sizes (width, height) in pixels as in VOC, repeated by frequency."""


@dataclass(frozen=True)
class ScenePlan:
    """One image to draw: id, random seed (``key``), theme, size (width, height) in pixels and objects."""

    image_id: str
    key: tuple[int, ...]
    theme: str
    size: tuple[int, int]
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Position of one object: centre ``x``, feet ``y`` and ``height`` in pixels, ``turn`` in radians."""

    name: str
    x: float
    y: float
    height: float
    mirrored: bool
    turn: float


def plan_split(split: str, count: int, seed: int = 0) -> list[ScenePlan]:
    """Plan the ``count`` images of a split.

    Every image is built around the class used least so far. With 20 classes and two to five objects an image, the
    class counts stay within a few of one another.
    """
    number = zlib.crc32(split.encode())
    rng = np.random.default_rng([seed, number])
    seen: Counter[str] = Counter(dict.fromkeys(NOMINAL_HEIGHT, 0))
    theme_counts: Counter[str] = Counter()
    plans = []
    for index in range(1, count + 1):
        jitter = {name: rng.random() for name in seen}
        rarest = min(seen, key=lambda name: seen[name] + jitter[name])
        themes = [name for name, theme in THEMES.items() if rarest in theme.classes]
        theme = min(themes, key=lambda name: theme_counts[name] + 2 * rng.random())
        theme_counts[theme] += 1
        size = SIZES[rng.integers(len(SIZES))]
        wanted = int(rng.choice([2, 3, 4, 5], p=[0.06, 0.36, 0.36, 0.22]))
        objects = [rarest]
        if size[0] < size[1]:
            wanted = min(wanted, 3)
        while len(objects) < min(wanted, len(THEMES[theme].classes)):
            # Bulky classes occur once, others up to twice: bulky objects would hide each other.
            bulky = ("bus", "train", "diningtable", "sofa")
            pool = [n for n in THEMES[theme].classes if objects.count(n) < (1 if n in bulky else 2)]
            objects.append(min(pool, key=lambda n: seen[n] + 1.5 * jitter[n] + 4 * objects.count(n)))
        seen.update(objects)
        plans.append(ScenePlan(f"scene_{split}_{index:04d}", (seed, number, index), theme, size, tuple(objects)))
    return plans


def _try_layout(plan: ScenePlan, aspects: dict[str, float], rng: np.random.Generator) -> list[Placement]:
    width, height = plan.size
    theme = THEMES[plan.theme]
    crowd = {1: 1.3, 2: 1.2, 3: 1.05, 4: 0.92, 5: 0.82}[len(plan.objects)]
    slots = rng.permutation(len(plan.objects))
    placed: dict[str, Placement] = {}
    result = []
    for name, slot in zip(plan.objects, slots, strict=True):
        far, near = theme.fixed.get(name, theme.ground)
        depth = rng.random()
        tall = NOMINAL_HEIGHT[name] * np.sqrt(width * height) * crowd * np.exp(rng.uniform(-0.22, 0.22))
        tall *= 0.86 + 0.28 * depth
        tall = min(tall, 0.86 * height, 0.92 * width / aspects[name])
        x = (slot + 0.5 + rng.uniform(-0.35, 0.35)) / len(plan.objects) * width
        half = tall * aspects[name] / 2
        x = float(np.clip(x, 0.8 * half, width - 0.8 * half))
        y = (far + (near - far) * depth) * height
        if name in theme.flying:
            y += tall / 2
        tilt = 0.0 if name in LEVEL else 0.12 if name in theme.flying else 0.025
        placement = Placement(name, x, y, tall, bool(rng.random() < 0.5), float(rng.normal(0, 1) * tilt))
        result.append(placement)
        placed.setdefault(name, placement)
    for k, one in enumerate(result):
        for (top, under), share in SUPPORTS.items():
            if one.name == top and under in placed and (top != "cat" or rng.random() < 0.6):
                base = placed[under]
                reach = base.height * aspects[under] * 0.32
                tall = min(one.height, base.height * (0.78 if top == "bottle" else 0.8))
                feet = base.y - base.height * (1 - share)
                result[k] = Placement(top, base.x + rng.uniform(-reach, reach), feet, tall, one.mirrored, 0.0)
    return result


def _crowding(placements: list[Placement], aspects: dict[str, float]) -> float:
    """Return the largest fraction of any object's box that another box covers."""
    worst = 0.0
    for k, a in enumerate(placements):
        for b in placements[:k]:
            wide_a, wide_b = a.height * aspects[a.name], b.height * aspects[b.name]
            dx = min(a.x + wide_a / 2, b.x + wide_b / 2) - max(a.x - wide_a / 2, b.x - wide_b / 2)
            dy = min(a.y, b.y) - max(a.y - a.height, b.y - b.height)
            if (a.name, b.name) in SUPPORTS or (b.name, a.name) in SUPPORTS:
                continue
            if dx > 0 and dy > 0:
                worst = max(worst, dx * dy / min(wide_a * a.height, wide_b * b.height))
    return worst


def lay_out(plan: ScenePlan, aspects: dict[str, float], rng: np.random.Generator) -> list[Placement]:
    """Place the objects of a plan, ordered far to near, and keep the least crowded of up to eight layouts.

    ``aspects`` maps each class to the width of its drawing divided by its height.
    """
    best, least = [], np.inf
    for _ in range(8):
        tried = _try_layout(plan, aspects, rng)
        crowding = _crowding(tried, aspects)
        if crowding < least:
            best, least = tried, crowding
        if least <= 0.3:
            break
    feet = {placement.name: placement.y for placement in best}

    def depth(placement: Placement) -> float:
        # An object on a support is drawn right after it, whatever its own feet position.
        under = [feet[base] for top, base in SUPPORTS if top == placement.name and base in feet]
        return max([placement.y, *(y + 0.5 for y in under)])

    return sorted(best, key=depth)
