"""Overlay videos of the user's own videos as a catalog entry, with the share of each class by time."""

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kedro.io import AbstractDataset

from voc_seg.samples.video_files import Frame, UnreadableVideoError, VideoFile
from voc_seg.system.atomic_folder import atomic_write_folder, delete_written_files
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted
from voc_seg.system.progress import progress_bar

from .files import FolderOfFiles

logger = logging.getLogger(__name__)

_BT709 = 1
"""The colour space of HD video, as numbered by FFmpeg and ISO/IEC 23091-2; unmarked, players guess it."""
_LIMITED_RANGE = 1
_ENCODER = {"crf": "20", "preset": "veryfast", "bf": "0"}
"""For x264. Without B-frames, an MP4 of a variable frame rate has the right length."""


class OverlayFrame(NamedTuple):
    """A frame with its overlay as pixels, and the share of each class, 0 to 1, by name."""

    frame: Frame
    shares: Mapping[str, float]


class OverlayVideo(NamedTuple):
    """A video and its overlays, which are computed one at a time."""

    source: VideoFile
    frames: Iterable[OverlayFrame]


class VideosDataset(FolderOfFiles, AbstractDataset[Mapping[str, OverlayVideo], list[Path]]):
    """``<name>.mp4`` (H.264) and ``<name>.csv`` for each video; loads the paths of the files.

    Saving consumes the frames one by one, and replaces all files of an earlier run. Without a video it deletes them. A
    video whose frames cannot be read to the end gets no files, and a warning.
    Videos have the size, the times and the pixel shape of their source, and no sound. An odd height or width is one
    pixel larger, as H.264 needs. Kedro-Viz, which shows no videos, lists names and sizes.

    Args:
        filepath: The folder.
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, OverlayVideo]) -> None:
        if not data:
            delete_written_files(self._folder)
            return
        with atomic_write_folder(self._folder) as folder:
            for name in data:
                path, video = folder / f"{name}.mp4", data[name]
                table = _SharesBySecond(video.source.time_base)
                try:
                    with (
                        progress_bar(f"segmenting {name}", video.source.expected_frames, "frames") as advance,
                        _writer(path, video.source) as write,
                    ):
                        for one in video.frames:
                            write(one.frame)
                            table.add(one)
                            advance(1)
                except UnreadableVideoError as error:
                    path.unlink(missing_ok=True)
                    logger.warning(
                        "Rejected after %s, although readable at first: %s", counted(table.frames, "frame"), error
                    )
                    continue
                table.write(path.with_name(f"{name}.csv"))
                logger.info("Video %s: %s, %.1f seconds.", name, counted(table.frames, "frame"), table.seconds)

    def load(self) -> list[Path]:
        return self._files()


class _SharesBySecond:
    """One row a second: its beginning, its number of frames, and the mean share of each class over them."""

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._second, self._count = 0, 0
        self._sums: dict[str, float] = {}
        self._rows: list[list[Any]] = []
        self.frames, self.seconds = 0, 0.0

    def add(self, one: OverlayFrame) -> None:
        second = int(one.frame.pts * self._time_base)
        if second != self._second:
            self._end_row()
            self._second = second
        self._count += 1
        self._sums = {name: self._sums.get(name, 0.0) + share for name, share in one.shares.items()}
        self.frames += 1
        self.seconds = float((one.frame.pts + one.frame.duration) * self._time_base)

    def _end_row(self) -> None:
        if self._count:
            means = [f"{total / self._count:.6f}" for total in self._sums.values()]
            self._rows.append([self._second, self._count, *means])
        self._count, self._sums = 0, dict.fromkeys(self._sums, 0.0)

    def write(self, path: Path) -> None:
        self._end_row()
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["second", "frames", *self._sums])
            writer.writerows(self._rows)


@contextmanager
def _writer(path: Path, source: VideoFile) -> Iterator[Any]:
    """Yield a function that writes a frame. Raises VocSegError if FFmpeg cannot write."""
    import av  # the source has been read with it

    height, width = source.height + source.height % 2, source.width + source.width % 2
    try:
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("h264", rate=source.rate, options=_ENCODER)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            context = stream.codec_context
            context.time_base, context.sample_aspect_ratio = source.time_base, source.pixel_aspect
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE

            def write(frame: Frame) -> None:
                missing = (height - source.height, width - source.width)
                pixels = np.pad(frame.pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="edge")
                made = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
                    format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
                )
                made.pts, made.duration, made.time_base = frame.pts, frame.duration, source.time_base
                container.mux(stream.encode(made))

            yield write
            container.mux(stream.encode())
    except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise VocSegError(
            f"{path.name} cannot be written: {error}. The files of an earlier run are unchanged."
        ) from error
