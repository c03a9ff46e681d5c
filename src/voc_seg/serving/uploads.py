"""Uploaded images: read from the request within limits, checked by their header, decoded as files are."""

import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from fastapi import HTTPException, Request, UploadFile
from PIL import Image
from starlette.exceptions import HTTPException as HTTPError  # FastAPI's is derived from it
from starlette.requests import ClientDisconnect
from starlette.requests import Request as BaseRequest

from voc_seg.system.errors import VocSegError
from voc_seg.voc.decode_memory import allow_large_images
from voc_seg.voc.file_checks import FORMATS, short_name
from voc_seg.voc.images import dark_note, decode_image
from voc_seg.voc.pixel_format import PixelFormat

logger = logging.getLogger(__name__)

FIELD = "image"
_NAME = "the upload"
_OTHER_FIELDS = 8
_UNKNOWN = ("unreadable image", "Git LFS pointer")
"""How the messages of `read_image_file` about other formats begin."""


async def read_upload(request: Request, max_bytes: int) -> UploadFile:
    """Return the file of the field ``image``. A large one is in a temporary file, not in memory.

    Raises:
        HTTPException: 413, 415 or 400; the body is not read further.
        ClientDisconnect: The client is gone.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(415, f"Send the image as multipart/form-data, in the field {FIELD}.")
    too_large = HTTPException(413, f"The request is larger than {max_bytes} bytes. Send a smaller file.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    limited = BaseRequest(request.scope, _limited(request.receive, max_bytes, too_large))
    try:
        form = await limited.form(max_files=1, max_fields=_OTHER_FIELDS)
    except HTTPError as error:
        if error is too_large:
            raise
        # Starlette's, such as: Too many files. Maximum number of files is 1.
        raise HTTPException(
            400, f"Send one image as multipart form data, in the field {FIELD}. {error.detail}"
        ) from None
    except (ClientDisconnect, OSError):
        raise
    except Exception:  # the parser's, which some releases of Starlette pass on
        raise HTTPException(400, "The multipart form is damaged.") from None
    upload = form.get(FIELD)
    if upload is None or isinstance(upload, str):
        raise HTTPException(400, f"The request has no complete file in the field {FIELD}.")
    return upload  # type: ignore[return-value]  # FastAPI's class is a subclass of Starlette's


def _limited(
    receive: Callable[[], Awaitable[Any]], max_bytes: int, error: HTTPException
) -> Callable[[], Awaitable[Any]]:
    """``receive``, which raises ``error`` after this many bytes of the body."""
    count = 0

    async def limited() -> Any:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > max_bytes:
            raise error
        return message

    return limited


def save_upload(file: BinaryIO, path: Path, max_pixels: int) -> int:
    """Write an upload to a file, from which images are decoded as everywhere else.

    Returns:
        The number of pixels by the header; an image that decoding refuses anyway has 0.

    Raises:
        HTTPException: 413, there are too many.
    """
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy)
    pixels = _declared_pixels(path)
    if pixels > max_pixels:
        raise HTTPException(413, f"The image has more than {max_pixels} pixels. Send a smaller one.")
    return int(pixels)


def _declared_pixels(path: Path) -> float:
    try:
        with allow_large_images(), Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return float("inf")
    except Exception:  # Pillow raises many exception types on malformed files
        pass
    try:  # a TIFF of other bands
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            return page.imagelength * page.imagewidth
    except Exception:  # tifffile does, too; or the extra is missing
        return 0


def decode_upload(path: Path, pixels: PixelFormat) -> np.ndarray:
    """Return the pixels of an upload, ``uint8 (H, W, C)``, as `decode_image` does.

    Raises:
        HTTPException: 415, it is not an image of a known format; 400, it is damaged or has other bands.
    """
    try:
        image = decode_image(path, pixels)
    except VocSegError as error:
        message = str(error).replace(str(path), _NAME).replace(short_name(path), _NAME)
        raise HTTPException(415 if message.startswith(_UNKNOWN) else 400, message) from None
    if note := dark_note(image, path, pixels):
        logger.warning("An upload: %s", note)
    return image
