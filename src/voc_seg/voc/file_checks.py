"""Checks of image and mask files: a missing, empty, damaged or foreign file is refused with its own message."""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageFile, UnidentifiedImageError

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable

from .decode_memory import decode_memory

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
"""Formats of images and masks. Pillow reads more, but for some it starts other programs (EPS: gs)."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""First bytes of the pointer file that replaces a file Git LFS has not fetched."""
_OTHER_FORMATS = {
    b"GIF8": "a GIF",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"<": "HTML, XML or SVG text",
    b"{": "JSON text",
}
"""Formats that users often try, by their first bytes."""


def short_name(path: Path) -> str:
    """Return a file's folder and name for messages: one line, no control characters."""
    return printable(f"{path.parent.name}/{path.name}" if path.parent.name else path.name or str(path))


def require_file(path: Path) -> None:
    """Refuse anything but a regular file: reading a pipe, socket or device may never end.

    Raises OSError if nothing is there or it cannot be accessed, else VocSegError.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder raises its own error
        raise VocSegError(f"not a regular file: {short_name(path)} is a pipe, a socket or a device")


def read_image_file(
    path: Path,
    kind: str,
    read: Callable[[ImageFile.ImageFile], T],
    formats: tuple[str, ...] = FORMATS,
    otherwise: Callable[[], T | None] = lambda: None,
) -> T:
    """Open an image file and pass it to ``read``.

    Args:
        path: The file.
        kind: Word for the file in messages: image or mask.
        read: Converts the open image.
        formats: Formats that Pillow may try.
        otherwise: Reads a file that Pillow does not identify; None if it does not either.

    Raises:
        VocSegError: The file is missing, empty, not a regular file, in none of the formats, or cannot be decoded to its
            end. Or it declares over 179 million pixels (twice ``Image.MAX_IMAGE_PIXELS``), checked before decoding.
    """
    name = short_name(path)
    try:
        require_file(path)
        with Image.open(path, formats=formats) as image, decode_memory(image.width * image.height):
            _reject_misread_bmp(image, name)
            found, checked = read(image), image.format == "PNG"
        if checked:
            # Pillow decodes pixels without verifying their checksum: a flipped bit would change labels unnoticed.
            with Image.open(path, formats=("PNG",)) as image:
                image.verify()
        return found
    except FileNotFoundError:
        raise VocSegError(_missing_message(path, kind)) from None
    except IsADirectoryError:
        raise VocSegError(f"folder instead of {kind}: {name}") from None
    except PermissionError:
        raise VocSegError(f"no permission to read {kind}: {name}") from None
    except UnidentifiedImageError:
        if not path.stat().st_size:
            raise VocSegError(f"empty {kind}: {name} (0 bytes)") from None
        if (other := otherwise()) is not None:
            return other
        raise VocSegError(_unidentified_message(path, kind, formats)) from None
    except Image.DecompressionBombError as error:
        raise VocSegError(f"oversized {kind}: {name} ({error})") from None
    except VocSegError:
        raise
    # Pillow's decoders raise many exception types on malformed files.
    except Exception as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise VocSegError(f"{'truncated' if cut else 'damaged'} {kind}: {name} ({error})") from error


def _reject_misread_bmp(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse a BMP whose bit depth Pillow gets wrong: it goes by the greys of the palette, not by the header."""
    if image.format != "BMP" or image.mode not in ("1", "L"):
        return
    with Path(os.fsdecode(image.filename)).open("rb") as file:
        head = file.read(30)
    offset = 24 if head[14:18] == b"\x0c\0\0\0" else 28  # the older header is shorter
    bits = int.from_bytes(head[offset : offset + 2], "little")
    if bits != {"1": 1, "L": 8}[image.mode]:
        raise VocSegError(f"BMP of {bits} bits with a grey palette: {name} cannot be read; save it as PNG")


def _missing_message(path: Path, kind: str) -> str:
    if not path.is_symlink():
        return f"missing {kind}: {short_name(path)}"
    target = printable(os.readlink(path))  # noqa: PTH115 - exactly as written in the link
    fetch = "fetch it with: git annex get" if ".git/annex/" in target else "which does not exist"
    return f"dangling link instead of {kind}: {short_name(path)} (to {target}, {fetch})"


def _unidentified_message(path: Path, kind: str, formats: Sequence[str]) -> str:
    name = short_name(path)
    with path.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        return f"Git LFS pointer instead of {kind}: {name}; fetch the files with: git lfs pull"
    found = next((text for start, text in _OTHER_FORMATS.items() if head.startswith(start)), "")
    if head[4:8] == b"ftyp":
        found = "a HEIC or AVIF image, or a video"
    readable = f"{', '.join(formats[:-1])} or {formats[-1]}"
    return f"unreadable {kind}: {name} ({f'{found}, ' if found else ''}not {readable})"
