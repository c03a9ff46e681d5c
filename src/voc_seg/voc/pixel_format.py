"""How stored pixels become the 8-bit channels of an image: number of channels, range of values."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted

_STRIP = 256
"""Rows converted at a time: the intermediate values take 8 bytes each."""


@dataclass(frozen=True)
class PixelFormat:
    """The channels of every image of a data set, and the meaning of values of more than 8 bits.

    | field    | meaning                                                                                     |
    |----------|---------------------------------------------------------------------------------------------|
    | channels | 3 is RGB, to which other images are converted; other numbers are bands, read as stored      |
    | range    | stored values that become 0 and 255; None: 0 and 65535, and only unsigned 16 bits are known |
    | of_model | a trained model takes nothing else, so that messages advise to change the image              |
    """

    channels: int = 3
    range: tuple[float, float] | None = None
    of_model: bool = field(default=False, compare=False)

    @property
    def settings(self) -> str:
        """The settings other than the defaults, as users write them; empty for RGB."""
        low, high = self.range or (0, 0)
        channels = f", data.channels={self.channels}" if self.channels != 3 else ""
        return channels + (f", data.range=[{low:g}, {high:g}]" if self.range else "")


RGB = PixelFormat()


def to_8_bits(stored: np.ndarray, pixels: PixelFormat, name: str) -> np.ndarray:
    """Scale values of more than 8 bits to ``uint8`` by a rule that does not depend on the image.

    | stored            | without a range | with ``data.range: [low, high]``                              |
    |-------------------|-----------------|---------------------------------------------------------------|
    | 8 bits            | as they are     | as they are                                                   |
    | unsigned 16 bits  | value // 257    | clipped, low to 0 and high to 255, linear, rounded            |
    | anything else     | refused         | the same; NaN becomes 0                                       |

    Raises:
        VocSegError: The range of the values is not known.
    """
    if stored.dtype == np.uint8:
        return stored
    if pixels.range is None:
        if stored.dtype.kind == "u" and stored.dtype.itemsize == 2:
            return (stored // 257).astype(np.uint8)
        advice = (
            "convert it to uint8, with 0 for black and 255 for white"
            if pixels.of_model
            else "set data.range to the values to show as black and white, such as [0, 1]"
        )
        raise VocSegError(f"unknown range: {name} holds {stored.dtype.name} values; {advice}")
    if stored.dtype.kind not in "uif":
        raise VocSegError(f"unreadable image: {name} holds {stored.dtype.name} values; save it as integers or floats")
    low, high = pixels.range
    scaled = np.empty(stored.shape, np.uint8)
    for top in range(0, len(stored), _STRIP):
        values = np.clip(stored[top : top + _STRIP].astype(np.float64), low, high)
        values = (np.nan_to_num(values, nan=low) - low) * (255 / (high - low))
        scaled[top : top + _STRIP] = np.rint(values)
    return scaled


def require_channels(found: int, pixels: PixelFormat, name: str) -> None:
    """Refuse an image with another number of bands than ``data.channels``."""
    if found == pixels.channels:
        return
    problem = f"other bands: {name} has {counted(found, 'band')}, but"
    if pixels.of_model:
        raise VocSegError(f"{problem} the model takes images with {pixels.channels}; convert it")
    raise VocSegError(
        f"{problem} data.channels is {pixels.channels}; set data.channels={found} if all images have {found}, or save "
        f"it with {pixels.channels}"
    )


def map_bands(image: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Apply a change of Pillow's to ``uint8 (H, W, C)``: to RGB at once, to others band by band.

    Pillow would take two or four bands for colours with transparency, and weight them by it.
    """
    if image.shape[2] == 3:
        return np.array(change(Image.fromarray(image)))
    bands = [change(Image.fromarray(image[..., band])) for band in range(image.shape[2])]
    return np.stack([np.asarray(band) for band in bands], axis=-1)


def displayed(image: np.ndarray) -> np.ndarray:
    """An image ``uint8 (H, W, C)`` as people see it, ``uint8 (H, W, 3)``: the first three bands, or the first as grey.

    An RGB image is returned as it is.
    """
    if image.shape[2] == 3:
        return image
    return np.ascontiguousarray(image[..., :3]) if image.shape[2] > 3 else np.repeat(image[..., :1], 3, axis=-1)
