"""Images as RGB arrays: `decode_image` applies the EXIF orientation, `decode_dataset_image` keeps stored pixels."""

import os
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from voc_seg.system.errors import VocSegError

from .decode_memory import allow_large_images
from .file_checks import FORMATS, read_image_file, require_file, short_name

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
_ZEROS = 16
"""A JPEG that ends in this many zeros may be an incomplete download."""


def decode_image(path: Path) -> np.ndarray:
    """Read an image as people see it, ``uint8 (H, W, 3)`` RGB, writable, with its EXIF orientation applied.

    CMYK, grey and palette images become RGB; 16-bit grey is scaled to 8 bits; transparent pixels become white; the
    first frame of an animation is used. Raises VocSegError as `read_image_file` does.
    """
    with allow_large_images():
        return read_image_file(path, "image", _upright_rgb)


def decode_dataset_image(path: Path) -> np.ndarray:
    """Read an image of a data set as stored, ``uint8 (H, W, 3)`` RGB; see `orientation` for its EXIF orientation.

    Transparent pixels become white. Damage to a JPEG that still decodes goes unnoticed, as JPEG has no checksum.
    Raises VocSegError as `read_image_file` does, and for more than 8 bits a channel.
    """
    return read_image_file(path, "image", _stored_rgb)


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


def _upright_rgb(file: ImageFile.ImageFile) -> np.ndarray:
    _reject_zero_filled_jpeg(file)
    image: Image.Image = file
    turn = None if image.format == "TIFF" else UPRIGHT.get(exif_orientation(image))  # Pillow turns a TIFF itself
    if image.mode.startswith("I"):
        # Pillow has 16-bit grey as I;16, or as I in older releases; its own conversion clips at 255.
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) // 257).astype(np.uint8))
    image = _flatten_on_white(image)
    if image.mode != "RGB":  # convert() would copy it, which large images have no room for
        image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))


def _stored_rgb(image: ImageFile.ImageFile) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        name = short_name(Path(os.fsdecode(image.filename)))
        raise VocSegError(f"image mode: {name} is {image.mode}, more than 8 bits a channel; save it with 8")
    _reject_zero_filled_jpeg(image)
    turn = exif_orientation(image)  # before loading: Pillow then turns a TIFF and drops the tag
    pixels = _flatten_on_white(image).convert("RGB")
    if image.format == "TIFF" and turn in _AS_STORED:
        pixels = pixels.transpose(_AS_STORED[turn])
    return np.asarray(pixels)


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
