"""The overlays of a video, frame after frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from voc_seg.datasets.video_folder import OverlayFrame
from voc_seg.engine.inference import Segmenter
from voc_seg.reporting.inference import class_shares, void_share
from voc_seg.reporting.video_overlay import VideoOverlays
from voc_seg.samples.video_files import VideoFile, open_video
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import Classes

_MAX_PIXELS = 16_000_000
"""Of the frames that are in memory together, 48 MB for each copy: seven of HD, one of 4K."""


def open_rgb_video(path: Path, channels: int) -> VideoFile:
    """Open a video for a model of images with this many channels.

    Raises VocSegError as `open_video` does, or if the model is not for three channels.
    """
    if channels != 3:
        raise VocSegError(f"{path.name} is a video, which has three channels, but data.channels is {channels}")
    return open_video(path)


def overlay_frames(video: VideoFile, segmenter: Segmenter, classes: Classes) -> Iterator[OverlayFrame]:
    """Each frame with its overlay and the share of each class, computed as it is asked for.

    Frames go through the network in batches, each by itself: nothing is smoothed over time.
    """
    segmenter = segmenter.with_confidence(confidence=False)
    most = max(1, _MAX_PIXELS // (video.height * video.width))
    together = min(most, segmenter.images_together(video.height, video.width))
    overlays, frames = VideoOverlays(classes), video.frames()
    while batch := list(islice(frames, together)):
        for frame, found in zip(batch, segmenter.predict_same_size([one.pixels for one in batch])):
            shares = class_shares(found.mask, classes)
            if segmenter.config.min_confidence is not None:
                shares["void"] = void_share(found.mask)
            drawn = overlays.draw(frame.pixels, found.mask, float(frame.pts * video.time_base))
            yield OverlayFrame(replace(frame, pixels=drawn), shares)


def lost_videos(videos: Mapping[str, VideoFile], written: Sequence[Path]) -> dict[Path, str]:
    """The videos that have no overlays, as they could not be read to the end, with the reason."""
    names = {path.name for path in written}
    reason = "changed during the run: it could not be read to its end"
    return {video.path: reason for name, video in videos.items() if f"{name}.mp4" not in names}
