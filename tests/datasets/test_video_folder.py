"""Overlay videos keep size, times and colours of their source, and are replaced together."""

import json
import runpy
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from voc_seg.datasets import VideosDataset
from voc_seg.datasets.video_folder import OverlayFrame, OverlayVideo
from voc_seg.samples.video_files import Frame, VideoFile, open_video
from voc_seg.system.errors import VocSegError

av = pytest.importorskip("av", reason="the extra video is not installed: pip install 'voc_seg[video]'")
clips = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "video_clips.py")))
IRREGULAR = (0, 33, 66, 200, 233, 1500, 1533, 2100)


def source(height: int = 48, width: int = 80, aspect: Fraction = Fraction(1)) -> VideoFile:
    return VideoFile(Path("clip.mp4"), height, width, Fraction(1, 1000), Fraction(30), aspect, 2.1)


def frames_of(video: VideoFile, times: tuple[int, ...] = IRREGULAR) -> Iterator[OverlayFrame]:
    for number, time in enumerate(times):
        pixels = clips.coloured(video.height, video.width)
        yield OverlayFrame(Frame(pixels, time, 33), {"background": 1 - number / 10, "cat": number / 10})


@pytest.fixture
def dataset(tmp_path: Path) -> VideosDataset:
    return VideosDataset(filepath=str(tmp_path / "videos"))


def test_size_times_and_pixels_of_the_source(dataset: VideosDataset, tmp_path: Path) -> None:
    video = source(aspect=Fraction(4, 3))
    dataset.save({"a": OverlayVideo(video, frames_of(video))})
    assert [path.name for path in dataset.load()] == ["a.csv", "a.mp4"]
    assert json.loads(json.dumps(dataset.preview()))["data"][0][0] == "a.csv"
    with av.open(str(tmp_path / "videos/a.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1  # BT.709, which the pixels below are read with
        assert float(stream.duration * stream.time_base) == pytest.approx(2.133, abs=0.002)
    found = open_video(tmp_path / "videos/a.mp4")
    assert (found.height, found.width, found.pixel_aspect) == (48, 80, Fraction(4, 3))
    read = list(found.frames())
    assert [round(float(frame.pts * found.time_base), 3) for frame in read] == [time / 1000 for time in IRREGULAR]
    for frame in read:
        for y, x in ((10, 10), (10, 65), (40, 65)):
            assert np.abs(frame.pixels[y, x].astype(int) - clips.coloured(48, 80)[y, x]).max() <= 4


def test_shares_are_means_over_each_second(dataset: VideosDataset, tmp_path: Path) -> None:
    video = source()
    dataset.save({"a": OverlayVideo(video, frames_of(video))})
    table = pd.read_csv(tmp_path / "videos/a.csv")
    assert list(table.columns) == ["second", "frames", "background", "cat"]
    assert table["second"].tolist() == [0, 1, 2] and table["frames"].tolist() == [5, 2, 1]
    assert table["cat"].tolist() == pytest.approx([0.2, 0.55, 0.7])
    assert (table["background"] + table["cat"]).tolist() == pytest.approx([1, 1, 1])


def test_odd_sizes_get_one_pixel_more(dataset: VideosDataset, tmp_path: Path) -> None:
    video = source(47, 79)
    dataset.save({"a": OverlayVideo(video, frames_of(video, (0, 33)))})
    found = open_video(tmp_path / "videos/a.mp4")
    assert (found.height, found.width) == (48, 80)


def test_the_next_run_leaves_only_its_own(dataset: VideosDataset, tmp_path: Path) -> None:
    video = source()
    dataset.save({"a": OverlayVideo(video, frames_of(video))})
    (tmp_path / "videos/notes.txt").write_text("mine")
    dataset.save({"b": OverlayVideo(video, frames_of(video))})
    assert [path.name for path in dataset.load()] == ["b.csv", "b.mp4", "notes.txt"]
    dataset.save({})
    assert [path.name for path in dataset.load()] == ["notes.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, VocSegError("memory ran out")])
def test_an_interrupted_run_leaves_what_was_there(
    error: BaseException | type[BaseException], dataset: VideosDataset, tmp_path: Path
) -> None:
    def interrupted(video: VideoFile) -> Iterator[OverlayFrame]:
        yield from frames_of(video, (0, 33))
        raise error

    video = source()
    dataset.save({"a": OverlayVideo(video, frames_of(video))})
    before = {path.name: path.read_bytes() for path in dataset.load()}
    with pytest.raises((KeyboardInterrupt, Exception)):
        dataset.save({"b": OverlayVideo(video, frames_of(video)), "c": OverlayVideo(video, interrupted(video))})
    assert {path.name: path.read_bytes() for path in dataset.load()} == before
    assert not list((tmp_path / "videos").rglob("*partial*"))


def test_the_same_frames_give_the_same_file(dataset: VideosDataset, tmp_path: Path) -> None:
    video = source()
    dataset.save({name: OverlayVideo(video, frames_of(video)) for name in "ab"})
    assert (tmp_path / "videos/a.mp4").read_bytes() == (tmp_path / "videos/b.mp4").read_bytes()
