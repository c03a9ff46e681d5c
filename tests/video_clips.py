"""Small videos for tests, written with PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_clip(
    path: Path,
    times: Sequence[int],
    size: tuple[int, int] = (48, 80),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    aspect: Fraction = Fraction(1),
    front: bool = False,
) -> Path:
    """Write a frame at each of these milliseconds: red, its top right green, its bottom right blue.

    Args:
        path: The file; its ending is the format.
        times: Milliseconds.
        size: Height and width as stored.
        codec: Encoder of FFmpeg.
        pixels: Pixel format of FFmpeg.
        aspect: Width of a pixel by its height.
        front: Put the table of contents first and code each frame by itself, so that the start of a file can be read.
    """
    options = {"movflags": "+faststart"} if front else {}
    with av.open(str(path), "w", options=options) as container:
        own = {"crf": "5", "bf": "0"} | ({"g": "1"} if front else {})
        stream = container.add_stream(codec, rate=30, options=own if "264" in codec else {})
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = aspect
        for time in times:
            frame = av.VideoFrame.from_ndarray(coloured(*size), "rgb24").reformat(format=pixels)
            frame.pts, frame.time_base, frame.duration = time, Fraction(1, 1000), 33
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn_clip(path: Path, x_to: tuple[int, int], y_to: tuple[int, int]) -> Path:
    """Have players turn an MP4 as phones do: with a matrix in the header of its track, in 16.16 fixed point.

    Args:
        path: The file.
        x_to: To where its horizontal axis is turned, (1, 0) as it is.
        y_to: To where its vertical axis is turned, (0, 1) as it is.
    """

    def matrix(across: tuple[int, int], down: tuple[int, int]) -> bytes:
        numbers = (*across, 0, *down, 0, 0, 0)
        return b"".join((65536 * number).to_bytes(4, "big", signed=True) for number in numbers)

    content = path.read_bytes()
    start = content.index(matrix((1, 0), (0, 1)), content.index(b"tkhd"))
    made = matrix(x_to, y_to)
    path.write_bytes(content[:start] + made + content[start + len(made) :])
    return path


def coloured(height: int, width: int) -> np.ndarray:
    """The frame of :func:`write_clip`, ``uint8 (H, W, 3)``."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (200, 30, 60)
    image[: height // 2, width // 2 :] = (20, 200, 30)
    image[height // 2 :, width // 2 :] = (30, 60, 220)
    return image
