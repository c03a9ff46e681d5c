"""Pictures of any origin, phones and scanners included, as the RGB that the network is used to."""

from pathlib import Path

import numpy as np
from PIL import Image

from .reading import (
    UPRIGHT,
    allow_large_images,
    exif_orientation,
    flatten_on_white,
    read_image_file,
    reject_zero_filled_jpeg,
)


def decode_image(path: Path) -> np.ndarray:
    """Read a picture the way people see it.

    An EXIF orientation is applied. CMYK, grey and palettes become RGB; 16-bit grey is reduced to 8 bits over its whole
    range; what is transparent shows white; of an animation the first frame is taken.

    Returns:
        ``uint8 (H, W, 3)`` RGB, writable.

    Raises:
        VocSegError: The file is missing, empty, none of `voc_seg.voc.reading.FORMATS`, cannot be decoded to its end, or
            has more pixels than Pillow takes for harmless (179 million, twice ``Image.MAX_IMAGE_PIXELS``).
    """
    with allow_large_images():
        return read_image_file(path, "picture", _upright_rgb)


def _upright_rgb(image: Image.Image) -> np.ndarray:
    reject_zero_filled_jpeg(image)
    turn = None if image.format == "TIFF" else UPRIGHT.get(exif_orientation(image))  # those Pillow turns itself
    if image.mode.startswith("I"):
        # Pillow has 16-bit grey as I;16, or I in older releases; its own conversion cuts off at 255.
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) // 257).astype(np.uint8))
    image = flatten_on_white(image)
    if image.mode != "RGB":  # or it would be copied, which large pictures have no room for
        image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))
