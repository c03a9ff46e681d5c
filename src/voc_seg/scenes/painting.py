"""Renders a scene plan as an image and a mask: backdrop, objects from far to near, light, void borders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from voc_seg.scenes import backdrops, backdrops_indoor
from voc_seg.scenes import drawings_animals as animals
from voc_seg.scenes import drawings_indoor as indoor
from voc_seg.scenes import drawings_people as people
from voc_seg.scenes import drawings_pets as pets
from voc_seg.scenes import drawings_transport as transport
from voc_seg.scenes import drawings_vehicles as vehicles
from voc_seg.voc.classes import CLASS_NAMES, VOID

from .pen import Pen
from .plan import THEMES, Placement, ScenePlan, lay_out

Drawing = Callable[[Pen, np.random.Generator], None]

DRAWINGS: dict[str, tuple[Drawing, float]] = {
    "aeroplane": (transport.draw_aeroplane, 2.5),
    "bicycle": (vehicles.draw_bicycle, 1.62),
    "bird": (pets.draw_bird, 1.35),
    "boat": (transport.draw_boat, 1.15),
    "bottle": (indoor.draw_bottle, 0.4),
    "bus": (vehicles.draw_bus, 2.1),
    "car": (vehicles.draw_car, 2.2),
    "cat": (pets.draw_cat, 0.95),
    "chair": (indoor.draw_chair, 0.72),
    "cow": (animals.draw_cow, 1.45),
    "diningtable": (indoor.draw_diningtable, 1.9),
    "dog": (pets.draw_dog, 1.25),
    "horse": (animals.draw_horse, 1.3),
    "motorbike": (vehicles.draw_motorbike, 1.7),
    "person": (people.draw_person, 0.5),
    "pottedplant": (indoor.draw_pottedplant, 0.85),
    "sheep": (animals.draw_sheep, 1.25),
    "sofa": (indoor.draw_sofa, 2.1),
    "train": (transport.draw_train, 2.9),
    "tvmonitor": (indoor.draw_tvmonitor, 1.45),
}
"""Drawing function of every class, and the width of its box for a height of 1."""

BACKDROPS: dict[str, Callable[[Pen, np.random.Generator, float], None]] = {
    "street": backdrops.street,
    "meadow": backdrops.meadow,
    "farm": backdrops.farm,
    "rails": backdrops.rails,
    "lake": backdrops.lake,
    "air": backdrops.air,
    "airfield": backdrops.airfield,
    "room": backdrops_indoor.room,
    "desk": backdrops_indoor.desk,
}

_OVERSAMPLING = 2
_MARGIN = 0.1


def _grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return noise of unit variance, ``float32 (height, width)``; a repeated tile saves time."""
    tile = rng.standard_normal((96, 96), dtype=np.float32)
    return np.tile(tile, (height // 96 + 1, width // 96 + 1))[:height, :width]


def _planes(image: Image.Image) -> np.ndarray:
    """Return an RGB image as ``float32 (3, H, W)`` in 0..255; channels first is faster in NumPy."""
    return np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")


def _draw_backdrop(plan: ScenePlan, rng: np.random.Generator) -> np.ndarray:
    """Draw the background of a scene, ``float32 (3, H, W)`` in 0..255."""
    width, height = plan.size
    scale = _OVERSAMPLING * height
    pen = Pen((_OVERSAMPLING * width, scale), np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]))
    BACKDROPS[THEMES[plan.theme].backdrop](pen, rng, width / height)
    return _planes(pen.colour.reduce(_OVERSAMPLING))


def _draw_object(placement: Placement, rng: np.random.Generator, sun: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Draw an object on its own layer: colour ``float32 (3, h, w)``, coverage ``(h, w)`` in 0..1, left, top.

    ``sun`` is 1 for light from the upper left, -1 for light from the upper right.
    """
    draw, aspect = DRAWINGS[placement.name]
    wide, high = (aspect + 2 * _MARGIN) * placement.height, (1 + 2 * _MARGIN) * placement.height
    size = (_OVERSAMPLING * int(np.ceil(wide)), _OVERSAMPLING * int(np.ceil(high)))
    scale = _OVERSAMPLING * placement.height
    cos, sin = np.cos(placement.turn), np.sin(placement.turn)
    spin = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-scale if placement.mirrored else scale, scale])
    middle = np.array([size[0] / 2, _OVERSAMPLING * high / 2])
    pen = Pen(size, np.column_stack([spin, middle - spin @ (aspect / 2, 0.5)]))
    draw(pen, rng)
    cover = pen.cover.reduce(_OVERSAMPLING)
    colour = _planes(pen.colour.reduce(_OVERSAMPLING))
    # Relief: blurred coverage rises from the edge inwards; its slope along the light separates lit from shaded.
    depth = max(3, int(placement.height * 0.06))
    soft = cover.filter(ImageFilter.BoxBlur(depth))
    lit, unlit = (ImageChops.offset(soft, -sign * sun * depth, -sign * depth) for sign in (1, -1))
    relief = np.asarray(ImageChops.subtract(lit, unlit, scale=2, offset=128), dtype=np.float32)
    fall = np.linspace(1.06, 0.92, colour.shape[1], dtype=np.float32)[:, None]
    light = relief * (0.4 / 255)
    light += 0.8
    light *= fall
    light += 0.025 * _grain(rng, *light.shape)
    colour *= light
    alpha = np.asarray(cover, dtype=np.float32) / 255
    left, top = round(placement.x - wide / 2), round(placement.y - (1 + _MARGIN) * placement.height)
    return colour, alpha, left, top


def _cast_shadow(canvas: np.ndarray, placement: Placement, strength: float) -> None:
    """Darken the canvas in place with a soft ellipse below the object's feet."""
    half, low = placement.height * DRAWINGS[placement.name][1] * 0.5, max(5.0, placement.height * 0.06)
    x0, x1 = max(0, int(placement.x - 1.2 * half)), min(canvas.shape[2], int(placement.x + 1.2 * half) + 1)
    y0, y1 = max(0, int(placement.y - 2 * low)), min(canvas.shape[1], int(placement.y + 1.5 * low) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    dx = (np.arange(x0, x1, dtype=np.float32) - placement.x) / (1.05 * half)
    dy = (np.arange(y0, y1, dtype=np.float32) - (placement.y - 0.2 * low)) / low
    near = np.clip(1.3 - dx[None, :] ** 2 - dy[:, None] ** 2, 0, 1)
    canvas[:, y0:y1, x0:x1] *= 1 - strength * near


def _draw_cabinet(canvas: np.ndarray, instances: np.ndarray, placement: Placement, rng: np.random.Generator) -> None:
    """Draw a low cabinet below an object, in place on canvas and instance numbers."""
    half = placement.height * DRAWINGS[placement.name][1] * 0.6
    high = int(canvas.shape[1] * 0.17)
    x0, x1 = max(0, int(placement.x - half)), min(canvas.shape[2], int(placement.x + half))
    y0, y1 = int(placement.y) - 3, min(canvas.shape[1], int(placement.y) + high)
    pen = Pen((x1 - x0, y1 - y0), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    backdrops_indoor.cabinet(pen, rng, x1 - x0, y1 - y0)
    canvas[:, y0:y1, x0:x1] = _planes(pen.colour)
    instances[y0:y1, x0:x1] = 0


def _window_extreme(numbers: np.ndarray, radius: int, extreme: np.ufunc) -> np.ndarray:
    """Return the maximum or minimum over a square window of ``2 * radius + 1`` pixels; same shape."""
    for axis in (0, 1):
        padding = [(radius, radius) if k == axis else (0, 0) for k in (0, 1)]
        padded = np.pad(numbers, padding, mode="edge")
        length = numbers.shape[axis]
        shifted = [padded[:, k : k + length] if axis else padded[k : k + length] for k in range(2 * radius + 1)]
        numbers = extreme.reduce(shifted)
    return numbers


def _label(instances: np.ndarray, labels: list[int]) -> np.ndarray:
    """Return the class mask of instance numbers (0 background, k the k-th object), with void borders.

    A border is two pixels wide inside objects and three outside, close to VOC's five.
    """
    inner = _window_extreme(instances, 2, np.maximum) != _window_extreme(instances, 2, np.minimum)
    outer = (instances == 0) & (_window_extreme(instances, 3, np.maximum) > 0)
    mask = np.asarray([0, *labels], dtype=np.uint8)[instances]
    mask[inner | outer] = VOID
    return mask


def draw_scene(plan: ScenePlan) -> tuple[np.ndarray, np.ndarray]:
    """Draw a plan: image ``uint8 (H, W, 3)`` RGB and mask ``uint8 (H, W)``, 0..20 or 255 (void)."""
    rng = np.random.default_rng(plan.key)
    canvas = _draw_backdrop(plan, rng)
    height, width = canvas.shape[1:]
    # Paper texture (coarse mottling, fine grain) keeps flat fills from being constant colours.
    coarse = rng.normal(0, 4, size=(9, 12)).astype(np.float32)
    paper = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    canvas += paper + 3 * _grain(rng, height, width)
    instances = np.zeros((height, width), dtype=np.uint8)
    sun = int(rng.choice([-1, 1]))
    flying = THEMES[plan.theme].flying
    aspects = {name: aspect for name, (_, aspect) in DRAWINGS.items()}
    placements = lay_out(plan, aspects, rng)
    for number, placement in enumerate(placements, start=1):
        if placement.name not in flying:
            _cast_shadow(canvas, placement, 0.4)
        if placement.name == "tvmonitor" and plan.theme == "living_room":
            # The cabinet below a television is background.
            _draw_cabinet(canvas, instances, placement, rng)
        colour, alpha, left, top = _draw_object(placement, rng, sun)
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(width, left + alpha.shape[1]), min(height, top + alpha.shape[0])
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        paint = colour[(slice(None), *part)]
        paint -= canvas[:, y0:y1, x0:x1]
        paint *= alpha[part]
        canvas[:, y0:y1, x0:x1] += paint
        instances[y0:y1, x0:x1][alpha[part] > 0.5] = number
    light = rng.uniform(0.88, 1.08) * rng.uniform(0.95, 1.05, size=3)
    canvas *= light.astype(np.float32)[:, None, None]
    image = np.clip(canvas, 0, 255, out=canvas).transpose(1, 2, 0).astype(np.uint8, order="C")
    return image, _label(instances, [CLASS_NAMES.index(placement.name) for placement in placements])
