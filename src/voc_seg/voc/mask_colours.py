"""Mask colours as class indices."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed

from .classes import VOID, Classes, voc_palette
from .mask_modes import has_equal_channels
from .mask_values import STRIP_PIXELS

_HIGHEST_INDEX = 64
"""Greys below this look like indices rather than colours."""


def classes_of_colours(colours: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the class index or 255 of each colour ``uint8 (K, 3)``, -1 if no class has it: ``int (K,)``."""
    return _classes_of_codes(pack_rgb(colours), classes)


def classes_of_greys(values: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the same as `classes_of_colours` for grey values ``(K,)``."""
    return classes_of_colours(np.repeat(values[:, None].astype(np.uint8), 3, axis=1), classes)


def map_colours(image: Image.Image, name: str, classes: Classes) -> np.ndarray:
    """Map the colours of an RGB mask to class indices, ``uint8 (H, W)``.

    Raises VocSegError if the classes have no declared colours, or a colour belongs to none of them.
    """
    if not classes.coded:
        raise VocSegError(
            f"mask without known colours: {name} is {image.mode}; give every class in data.classes its colour"
        )
    indices = np.empty((image.height, image.width), dtype=np.uint8)
    unknown, unknown_pixels = [], 0
    for rows, pixels in _strips(image):
        codes, inverse = np.unique(pack_rgb(pixels), return_inverse=True)
        found = _classes_of_codes(codes, classes)
        indices[rows] = found.astype(np.uint8)[inverse].reshape(pixels.shape[:2])
        if (found < 0).any():
            unknown.append(codes[found < 0])
            unknown_pixels += int((found < 0)[inverse].sum())
    if unknown:
        amount = f"{unknown_pixels} of {indices.size} pixels"
        raise VocSegError(_unknown_colours(np.unique(np.concatenate(unknown)), amount, name, image.mode))
    return indices


def map_declared_colours(image: Image.Image, name: str, classes: Classes) -> np.ndarray:
    """Map a mask to class indices ``uint8 (H, W)`` by the colours in ``data.values``; other modes are shown as RGB.

    Raises VocSegError if a colour has no meaning there.
    """
    codes = pack_rgb(np.array([colour for colour, _ in classes.mask_colours], np.uint8))
    order = np.argsort(codes)
    codes, meanings = codes[order], np.array([index for _, index in classes.mask_colours], np.uint8)[order]
    indices = np.empty((image.height, image.width), dtype=np.uint8)
    for rows, pixels in _strips(image):
        packed = pack_rgb(pixels)
        positions = np.searchsorted(codes, packed).clip(max=len(codes) - 1)
        if (unknown := codes[positions] != packed).any():
            first = int(packed[unknown][0])
            raise VocSegError(
                f"mask colours: {name} is {image.mode} and has #{first:06x} ({np.unique(packed[unknown]).size} colours "
                f"without a meaning); add it to data.values, for example as void"
            )
        indices[rows] = meanings[positions]
    return indices


def common_channel(image: Image.Image) -> np.ndarray | None:
    """Return the values ``uint8 (H, W)`` of an RGB image with three equal channels, else None."""
    values = np.empty((image.height, image.width), dtype=np.uint8)
    for rows, pixels in _strips(image):
        if not has_equal_channels(pixels):
            return None
        values[rows] = pixels[..., 0]
    return values


def _strips(image: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield RGB pixels ``uint8 (h, W, 3)``, a strip of rows at a time."""
    step = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        bottom = min(image.height, top + step)
        yield slice(top, bottom), np.asarray(image.crop((0, top, image.width, bottom)).convert("RGB"))


def pack_rgb(colours: np.ndarray) -> np.ndarray:
    """Pack each colour ``uint8 (..., 3)`` into one ``uint32 (...)``."""
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def unpack_rgb(code: int) -> tuple[int, int, int]:
    """Return the colour of a code of `pack_rgb`."""
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def _classes_of_codes(codes: np.ndarray, classes: Classes) -> np.ndarray:
    values = np.array([*range(len(classes)), VOID])
    known = pack_rgb(classes.palette()[values])
    order = np.argsort(known)
    positions = order[np.searchsorted(known[order], codes).clip(max=len(known) - 1)]
    return np.where(known[positions] == codes, values[positions], -1)


def _unknown_colours(codes: np.ndarray, amount: str, name: str, mode: str) -> str:
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    grey = (colours == colours[:, :1]).all() and colours.max() < _HIGHEST_INDEX
    void = tuple(voc_palette()[VOID].tolist())
    hint = (
        "these look like class indices saved as RGB, but some exceed the highest class index"
        if grey
        else f"add the colour to a class in data.classes, or paint void pixels {void}"
    )
    found = listed([tuple(colour) for colour in colours.tolist()])
    return f"mask colours: {name} is {mode} and has {found}, which no class has ({amount}); {hint}"
