"""An image and its mask, read together: same orientation, same size, reduced if requested."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from voc_seg.system.errors import VocSegError

from .classes import VOC_CLASSES, Classes
from .decode_memory import hold_decode_memory
from .file_checks import short_name
from .images import UPRIGHT, dark_note, decode_dataset_image, orientation
from .masks import Mask, decode_mask
from .pixel_format import RGB, PixelFormat, map_bands


@dataclass(frozen=True)
class Reading:
    """How image and mask files become samples; the fields are those of ``data`` in the parameters."""

    classes: Classes = VOC_CLASSES  # names, colours and stored values of the masks
    exif: Literal["refuse", "apply", "ignore"] = "refuse"  # how to handle images with an EXIF orientation
    longer_side: int | None = None  # maximum longer side in pixels; larger images are reduced; None keeps every size
    pixels: PixelFormat = RGB  # channels, and the range of values of more than 8 bits

    @property
    def settings(self) -> str:
        """Return the settings that affect pixels and labels, apart from the class names, as users write them."""
        meanings = [*self.classes.values, *self.classes.mask_colours]
        values = ", ".join(f"{stored}: {meaning}" for stored, meaning in meanings)
        sizes = f"data.exif={self.exif}, data.longer_side={self.longer_side}"
        return f"data.values={{{values}}}, {sizes}{self.pixels.settings}"


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    image: np.ndarray  # ``uint8 (H, W, C)``
    mask: Mask  # its indices are ``uint8 (H, W)``, the size of the image
    notes: tuple[str, ...]  # conversions on reading, as text; may be empty


def read_pair(image_path: Path, mask_path: Path, reading: Reading = Reading()) -> Pair:
    """Read an image and its mask. Raises VocSegError if a file cannot be read, or as for `align_pair`."""
    with hold_decode_memory():
        image, mask = decode_dataset_image(image_path, reading.pixels), decode_mask(mask_path, reading.classes)
        return align_pair(image, mask, image_path, mask_path, reading)


def align_pair(image: np.ndarray, mask: Mask, image_path: Path, mask_path: Path, reading: Reading) -> Pair:
    """Rotate an image as stored, ``uint8 (H, W, C)``, to match its mask as stored, and reduce both if requested.

    Raises VocSegError if the sizes differ, or the mask fits the image both upright and as stored (EXIF).
    """
    notes = [note for note in (mask.note, dark_note(image, image_path, reading.pixels)) if note]
    turn = orientation(image_path)
    if turn != 1:
        if _drawn_upright(image, mask.indices, turn, reading.exif, f"{short_name(image_path)} has {turn}"):
            image = map_bands(image, lambda band: band.transpose(UPRIGHT[turn]))
            notes.append(f"image turned upright by its EXIF orientation {turn}")
        else:
            notes.append(f"EXIF orientation {turn} not applied")
    if mask.indices.shape != image.shape[:2]:
        sizes = (
            f"{short_name(image_path)} is {image.shape[1]}x{image.shape[0]}, "
            f"{short_name(mask_path)} {mask.indices.shape[1]}x{mask.indices.shape[0]} (width x height)"
        )
        if mask.indices.shape == image.shape[1::-1]:
            by_exif = f" The EXIF orientation {turn} was handled as data.exif={reading.exif}." if turn != 1 else ""
            raise VocSegError(f"turned: {sizes}: one of them is rotated by 90 degrees.{by_exif}")
        raise VocSegError(f"size mismatch: {sizes}")
    if reading.longer_side and max(image.shape) > reading.longer_side:
        image, mask = _reduced(image, mask, reading.longer_side)
        notes.append(f"reduced to a longer side of {reading.longer_side} pixels (data.longer_side)")
    return Pair(image, mask, tuple(notes))


def _drawn_upright(image: np.ndarray, mask: np.ndarray, turn: int, exif: str, what: str) -> bool:
    """Return whether a mask was drawn on the upright image (EXIF applied); labelling tools differ.

    Raises VocSegError if ``exif`` is refuse and the mask fits both ways.
    """
    if exif != "refuse":
        return exif == "apply"
    stored = image.shape[:2]
    upright = stored[::-1] if turn >= 5 else stored
    if mask.shape == stored == upright:
        raise VocSegError(
            f"EXIF orientation: {what}, and its mask fits the image upright and as stored. Labelling tools show images "
            "upright: if yours did, set data.exif=apply; if masks were drawn on the pixels as stored, data.exif=ignore"
        )
    return mask.shape == upright


def _reduced(image: np.ndarray, mask: Mask, longer_side: int) -> tuple[np.ndarray, Mask]:
    """Reduce both to this longer side in pixels: the image by averaging, the mask by nearest neighbour."""
    height, width = mask.indices.shape
    factor = longer_side / max(height, width)
    rows, columns = (max(1, round(length * factor)) for length in (height, width))
    smaller = map_bands(image, lambda band: band.resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=3.0))
    picked = mask.indices.take(nearest_indices(height, rows), 0).take(nearest_indices(width, columns), 1)
    return smaller, Mask(picked, mask.mode, mask.note, mask.palette)


def nearest_indices(length: int, size: int) -> np.ndarray:
    """Return the indices of ``size`` samples out of ``length`` values, as torch's ``nearest-exact``."""
    positions = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * (np.float32(length) / np.float32(size))
    return np.minimum(positions.astype(np.intp), length - 1)
