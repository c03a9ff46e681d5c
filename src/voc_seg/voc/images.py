"""Images as arrays: `decode_image` applies the EXIF orientation, `decode_dataset_image` keeps stored pixels."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from voc_seg.system.errors import VocSegError

from .decode_memory import allow_large_images
from .file_checks import FORMATS, read_image_file, require_file, short_name
from .mask_modes import raw_mode
from .pixel_format import RGB, PixelFormat, map_bands, require_channels, to_8_bits
from .tiff import is_tiff, pillow_loses_bands, read_tiff, tiff_bits

_Transpose = Image.Transpose
UPRIGHT = {
    2: _Transpose.FLIP_LEFT_RIGHT,
    3: _Transpose.ROTATE_180,
    4: _Transpose.FLIP_TOP_BOTTOM,
    5: _Transpose.TRANSPOSE,
    6: _Transpose.ROTATE_270,
    7: _Transpose.TRANSVERSE,
    8: _Transpose.ROTATE_90,
}
"""By EXIF orientation (EXIF 2.32, tag 0x0112), as in Pillow's ``ImageOps.exif_transpose``, which fails on odd tags."""
_AS_STORED = UPRIGHT | {6: _Transpose.ROTATE_90, 8: _Transpose.ROTATE_270}
"""The inverse of each."""
_WIDE = ("I", "F")  # Pillow's modes of more than 8 bits
_COLOURS, _AS_BANDS = ("RGB", "RGBA", "LA"), ("L", "LA", "RGB", "RGBA")
_DARK = 2**14 // 257 + 1
"""8-bit value that only 16-bit values of at least 16384 reach, give or take the 256 of Pillow's high byte."""
_ZEROS = 16
"""A JPEG that ends in this many zeros may be an incomplete download."""


def decode_image(path: Path, pixels: PixelFormat = RGB) -> np.ndarray:
    """Read an image as people see it, ``uint8 (H, W, C)``, writable, with its EXIF orientation applied.

    With three channels, CMYK, grey and palette images become RGB, transparent pixels become white, and the first frame
    of an animation is used. With other numbers of channels bands are read as stored, and a palette counts as its
    colours. More than 8 bits are scaled as `to_8_bits` does; of 16-bit colours Pillow reads the high byte.

    Raises:
        VocSegError: As `read_image_file`, `to_8_bits` and `require_channels` do.
    """
    with allow_large_images():
        return _decode(path, pixels, upright=True)


def decode_opened(image: Image.Image, pixels: PixelFormat = RGB) -> np.ndarray:
    """Do the same as `decode_image` for an image of Pillow, which may be of a file or not.

    Raises:
        VocSegError: The image cannot be decoded to its end; or as `to_8_bits` and `require_channels` do.
    """
    name = "the image"
    try:
        with _unmapped(image):
            image.load()
        return _bands(image, pixels, name, upright=True) if pixels.channels != 3 else _upright_rgb(image, pixels, name)
    except VocSegError:
        raise
    except Exception as error:  # Pillow's decoders raise many exception types on malformed files
        raise VocSegError(f"damaged image: {error}") from error


@contextmanager
def _unmapped(image: Any) -> Iterator[None]:
    """Take the name from an open TIFF while it is decoded.

    With a name, Pillow 13 maps grey and RGBA into memory, in which a quarter turn mixes up the pixels.
    """
    name = getattr(image, "filename", "")
    image.filename = ""
    try:
        yield
    finally:
        image.filename = name


def decode_dataset_image(path: Path, pixels: PixelFormat = RGB) -> np.ndarray:
    """Read an image of a data set as stored, ``uint8 (H, W, C)``; see `orientation` for its EXIF orientation.

    Apart from that it equals `decode_image`. Damage to a JPEG that still decodes goes unnoticed, as JPEG has no
    checksum.
    """
    return _decode(path, pixels, upright=False)


def _decode(path: Path, pixels: PixelFormat, upright: bool) -> np.ndarray:
    def read(image: ImageFile.ImageFile) -> np.ndarray | None:
        name = short_name(path)
        _reject_zero_filled_jpeg(image)
        if image.format == "TIFF":
            if pillow_loses_bands(image, pixels, name):
                return None
            image.filename = ""  # see _unmapped
        if pixels.range and image.mode in _COLOURS and "16" in raw_mode(image):
            setting = "" if pixels.of_model else "with data.range, "
            raise VocSegError(f"16 bits a channel: of {name} only 8 can be read; {setting}save it as a TIFF")
        if pixels.channels != 3:
            return _bands(image, pixels, name, upright)
        return _upright_rgb(image, pixels, name) if upright else _stored_rgb(image, pixels, name)

    def read_other() -> np.ndarray | None:
        return read_tiff(path, pixels) if is_tiff(path) else None

    found = read_image_file(path, "image", read, otherwise=read_other)
    return read_tiff(path, pixels) if found is None else found


def dark_note(image: np.ndarray, path: Path, pixels: PixelFormat) -> str:
    """A note if a file of 16 bits uses so few of its values that the image is nearly black; empty otherwise."""
    if pixels.range or image.max() >= _DARK or _bits(path) <= 8:
        return ""
    return (
        "16-bit values all below 16384, so the image is dark: set data.range to the lowest and highest value that the "
        "files can hold, such as [0, 4095] for 12 bits"
    )


def _bits(path: Path) -> int:
    """Bits per channel of a readable image file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return 16 if image.mode.startswith("I") or "16" in raw_mode(image) else 8
    except UnidentifiedImageError:
        return tiff_bits(path)


def orientation(path: Path) -> int:
    """Return the EXIF orientation of an image: 1 is as stored (also without a tag), 5 to 8 are quarter turns."""
    try:
        require_file(path)
        with Image.open(path, formats=FORMATS) as image:
            return exif_orientation(image)
    except Exception:  # decoding the file reports the error
        return 1


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an open image, 1 to 8; 1 if the tag is missing or invalid."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the EXIF parser raises many exception types on malformed tags
        return 1
    # Some cameras and programs write bytes, text or 0.
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright_rgb(file: Image.Image, pixels: PixelFormat, name: str) -> np.ndarray:
    image: Image.Image = file
    turn = None if image.format == "TIFF" else UPRIGHT.get(exif_orientation(image))  # Pillow turns a TIFF itself
    if image.mode.startswith(_WIDE):  # Pillow's own conversion clips at 255
        image = Image.fromarray(to_8_bits(_wide_values(file), pixels, name))
    image = _flatten_on_white(image)
    if image.mode != "RGB":  # convert() would copy it, which large images have no room for
        image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))


def _stored_rgb(file: ImageFile.ImageFile, pixels: PixelFormat, name: str) -> np.ndarray:
    turn = exif_orientation(file)  # before loading: Pillow then turns a TIFF and drops the tag
    image: Image.Image = file
    if image.mode.startswith(_WIDE):
        image = Image.fromarray(to_8_bits(_wide_values(file), pixels, name))
    found = _flatten_on_white(image).convert("RGB")
    if file.format == "TIFF" and turn in _AS_STORED:
        found = found.transpose(_AS_STORED[turn])
    return np.asarray(found)


def _bands(image: Image.Image, pixels: PixelFormat, name: str, upright: bool) -> np.ndarray:
    """The bands of an image, ``uint8 (H, W, C)``; alpha is one of them."""
    turn = exif_orientation(image)
    if image.mode.startswith(_WIDE):
        stored = to_8_bits(_wide_values(image), pixels, name)
    elif image.mode in _AS_BANDS:
        stored = np.asarray(image)
    elif image.mode == "1":
        stored = np.asarray(image.convert("L"))
    else:  # a palette, or colours in another form
        stored = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    stored = stored if stored.ndim == 3 else stored[..., None]
    require_channels(stored.shape[2], pixels, name)
    # Pillow has turned a TIFF on loading.
    change = _AS_STORED.get(turn) if not upright else UPRIGHT.get(turn)
    if change is not None and upright != (image.format == "TIFF"):
        return map_bands(stored, lambda band: band.transpose(change))
    return np.array(stored)


def _wide_values(image: Image.Image) -> np.ndarray:
    """Values of more than 8 bits, ``(H, W)``."""
    stored = np.asarray(image)
    # Earlier releases of Pillow have 16-bit PNGs as I, of 32 bits.
    return stored.astype(np.uint16) if image.format == "PNG" and image.mode == "I" else stored


def _flatten_on_white(image: Image.Image) -> Image.Image:
    """Return the image on a white background; the image itself if it is opaque.

    The colours stored under transparent pixels are arbitrary, mostly black.
    """
    if not image.has_transparency_data:
        return image
    layered = image if image.mode == "RGBA" else image.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered)


def _reject_zero_filled_jpeg(image: ImageFile.ImageFile) -> None:
    """Raise EOFError for a JPEG that ends in zeros: an interrupted download whose space was reserved on disk.

    The decoder would fill the missing part with grey.
    """
    if image.format == "JPEG" and _ends_in_zeros(Path(os.fsdecode(image.filename))):
        raise EOFError("it ends in zeros, without the mark of the end")


def _ends_in_zeros(path: Path) -> bool:
    """Return whether a JPEG ends in zeros without an end marker. (Other bytes may follow it: cameras add some.)"""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _ZEROS))
        if any(file.read()):
            return False
        file.seek(0)
        return not file.read().rstrip(b"\0").endswith(b"\xff\xd9")
