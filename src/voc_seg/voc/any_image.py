"""Images as Python code has them: files, bytes, arrays and images of Pillow, all read in the way of `decode_image`."""

import logging
import re
import tempfile
from collections.abc import Iterator, Set
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from voc_seg.system.errors import VocSegError

from .file_checks import short_name
from .images import dark_note, decode_image, decode_opened
from .pixel_format import PixelFormat, require_channels, to_8_bits

AnyImage = str | PathLike[str] | bytes | Image.Image | np.ndarray

_ARRAY = "the array"
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+://|data:|(https?|ftp|s3|gs|file):/)", re.IGNORECASE)
"""Of a scheme with one slash, too, as a Path has it."""

logger = logging.getLogger(__name__)


def is_address(path: str | PathLike[str]) -> bool:
    """Whether what is given as a path is the address of a file elsewhere."""
    return _ADDRESS.match(str(path)) is not None


def image_pixels(image: Any, pixels: PixelFormat) -> np.ndarray:
    """The pixels of an image, ``uint8 (H, W, C)``, writable, upright.

    Args:
        image: A path, the bytes of an image file, an image of Pillow, or an array ``(H, W)`` or ``(H, W, C)``, of
            ``uint8``, or of other values if ``pixels`` has their range.
        pixels: How it is read.

    Raises:
        VocSegError: It cannot be read, is none of these, or has other channels.
    """
    if isinstance(image, (str, PathLike)):
        if is_address(image):
            raise VocSegError(f"{str(image)[:80]} is an address. Download the image first, and give its path.")
        if not str(image):
            raise VocSegError("The path of the image is empty.")
        return _decoded(Path(image), str(image), pixels)
    if isinstance(image, (bytes, bytearray, memoryview)):
        with tempfile.TemporaryDirectory(prefix="voc_seg_") as folder:
            path = Path(folder) / "image"
            path.write_bytes(image)
            return _decoded(path, "the given bytes", pixels)
    if isinstance(image, Image.Image):
        return decode_opened(image, pixels)
    if hasattr(image, "read"):
        raise VocSegError(f"A {type(image).__name__} is not an image. Give its content, .read(), or a path.")
    if image is None or isinstance(image, (Set, Iterator)):
        raise VocSegError(f"A {type(image).__name__} is not an image. Give a path or an array, or a list of them.")
    try:
        array = np.asarray(image)
    except Exception as error:  # a tensor on a GPU, for example
        raise VocSegError(f"A {type(image).__name__} is not an image ({error}). Give a path or an array.") from error
    return _array_pixels(array, pixels, type(image).__name__)


def _decoded(path: Path, name: str, pixels: PixelFormat) -> np.ndarray:
    """The pixels of a file, called ``name`` in messages."""
    try:
        found = decode_image(path, pixels)
    except VocSegError as error:
        raise VocSegError(str(error).replace(short_name(path), name)) from error
    if note := dark_note(found, path, pixels):
        logger.warning("%s: %s", name, note)
    return found


def _array_pixels(array: np.ndarray, pixels: PixelFormat, kind: str) -> np.ndarray:
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "uif":
        raise VocSegError(
            f"An image is an array (H, W) or (H, W, {pixels.channels}) of uint8; this {kind} has the shape "
            f"{array.shape} and the type {array.dtype}."
        )
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 2, 3, 4, pixels.channels):
        raise VocSegError(
            f"The {kind} has the shape {array.shape}, channels first; images have them last. Give it as "
            "array.transpose(1, 2, 0), or tensor.permute(1, 2, 0)."
        )
    if array.dtype.kind == "f" and pixels.range is None:
        raise VocSegError(
            f"The {kind} holds {array.dtype} values, whose range is not known. Give uint8 values from 0 to 255: "
            "(255 * array).round().astype('uint8') if they are from 0 to 1."
        )
    values = to_8_bits(array, pixels, _ARRAY)
    if pixels.range is None and array.dtype.itemsize > 1 and 0 < array.max() <= 255:
        logger.warning(
            "The array holds %s values up to %d of %d, so it is nearly black. If they are from 0 to 255, give "
            "array.astype('uint8').", array.dtype, array.max(), np.iinfo(array.dtype).max,
        )  # fmt: skip
    if pixels.channels == 3 and (values.ndim == 2 or values.shape[2] in (1, 4)):  # grey, or with transparency
        return decode_opened(Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values), pixels)
    values = values if values.ndim == 3 else values[..., None]
    require_channels(values.shape[2], pixels, _ARRAY)
    return np.array(values, order="C")
