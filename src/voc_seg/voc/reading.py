"""Image files: read so that every way in which one can be bad has its own words; and masks as images."""

import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable

from .classes import VOC_CLASSES, Classes

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
"""What images and masks of a data set may be. Pillow knows more, some of which start other programs (EPS: gs)."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the small text begins that stands in for a file that Git LFS has not fetched."""
_OTHER_FORMATS = {
    b"GIF8": "a GIF",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"<": "HTML, XML or SVG text",
    b"{": "JSON text",
}
"""Formats that users often try, by their first bytes."""
_ZEROS = 16
"""As many at the end of a JPEG look like a file that was never filled."""


_Turn = Image.Transpose
UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
"""By EXIF orientation (EXIF 2.32, tag 0x0112), as in Pillow's ``ImageOps.exif_transpose``, which fails on odd tags."""
_AS_STORED = UPRIGHT | {6: _Turn.ROTATE_90, 8: _Turn.ROTATE_270}
"""What undoes each of them."""

_BYTES_A_PIXEL = 10
"""While a file is decoded: four of Pillow's, three or four of its conversion, three of NumPy's."""
_KEPT = 4
"""Bytes a pixel of an image and a mask that have been decoded."""
_MOST_BYTES = 2**30
_in_use = 0
_changed = threading.Condition()
_of_thread = threading.local()
_allowing = 0
_filtering = threading.Lock()
_filters = ExitStack()


def short_name(path: Path) -> str:
    """A file's folder and name for messages, on one line and without control characters."""
    return printable(f"{path.parent.name}/{path.name}")


def decode_dataset_image(path: Path) -> np.ndarray:
    """Read an image.

    Returns:
        ``uint8 (H, W, 3)`` RGB, whatever 8-bit mode the file has; transparent pixels show white. An EXIF orientation is
        not applied; see `orientation`. JPEG has no checksum: damage in its middle that still decodes is not noticed.

    Raises:
        VocSegError: The file is missing, empty, none of `FORMATS`, grey of more than 8 bits, has too many pixels, or
            cannot be decoded to its end.
    """
    return read_image_file(path, "image", _as_rgb)


def orientation(path: Path) -> int:
    """The EXIF orientation of an image: 1 is as stored, 5 to 8 are turned by a quarter; 1 where there is none."""
    try:
        require_file(path)
        with Image.open(path, formats=FORMATS) as image:
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
    """The mask as an image that holds class indices and shows their colours: what the VOC server takes.

    Args:
        mask: ``uint8 (H, W)``, class index or 255 for void.
        classes: Names and colours by mask value.

    Returns:
        Mode P, of the mask's size.
    """
    picture = Image.fromarray(mask)
    picture.putpalette(classes.palette().tobytes())
    return picture


def read_image_file(path: Path, kind: str, read: Callable[[Image.Image], T], formats: tuple[str, ...] = FORMATS) -> T:
    """Open an image file, have it read, and give every way in which it can be bad its own words.

    Args:
        path: The file.
        kind: What messages call it.
        read: Makes of the open image what is wanted.
        formats: Those that Pillow may try.

    Raises:
        VocSegError: It is missing, empty, not a regular file, none of the formats, cannot be decoded to its end, or
            declares more pixels than Pillow takes for harmless (179 million, twice ``Image.MAX_IMAGE_PIXELS``), which
            is noticed before anything is decoded.
    """
    name = short_name(path)
    try:
        require_file(path)
        with Image.open(path, formats=formats) as image, _decoding(image.width * image.height):
            _require_bits(image, name)
            found, checked = read(image), image.format == "PNG"
        if checked:
            # Pillow decodes pixels without looking at their checksum: a flipped bit would pass for other labels.
            with Image.open(path, formats=("PNG",)) as image:
                image.verify()
        return found
    except FileNotFoundError:
        raise VocSegError(_lost(path, kind)) from None
    except IsADirectoryError:
        raise VocSegError(f"folder instead of {kind}: {name}") from None
    except PermissionError:
        raise VocSegError(f"no permission to read {kind}: {name}") from None
    except UnidentifiedImageError:
        if not path.stat().st_size:
            raise VocSegError(f"empty {kind}: {name} (0 bytes)") from None
        raise VocSegError(_unidentified(path, kind, formats)) from None
    except Image.DecompressionBombError as error:
        raise VocSegError(f"oversized {kind}: {name} ({error})") from None
    except VocSegError:
        raise
    # Pillow's many decoders report broken files with exceptions of many kinds.
    except Exception as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise VocSegError(f"{'truncated' if cut else 'damaged'} {kind}: {name} ({error})") from error


def _require_bits(image: Image.Image, name: str) -> None:
    """Refuse a BMP of which Pillow takes the bits wrong: by the greys of its palette, not by what the header says."""
    if image.format != "BMP" or image.mode not in ("1", "L"):
        return
    with Path(image.filename).open("rb") as file:
        head = file.read(30)
    place = 24 if head[14:18] == b"\x0c\0\0\0" else 28  # the older header is shorter
    bits = int.from_bytes(head[place : place + 2], "little")
    if bits != {"1": 1, "L": 8}[image.mode]:
        raise VocSegError(f"BMP of {bits} bits with a palette of greys: {name}, which cannot be read; save it as PNG")


def _lost(path: Path, kind: str) -> str:
    if not path.is_symlink():
        return f"missing {kind}: {short_name(path)}"
    target = printable(os.readlink(path))  # noqa: PTH115 - as it is written in the link
    fetch = "fetch it with: git annex get" if ".git/annex/" in target else "which is not there"
    return f"dangling link instead of {kind}: {short_name(path)} (to {target}, {fetch})"


def _unidentified(path: Path, kind: str, formats: Sequence[str]) -> str:
    name = short_name(path)
    with path.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        return f"Git LFS pointer instead of {kind}: {name}; fetch the files with: git lfs pull"
    found = next((what for start, what in _OTHER_FORMATS.items() if head.startswith(start)), "")
    if head[4:8] == b"ftyp":
        found = "a HEIC or AVIF image, or a video"
    readable = f"{', '.join(formats[:-1])} or {formats[-1]}"
    return f"unreadable {kind}: {name} ({f'{found}, ' if found else ''}not {readable})"


@contextmanager
def allow_large_images() -> Iterator[None]:
    """Silence Pillow's warning about images of half the size that it refuses; cameras make such images.

    Warning filters belong to the whole process: the first thread that enters sets one, and the last removes it.
    """
    global _allowing
    with _filtering:
        if not _allowing:
            _filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        _allowing += 1
    try:
        yield
    finally:
        with _filtering:
            _allowing -= 1
            if not _allowing:
                _filters.close()


@contextmanager
def hold_decode_memory() -> Iterator[None]:
    """Count everything this thread decodes as in use until the end: an image is kept while its mask is decoded."""
    _of_thread.held = 0
    try:
        yield
    finally:
        _release(_of_thread.held)
        del _of_thread.held


@contextmanager
def _decoding(pixels: int) -> Iterator[None]:
    """Wait until so many pixels more may be decoded by all threads; those of one thread alone always may."""
    held = getattr(_of_thread, "held", None)
    if held is None:
        size = pixels * _BYTES_A_PIXEL
        _take(size)
        try:
            yield
        finally:
            _release(size)
        return
    more = max(0, pixels * (_BYTES_A_PIXEL + _KEPT) - held)
    _take(more, wait=not held)  # who holds some does not wait: two such would wait for each other
    _of_thread.held += more
    yield


def _take(size: int, wait: bool = True) -> None:
    global _in_use
    with _changed:
        if wait:
            _changed.wait_for(lambda: not _in_use or _in_use + size <= _MOST_BYTES)
        _in_use += size


def _release(size: int) -> None:
    global _in_use
    with _changed:
        _in_use -= size
        _changed.notify_all()


def require_file(path: Path) -> None:
    """Refuse what is not a regular file: reading a pipe, socket or device may never end.

    Raises:
        OSError: There is nothing, or nothing that can be looked at.
        VocSegError: It is something else.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder the system says so by itself
        raise VocSegError(f"not a regular file: {short_name(path)} is a pipe, a socket or a device")


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        name = short_name(Path(image.filename))
        raise VocSegError(f"image mode: {name} is {image.mode}, more than 8 bits a channel; save it with 8")
    reject_zero_filled_jpeg(image)
    turn = exif_orientation(image)  # before the pixels are loaded: Pillow turns those of a TIFF, and drops the tag
    pixels = flatten_on_white(image).convert("RGB")
    if image.format == "TIFF" and turn in _AS_STORED:
        pixels = pixels.transpose(_AS_STORED[turn])
    return np.asarray(pixels)


def flatten_on_white(image: Image.Image) -> Image.Image:
    """The image on a white background; the image itself where it is opaque.

    The colours stored under transparent pixels are arbitrary, mostly black.
    """
    if not image.has_transparency_data:
        return image
    layered = image if image.mode == "RGBA" else image.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered)


def reject_zero_filled_jpeg(image: Image.Image) -> None:
    """Refuse a JPEG that ends in zeros: a download that reserved its place on disk and broke off.

    The decoder makes grey of what is missing.

    Raises:
        EOFError: It does; :func:`read_image_file` calls such a file truncated.
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
