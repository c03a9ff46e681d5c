"""Frames of videos: upright, with their times, and what can be read of damaged files."""

import runpy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from voc_seg.samples.video_files import Frame, is_video, open_video
from voc_seg.system.errors import VocSegError

pytest.importorskip("av", reason="the extra video is not installed: pip install 'voc_seg[video]'")
clips = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "video_clips.py")))
STEADY = range(0, 990, 33)
IRREGULAR = (0, 33, 66, 200, 233, 500, 533)


def close(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two images agree but for what coding changes, most of it at the borders of colours."""
    return pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"), ("a.MOV", "libx264", "yuv420p"), ("a.mkv", "ffv1", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"), ("a.webm", "libvpx-vp9", "yuv420p"), ("ten.mkv", "ffv1", "yuv420p10le"),
        ("grey.mkv", "ffv1", "gray"),
    ],
)  # fmt: skip
def test_frames_of_usual_formats(name: str, codec: str, pixels: str, tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / name, STEADY if name != "a.avi" else range(0, 30), codec=codec, pixels=pixels)
    assert is_video(path)
    video = open_video(path)
    frames = list(video.frames())
    assert (video.height, video.width, video.pixel_aspect, len(frames)) == (48, 80, 1, 30)
    expected = clips.coloured(48, 80)
    if pixels == "gray":
        expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=-1)
    assert all(close(frame.pixels, expected) for frame in frames)
    assert frames[0].pixels.dtype == np.uint8 and frames[0].pixels.flags.writeable
    if name != "a.avi":
        assert [round(float(frame.pts * video.time_base), 3) for frame in frames] == [time / 1000 for time in STEADY]
        assert video.expected_frames == pytest.approx(30, abs=1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_frame_rate_keeps_its_times(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    late = [time + 5000 for time in IRREGULAR]  # a stream may begin later
    video = open_video(clips.write_clip(tmp_path / name, late))
    frames = list(video.frames())
    assert [round(float(frame.pts * video.time_base), 3) for frame in frames] == [time / 1000 for time in IRREGULAR]
    assert all(frame.duration > 0 for frame in frames)
    assert not caplog.records


@pytest.mark.parametrize(
    ("x_to", "y_to", "expected"),
    [
        ((0, 1), (-1, 0), lambda image: np.rot90(image, -1)),  # a phone held upright
        ((0, -1), (1, 0), np.rot90),
        ((-1, 0), (0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0), (0, 1), np.fliplr),  # a selfie
        ((0, 1), (1, 0), lambda image: image.transpose(1, 0, 2)),
    ],
    ids=["clockwise", "counterclockwise", "upside down", "mirrored", "transposed"],
)
def test_phones_say_how_they_were_held(x_to: tuple, y_to: tuple, expected: Callable, tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "phone.mp4", (0, 33), aspect=Fraction(4, 3))
    video = open_video(clips.turn_clip(path, x_to, y_to))
    image = expected(clips.coloured(48, 80))
    assert (video.height, video.width) == image.shape[:2]
    assert video.pixel_aspect == (Fraction(4, 3) if x_to[0] else Fraction(3, 4))
    frames = list(video.frames())
    assert len(frames) == 2 and all(close(frame.pixels, image) for frame in frames)


def test_a_cut_file_gives_what_can_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = clips.write_clip(tmp_path / "cut.mp4", STEADY, front=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    frames = list(open_video(path).frames())
    assert 3 < len(frames) < 30
    assert all(close(frame.pixels, clips.coloured(48, 80)) for frame in frames[:3])
    assert "ends early: it declares 1.0 seconds, but has frames for" in caplog.text
    assert f"Frames that were read: {len(frames)}." in caplog.text


def blank_middle(path: Path, length: int) -> None:
    """Overwrite bytes in the middle of a file with zeros."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + length] = bytes(length)
    path.write_bytes(content)


def test_a_damaged_part_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = clips.write_clip(tmp_path / "bad.mkv", STEADY, codec="ffv1")
    blank_middle(path, 1500)
    frames = list(open_video(path).frames())
    assert 10 < len(frames) < 30
    times = [frame.pts for frame in frames]
    assert times == sorted(set(times))
    assert "bad.mkv has a steady frame rate, but gaps in it: 1." in caplog.text


def test_frames_that_cannot_be_decoded_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = clips.write_clip(tmp_path / "bad.mp4", STEADY, front=True)
    blank_middle(path, 400)
    frames = list(open_video(path).frames())
    assert 20 < len(frames) < 30
    assert "bad.mp4 is damaged; faulty parts: " in caplog.text


def no_contents(path: Path) -> None:
    content = clips.write_clip(path, STEADY).read_bytes()
    path.write_bytes(content[: len(content) // 2])  # the table of contents comes last


def only_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.planes[0].update(bytes(4096))
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"missing video: .*clip\.mp4 is not there"),
        (Path.touch, r"empty video: .*clip\.mp4"),
        (lambda path: path.write_text("hello " * 1000), r"damaged or unknown video: .*clip\.mp4 cannot be opened"),
        (no_contents, r"damaged or unknown video: .*clip\.mp4 cannot be opened \(Invalid data found"),
        (only_sound, r"no video: .*clip\.mp4 has no moving images"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"), r"video: .*clip\.mp4"),
        (Path.mkdir, r"video: .*clip\.mp4"),
    ],
    ids=["missing", "empty", "text", "no table of contents", "only sound", "a list of addresses", "a folder"],
)
def test_what_is_no_video_is_refused(make: object, message: str, tmp_path: Path) -> None:
    make(tmp_path / "clip.mp4")  # type: ignore[operator]
    with pytest.raises(VocSegError, match=message):
        open_video(tmp_path / "clip.mp4")


def test_a_pipe_is_refused_instead_of_waiting_for_it(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(VocSegError, match="not a regular file"):
        open_video(tmp_path / "clip.mp4")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(VocSegError, match=r"needs PyAV: pip install 'voc_seg\[video\]'"):
        open_video(tmp_path / "clip.mp4")


def test_images_are_no_videos() -> None:
    assert not any(is_video(Path(name)) for name in ("a.gif", "a.jpg", "a.tif", "mp4", "a.webp"))
    assert Frame(np.zeros((1, 1, 3), np.uint8), 0, 1).pts == 0
