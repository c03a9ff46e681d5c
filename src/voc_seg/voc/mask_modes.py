"""Masks that are not 8-bit grey or palette images: 1 bit, more than 8 bits, with alpha, or three equal channels."""

import os
from pathlib import Path

import numpy as np
from PIL import ImageFile

from voc_seg.system.errors import VocSegError

BY_BITS = "mask of 1 bit a pixel read as the values 0 and 1"
BY_BLACK_AND_WHITE = "mask of 1 bit a pixel read as the values 0 and 255, as data.values has no 1"
BY_WIDE_VALUES = "mask of more than 8 bits a pixel read by its values, which are all below 256"
BY_GREY_OF_ALPHA = "mask read by its grey, without its alpha channel, which is opaque"
BY_EQUAL_CHANNELS = "mask read by the value that its three channels have in common"

_WIDE = ("I", "F")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")


def require_lossless(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse masks whose labels would be read wrongly: lossy compression, several pages, or 16 bits a channel.

    Pillow reads only the first page, and only 8 of the 16 bits of a colour channel.
    """
    if image.format in ("JPEG", "MPO"):
        raise VocSegError(f"lossy mask: {name} is a JPEG, which changes labels; save the masks as PNG")
    if image.info.get("compression") in _LOSSY_TIFF or (
        image.format == "WEBP" and _is_lossy_webp(Path(os.fsdecode(image.filename)))
    ):
        raise VocSegError(
            f"lossy mask: {name} is a {image.format} with lossy compression, which changes labels; save masks as PNG"
        )
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise VocSegError(f"several pages: {name} has {pages}, but a mask has one; save it as a PNG of class indices")
    if image.mode in ("RGB", "RGBA", "LA") and "16" in raw_mode(image):
        raise VocSegError(f"16 bits a channel: {name} is {image.mode}; save it with a single channel of 8 bits")


def require_opaque(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse a colour mask with transparent pixels: their colours are arbitrary."""
    if image.mode == "RGBA" and np.asarray(image.getchannel("A")).min() < 255:
        raise VocSegError(f"mask with transparency: {name} is RGBA and not opaque; save it with a palette (P)")


def _is_lossy_webp(path: Path) -> bool:
    """Return whether pixels are in a ``VP8`` chunk (https://developers.google.com/speed/webp/docs/riff_container)."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8 ", b"VP8L"):
                return head[:4] == b"VP8 "
            size = int.from_bytes(head[4:], "little")
            file.seek(size + size % 2, 1)
    return False


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Return how the file stores its pixels, as Pillow's raw mode (``L;4``); empty if unknown."""
    if not getattr(image, "tile", None):
        return ""
    arguments = image.tile[0].args
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def single_channel(image: ImageFile.ImageFile, name: str) -> tuple[np.ndarray, str] | None:
    """Return the values ``uint8 (H, W)`` of a mask with 1 bit, more than 8 bits or grey with alpha, and a note.

    None for every other mode. Raises VocSegError if a value does not fit into 8 bits or a pixel is not opaque.
    """
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8), BY_BITS
    if image.mode == "LA":
        if np.asarray(image.getchannel("A")).min() < 255:
            raise VocSegError(f"mask with transparency: {name} is LA and not opaque; save it as 8-bit grey (L)")
        return np.asarray(image.getchannel("L")), BY_GREY_OF_ALPHA
    if image.mode.startswith(_WIDE):
        stored = np.asarray(image)
        low, high = stored.min(), stored.max()
        if not (low >= 0 and high <= 255):
            raise VocSegError(
                f"mask values: {name} is {image.mode} (more than 8 bits a pixel) and has values from {low} to {high}; "
                "class indices are 0 to 254, and 255 is void. If these are instance numbers, save class indices"
            )
        values = stored.astype(np.uint8)
        if image.mode == "F" and (values != stored).any():
            raise VocSegError(f"mask values: {name} has fractions ({image.mode}); save one class index per pixel")
        return values, BY_WIDE_VALUES
    return None


def has_equal_channels(pixels: np.ndarray) -> bool:
    """Return whether all channels of pixels ``uint8 (..., 3)`` are equal."""
    return bool((pixels == pixels[..., :1]).all())
