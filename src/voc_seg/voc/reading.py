"""Image and mask files: read so that every way in which one can be bad has its own words; and masks as pictures."""

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
_ZEROS = 16
"""As many at the end of a JPEG look like a file that was never filled."""


@dataclass(frozen=True)
class Mask:
    """A mask as class indices.

    | field   | type  | shape  | meaning                                                         |
    |---------|-------|--------|-----------------------------------------------------------------|
    | indices | uint8 | (H, W) | class index, 255 for void; not checked against the classes      |
    | mode    | str   |        | how the file stores it, in Pillow's words: P, L, RGB, RGBA      |
    | note    | str   |        | empty, or how the indices were had from colours                 |
    """

    indices: np.ndarray
    mode: str
    note: str = ""


def short_name(path: Path) -> str:
    """What messages call a file: its folder and its name."""
    return f"{path.parent.name}/{path.name}"


def decode_image(path: Path) -> np.ndarray:
    """Read an image.

    Returns:
        ``uint8 (H, W, 3)`` RGB, whatever 8-bit mode the file has. An EXIF orientation is not applied; see
        `orientation`. JPEG has no checksum: damage in its middle that still decodes is not noticed.

    Raises:
        VocSegError: The file is missing, empty, no image, grey of more than 8 bits, or cannot be decoded to its end.
    """
    return read_whole(path, "image", _as_rgb)


def decode_mask(path: Path, classes: Classes = VOC_CLASSES) -> Mask:
    """Read a mask.

    Indices are taken as stored; masks saved as RGB are read by the colours of the classes, and noted.

    Args:
        path: PNG file.
        classes: Their colours; void has that of VOC.

    Raises:
        VocSegError: The file is missing, empty, no image, cannot be decoded to its end, has a mode that cannot
            hold indices or colours that no class has, or shows one class by index and another by colour.
    """
    return read_whole(path, "mask", lambda image: _as_indices(image, classes))


def orientation(path: Path) -> int:
    """The EXIF orientation of an image: 1 is as stored, 5 to 8 are turned by a quarter; 1 where there is none."""
    try:
        with Image.open(path) as image:
            return exif_orientation(image)
    except Exception:  # a file that cannot be read is reported by who decodes it
        return 1


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 to 8; 1 where there is none or it makes no sense."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever bytes make of a reader of tags
        return 1
    # Cameras and programs write all sorts of things there: bytes, text, 0.
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


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


def read_whole(path: Path, kind: str, read: Callable[[Image.Image], T], formats: tuple[str, ...] | None = None) -> T:
    """Open a picture, have it read, and give every way in which it can be bad its own words.

    Args:
        path: The file.
        kind: What messages call it.
        read: Makes of the open picture what is wanted.
        formats: Those that Pillow may try; None takes all it knows.

    Raises:
        VocSegError: The file is missing, empty, no picture, too large, or cannot be decoded to its end.
    """
    name = short_name(path)
    try:
        with Image.open(path, formats=formats) as image:
            found, checked = read(image), image.format == "PNG"
        if checked:
            # Pillow decodes pixels without looking at their checksum: a flipped bit would pass for other labels.
            with Image.open(path, formats=("PNG",)) as image:
                image.verify()
        return found
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
        wanted = ", ".join(formats) if formats else "known image format"
        raise VocSegError(f"unreadable {kind}: {name} (no {wanted})") from None
    except Image.DecompressionBombError as error:
        raise VocSegError(f"oversized {kind}: {name} ({error})") from None
    except VocSegError:
        raise
    # Pillow's many decoders report broken files with exceptions of many kinds.
    except Exception as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise VocSegError(f"{'truncated' if cut else 'damaged'} {kind}: {name} ({error})") from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        name = short_name(Path(image.filename))
        raise VocSegError(f"image mode: {name} is {image.mode}, more than 8 bits a channel; save it with 8")
    require_end(image)
    return np.asarray(image.convert("RGB"))


def require_end(image: Image.Image) -> None:
    """Refuse a JPEG that ends in zeros: a download that reserved its place on disk and broke off.

    The decoder makes grey of what is missing.

    Raises:
        EOFError: It does; :func:`read_whole` calls such a file truncated.
    """
    if image.format == "JPEG" and _ends_in_zeros(Path(image.filename)):
        raise EOFError("it ends in zeros, without the mark of the end")


def _ends_in_zeros(path: Path) -> bool:
    """Whether zeros follow what is not the end of a JPEG. (Other bytes may follow the end: cameras add some.)"""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _ZEROS))
        if any(file.read()):
            return False
        file.seek(0)
        return not file.read().rstrip(b"\0").endswith(b"\xff\xd9")


def _as_indices(image: Image.Image, classes: Classes) -> Mask:
    name = short_name(Path(image.filename))
    if image.format == "JPEG":
        raise VocSegError(f"lossy mask: {name} is a JPEG, which changes labels; make the masks anew as PNG")
    if image.mode == "L":
        return Mask(_grey_indices(image), "L")
    if image.mode == "P":
        _refuse_other_colours(image, name, classes)
        return Mask(np.asarray(image), "P")
    if image.mode == "RGBA" and image.getextrema()[3][0] < 255:
        raise VocSegError(f"mask with transparency: {name} is RGBA and not opaque; save it with a palette (P)")
    if image.mode in ("RGB", "RGBA"):
        return Mask(
            _from_colours(np.asarray(image.convert("RGB")), name, classes), image.mode, "mask read by its RGB colours"
        )
    raise VocSegError(f"mask mode: {name} is {image.mode}, not palette (P), 8-bit grey (L) or RGB in class colours")


def _grey_indices(image: Image.Image) -> np.ndarray:
    """Grey values as stored: Pillow stretches those of 2 and 4 bits over 0..255."""
    step = {"L;2": 85, "L;4": 17}.get(image.tile[0].args if image.tile else None)
    return np.asarray(image) // np.uint8(step) if step else np.asarray(image)


def _refuse_other_colours(image: Image.Image, name: str, classes: Classes) -> None:
    """Refuse a palette that shows every index in the colour of a class, but not of its own.

    Programs that shrink PNGs number the values anew and keep their colours; reading such indices would give other
    classes without anyone noticing. Palettes of any other colours play no part.
    """
    used = np.flatnonzero(np.bincount(np.asarray(image).ravel(), minlength=256))
    stored = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    if not classes.coded or used[-1] >= len(stored):
        return
    shown = _class_of(stored[used], classes)
    # One index alone in black may come from a palette that is black all over.
    lone_black = used.size == 1 and not stored[used].any()
    if (shown < 0).any() or np.unique(shown).size < used.size or lone_black:
        return
    for index, other in zip(used.tolist(), shown.tolist()):
        if index != other:
            raise VocSegError(
                f"palette and indices disagree: {name} has index {index} in the colour of {other}; save it with the "
                "palette of the classes, or as RGB"
            )


def _from_colours(pixels: np.ndarray, name: str, classes: Classes) -> np.ndarray:
    colours, inverse = _unique_colours(pixels)
    if not classes.coded:
        raise VocSegError(f"mask without known colours: {name} is RGB; give every class in data.classes its colour")
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
