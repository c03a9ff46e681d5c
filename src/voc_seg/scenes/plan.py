"""What the drawn scenes show: themes, a schedule that balances the classes, and the layout of one picture."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Theme:
    """A kind of scene: its backdrop, the classes that belong in it and where on the picture they stand.

    ``ground`` is the band (far, near) of heights of the feet, ``fixed`` gives single classes another band;
    both count in picture heights from the top. Classes in ``flying`` have their middle in the band.
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
"""Height of each drawing in parts of the square root of the picture's area, before depth and crowding."""

LEVEL: frozenset[str] = frozenset({"bottle", "diningtable", "sofa", "train", "tvmonitor", "pottedplant", "chair"})
"""Classes that stand level; all others are turned a little, flying ones more."""

SUPPORTS: dict[tuple[str, str], float] = {("bottle", "diningtable"): 0.27, ("cat", "sofa"): 0.67}
"""Who stands on whom: the feet come to this height of the support's box (0 its top, 1 its feet)."""

SIZES: tuple[tuple[int, int], ...] = ((500, 375), (500, 375), (500, 375), (500, 333), (500, 400), (375, 500))
"""Picture sizes (width, height) in pixels as found in VOC, repeated by how common they are."""


@dataclass(frozen=True)
class ScenePlan:
    """One picture to draw: its id, the key of its random numbers, theme, size (width, height) and objects."""

    image_id: str
    key: tuple[int, ...]
    theme: str
    size: tuple[int, int]
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where one object stands: centre ``x`` and feet ``y`` in pixels, its ``height`` in pixels, its pose."""

    name: str
    x: float
    y: float
    height: float
    mirrored: bool
    turn: float


def plan_split(split: str, count: int, seed: int = 0) -> list[ScenePlan]:
    """The ``count`` pictures of a split.

    Every picture is built around the class seen least so far, so that no class depends on luck: with 20
    classes and two to five objects a picture their numbers stay within a few of one another.
    """
    number = zlib.crc32(split.encode())
    rng = np.random.default_rng([seed, number])
    seen: Counter[str] = Counter(dict.fromkeys(NOMINAL_HEIGHT, 0))
    staged: Counter[str] = Counter()
    plans = []
    for index in range(1, count + 1):
        luck = {name: rng.random() for name in seen}
        rarest = min(seen, key=lambda name: seen[name] + luck[name])
        themes = [name for name, theme in THEMES.items() if rarest in theme.classes]
        theme = min(themes, key=lambda name: staged[name] + 2 * rng.random())
        staged[theme] += 1
        size = SIZES[rng.integers(len(SIZES))]
        wanted = int(rng.choice([2, 3, 4, 5], p=[0.06, 0.36, 0.36, 0.22]))
        objects = [rarest]
        if size[0] < size[1]:
            wanted = min(wanted, 3)
        while len(objects) < min(wanted, len(THEMES[theme].classes)):
            # A class may come twice, the bulky ones only once: they would hide one another.
            bulky = ("bus", "train", "diningtable", "sofa")
            pool = [n for n in THEMES[theme].classes if objects.count(n) < (1 if n in bulky else 2)]
            objects.append(min(pool, key=lambda n: seen[n] + 1.5 * luck[n] + 4 * objects.count(n)))
        seen.update(objects)
        plans.append(ScenePlan(f"scene_{split}_{index:04d}", (seed, number, index), theme, size, tuple(objects)))
    return plans


def _attempt(plan: ScenePlan, aspects: dict[str, float], rng: np.random.Generator) -> list[Placement]:
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
        sway = 0.0 if name in LEVEL else 0.12 if name in theme.flying else 0.025
        placement = Placement(name, x, y, tall, bool(rng.random() < 0.5), float(rng.normal(0, 1) * sway))
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
    """Largest share of any object's box that another object's box covers."""
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
    """Places for the objects of a plan, far to near; the first of some tries in which nobody is hidden.

    ``aspects`` gives width over height of every class's drawing.
    """
    best, least = [], np.inf
    for _ in range(8):
        tried = _attempt(plan, aspects, rng)
        crowding = _crowding(tried, aspects)
        if crowding < least:
            best, least = tried, crowding
        if least <= 0.3:
            break
    feet = {placement.name: placement.y for placement in best}

    def depth(placement: Placement) -> float:
        # Things on a support come directly after it, wherever their own feet are.
        under = [feet[base] for top, base in SUPPORTS if top == placement.name and base in feet]
        return max([placement.y, *(y + 0.5 for y in under)])

    return sorted(best, key=depth)
