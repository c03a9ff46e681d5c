"""Image and mask files: read so that every way in which one can be bad has its own words; and masks as pictures."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from voc_seg.errors import VocSegError

from .classes import VOC_CLASSES, VOID, Classes

T = TypeVar("T")

_NAMED = 5
"""Colours that a message lists."""


@dataclass(frozen=True)
class Mask:
    """A mask as class indices.

    | field   | type  | shape  | meaning                                                         |
    |---------|-------|--------|-----------------------------------------------------------------|
    | indices | uint8 | (H, W) | class index, 255 for void; not checked against the classes      |
    | mode    | str   |        | how the file stores it, in Pillow's words: P, L, RGB, RGBA      |
    | note    | str   |        | empty, or how the indices were derived from colours             |
    """

    indices: np.ndarray
    mode: str
    note: str = ""


def decode_image(path: Path) -> np.ndarray:
    """Read an image.

    Returns:
        ``uint8 (H, W, 3)`` RGB, whatever mode the file has. An EXIF orientation is not applied: masks are drawn
        over the stored pixels.

    Raises:
        VocSegError: The file is missing, empty, no image, or cannot be decoded to its end.
    """
    return _open(path, "image", lambda image: np.asarray(image.convert("RGB")))


def decode_mask(path: Path, classes: Classes = VOC_CLASSES) -> Mask:
    """Read a mask.

    Indices are taken as stored, with two exceptions, both noted: masks saved as RGB, and masks whose palette an
    image program has put into another order, so that their indices mean something else. There the colours tell
    the class. (A palette of any other colours plays no part.)

    Args:
        path: PNG file.
        classes: Their colours; void has that of VOC.

    Raises:
        VocSegError: The file is missing, empty, no image, cannot be decoded to its end, has a mode that cannot
            hold indices, or colours that no class has.
    """
    return _open(path, "mask", lambda image: _as_indices(image, classes))


def palette_image(mask: np.ndarray, classes: Classes = VOC_CLASSES) -> Image.Image:
    """The mask as a picture that holds class indices and shows their colours: what the VOC server takes.

    Args:
        mask: ``uint8 (H, W)``, class index or 255 for void.
        classes: Names and colours by mask value.

    Returns:
        Mode P, of the mask's size.
    """
    picture = Image.fromarray(mask)
    picture.putpalette(classes.palette().tobytes())
    return picture


def turned(path: Path) -> bool:
    """Whether viewers turn this image by a quarter, as its EXIF orientation says; False when it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    except (OSError, SyntaxError, ValueError):
        return False


def _open(path: Path, kind: str, read: Callable[[Image.Image], T]) -> T:
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError:
        lost = "dangling link instead of" if path.is_symlink() else "missing"
        raise VocSegError(f"{lost} {kind}: {name}") from None
    except IsADirectoryError:
        raise VocSegError(f"folder instead of {kind}: {name}") from None
    except PermissionError:
        raise VocSegError(f"no permission to read {kind}: {name}") from None
    except UnidentifiedImageError:
        if not path.stat().st_size:
            raise VocSegError(f"empty {kind}: {name} (0 bytes)") from None
        raise VocSegError(f"unreadable {kind}: {name} (no known image format)") from None
    except Image.DecompressionBombError as error:
        raise VocSegError(f"oversized {kind}: {name} ({error})") from None
    # Pillow reports broken files with all of these.
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise VocSegError(f"{'truncated' if cut else 'damaged'} {kind}: {name} ({error})") from error


def _as_indices(image: Image.Image, classes: Classes) -> Mask:
    name = os.fspath(Path(image.filename).name)
    if image.mode == "L":
        return Mask(np.asarray(image), "L")
    if image.mode == "P":
        return _from_palette(image, classes)
    if image.mode == "RGBA" and image.getextrema()[3][0] < 255:
        raise VocSegError(f"mask with transparency: {name} is RGBA and not opaque; save it with a palette (P)")
    if image.mode in ("RGB", "RGBA"):
        return Mask(_from_colours(np.asarray(image.convert("RGB")), name, classes), image.mode, "read by RGB colours")
    raise VocSegError(f"mask mode: {name} is {image.mode}, not palette (P), 8-bit grey (L) or RGB in class colours")


def _from_palette(image: Image.Image, classes: Classes) -> Mask:
    indices = np.asarray(image)
    stored = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if used[-1] >= len(stored):
        return Mask(indices, "P")
    meant = _class_of(stored[used], classes)
    # Colours are trusted before indices only where they name a class for every index, and a different one. A lone
    # black index may come from a palette that is black all over.
    lone_black = used.size == 1 and not stored[used].any()
    if (meant < 0).any() or np.unique(meant).size < used.size or lone_black or (meant == used).all():
        return Mask(indices, "P")
    table = np.zeros(256, np.uint8)
    table[used] = meant
    return Mask(table[indices], "P", "read by palette colours: the palette is in another order")


def _from_colours(pixels: np.ndarray, name: str, classes: Classes) -> np.ndarray:
    colours, inverse = _unique_colours(pixels)
    meant = _class_of(colours, classes)
    unknown = colours[meant < 0]
    if len(unknown):
        listed = ", ".join(str(tuple(colour)) for colour in unknown[:_NAMED].tolist())
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        grey = (colours == colours[:, :1]).all()
        hint = "; it looks like indices saved as RGB: save it with a single channel" if grey else ""
        raise VocSegError(f"mask colours: {name} is RGB and has {listed}{more}, which no class has{hint}")
    return meant.astype(np.uint8)[inverse]


def _unique_colours(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct colours ``uint8 (K, 3)`` and which of them each pixel has, ``(H, W)``."""
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    codes, inverse = np.unique((red << 16 | green << 8 | blue).ravel(), return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)
    return colours, inverse.reshape(pixels.shape[:2])


def _class_of(colours: np.ndarray, classes: Classes) -> np.ndarray:
    """Mask value of each colour ``uint8 (K, 3)``, -1 where no class has it: ``int (K,)``."""
    values = [*range(len(classes)), VOID]
    known = classes.palette()[values]  # (classes + void, 3)
    same = (colours[:, None] == known[None]).all(-1)  # (K, classes + void)
    return np.where(same.any(1), np.array(values)[same.argmax(1)], -1)
