"""Videos: recognised by their endings, decoded frame by frame, upright and with times. Needs PyAV."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable
from voc_seg.voc.file_checks import require_file, short_name

logger = logging.getLogger(__name__)

_ENDINGS = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""GIF is missing, as it is read as an image."""
_USUAL_RATE = Fraction(25)
"""Frames a second, where a file does not say."""
_COMPLETE = 0.97
"""Share of its declared length from which a video counts as complete: declared lengths are rounded."""
_GAP, _STEADY = 1.5, 0.8
"""Steps without a frame that count as a gap, and share of steps without one from which the rate is steady."""


def is_video(path: Path) -> bool:
    """Whether a file is read as a video, by its ending."""
    return path.suffix.lower() in _ENDINGS


class UnreadableVideoError(VocSegError):
    """A video that was readable when it was opened no longer is."""


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    | field    | meaning                                                                          |
    |----------|----------------------------------------------------------------------------------|
    | pixels   | ``uint8 (H, W, 3)`` RGB, upright, of the size of the first frame                  |
    | pts      | when it is shown, in units of the video's ``time_base``; the first is 0, and each is larger than the one before |
    | duration | for how long, in the same units                                                  |
    """  # noqa: E501

    pixels: np.ndarray
    pts: int
    duration: int


@dataclass(frozen=True)
class VideoFile:
    """A video whose first frame could be decoded; :func:`open_video` makes it.

    | field        | meaning                                                        |
    |--------------|----------------------------------------------------------------|
    | height, width | of its frames, upright                                        |
    | time_base    | unit of times, in seconds                                      |
    | rate         | mean frames a second                                           |
    | pixel_aspect | width of a pixel by its height                                 |
    | seconds      | its length as the file declares it; None if it does not         |
    """

    path: Path
    height: int
    width: int
    time_base: Fraction
    rate: Fraction
    pixel_aspect: Fraction
    seconds: float | None

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there are."""
        return None if self.seconds is None else max(1, round(self.seconds * self.rate))

    def frames(self) -> Iterator[Frame]:
        """Decode the frames; one is in memory at a time.

        What cannot be decoded is skipped, and a warning says how much. If the video ends early, a warning says where.

        Raises:
            UnreadableVideoError: No frame can be decoded any more.
        """
        try:
            yield from self._frames()
        except VocSegError as error:
            raise UnreadableVideoError(str(error)) from error

    def _frames(self) -> Iterator[Frame]:
        step = max(1, round(1 / (self.rate * self.time_base)))
        faults: list[str] = []
        count, start, last, end, regular, gaps = 0, 0, -1, 0, 0, 0
        with _opened(self.path) as (container, stream):
            for found in _decode(container, stream, faults):
                stamp = found.pts if found.pts is not None else start + end
                start = stamp if not count else start
                regular += abs(stamp - start - last - step) <= step / 2
                gaps += count > 0 and stamp - start - last > _GAP * step
                last = max(last + 1, stamp - start)  # damaged files have times that jump back
                duration = found.duration or step
                end = last + duration
                count += 1
                yield Frame(_upright(found, self.height, self.width), last, duration)
        name = short_name(self.path)
        if not count:
            raise VocSegError(f"damaged video: no frame of {name} can be decoded")
        read = f"Frames that were read: {count}."
        if faults:
            logger.warning("%s is damaged; faulty parts: %d (first: %s). %s", name, len(faults), faults[0], read)
        if gaps and regular > _STEADY * count:
            logger.warning(
                "%s has a steady frame rate, but gaps in it: %d. The file may be damaged. %s",
                name,
                gaps,
                read,
            )
        # Some formats count from the first frame, and others from 0.
        seconds, short = float((max(0, start) + end) * self.time_base), float(step * self.time_base)
        if self.seconds and seconds < _COMPLETE * self.seconds - short:
            logger.warning(
                "%s ends early: it declares %.1f seconds, but has frames for %.1f. %s",
                name,
                self.seconds,
                seconds,
                read,
            )


def open_video(path: Path) -> VideoFile:
    """Read what a video declares, and its first frame.

    Raises:
        VocSegError: PyAV is not installed; or the file is missing, damaged or no video.
    """
    faults: list[str] = []
    with _opened(path) as (container, stream):
        first = next(_decode(container, stream, faults), None)
        if first is None:
            raise VocSegError(f"damaged video: no frame of {short_name(path)} can be decoded")
        height, width = _upright(first, first.height, first.width, known=False).shape[:2]
        aspect = stream.sample_aspect_ratio or Fraction(1)
        turned = _is_turned(_display_matrix(first))
        whole = Fraction(container.duration or 0, 1_000_000)
        return VideoFile(
            path,
            height,
            width,
            stream.time_base,
            stream.average_rate or stream.guessed_rate or _USUAL_RATE,
            1 / aspect if turned else aspect,
            float(stream.duration * stream.time_base if stream.duration else whole) or None,
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream. Raises VocSegError."""
    try:
        import av  # optional
    except ImportError:
        raise VocSegError(f"{short_name(path)} is a video, which needs PyAV: pip install 'voc_seg[video]'") from None
    name = short_name(path)
    try:
        require_file(path)
        # FFmpeg also reads lists of files and addresses: these may name nothing but files of this machine.
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if not path.exists():
            raise VocSegError(f"missing video: {name} is not there") from None
        if not path.stat().st_size:
            raise VocSegError(f"empty video: {name}") from None
        raise VocSegError(f"damaged or unknown video: {name} cannot be opened ({_reason(error)})") from None
    with container:
        cover = av.stream.Disposition.attached_pic  # of a music file
        streams = [one for one in container.streams.video if not one.disposition & cover]
        if not streams:
            raise VocSegError(f"no video: {name} has no moving images")
        streams[0].thread_type = "AUTO"
        yield container, streams[0]


def _decode(container: Any, stream: Any, faults: list[str]) -> Iterator[Any]:
    """Yield the frames that can be decoded; ``faults`` gets the reason for each part that cannot."""
    import av

    packets = container.demux(stream)
    packet: Any = ...  # none has been read; None is the end
    while packet is not None:
        try:
            packet = next(packets, None)
            found = stream.codec_context.decode(None) if packet is None else packet.decode()
        except av.EOFError:
            return  # the decoder has been emptied before
        except av.FFmpegError as error:
            faults.append(_reason(error))
            continue
        faults += ["damaged frame" for frame in found if frame.is_corrupt]
        yield from found


def _reason(error: Exception) -> str:
    return printable(str(getattr(error, "strerror", None) or error))


def _display_matrix(frame: Any) -> np.ndarray | None:
    """The matrix by which a phone records how it was held, ``int32 (3, 3)``; see FFmpeg's ``libavutil/display.h``."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else np.frombuffer(data, dtype=np.int32).reshape(3, 3)


def _is_turned(matrix: np.ndarray | None) -> bool:
    return matrix is not None and abs(int(matrix[0, 1])) > abs(int(matrix[0, 0]))


def _upright(frame: Any, height: int, width: int, known: bool = True) -> np.ndarray:
    """The pixels of a frame as players show it, ``uint8 (H, W, 3)``.

    Args:
        frame: Of PyAV.
        height: Of the result, to which frames of another size are scaled.
        width: Of the result.
        known: False if height and width are those of the frame as stored.
    """
    matrix = _display_matrix(frame)
    turned = _is_turned(matrix)
    if turned and known:
        height, width = width, height
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    if matrix is None:
        return pixels
    # (x, y) becomes (ax + cy, bx + dy), with [[a, b], [c, d]] the upper left of the matrix; only whole quarter turns
    # and mirror images occur.
    along = matrix[:2, :2]
    if turned:
        pixels = pixels.transpose(1, 0, 2)
        across, down = int(along[1, 0]), int(along[0, 1])
    else:
        across, down = int(along[0, 0]), int(along[1, 1])
    return np.ascontiguousarray(pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
