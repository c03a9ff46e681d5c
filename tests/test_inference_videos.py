"""Inference of videos: overlays and shares of every frame, beside images, with clear errors."""

import runpy
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from click import ClickException
from PIL import Image

import voc_seg
from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, RuntimeConfig
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.runtime import choose_runtime
from voc_seg.pipelines.inference import videos
from voc_seg.pipelines.inference.nodes import check_pictures
from voc_seg.reporting.inference import class_shares
from voc_seg.samples.inference_images import ImageFiles
from voc_seg.samples.video_files import Frame, UnreadableVideoError, VideoFile, open_video
from voc_seg.system.errors import VocSegError

pytest.importorskip("av", reason="the extra video is not installed: pip install 'voc_seg[video]'")
clips = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("video_clips.py"))))
pytestmark = pytest.mark.usefixtures("narrow_encoder", "blank_figures")
FP32 = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable, untrained_model: Callable) -> Path:
    folder = make_project(tmp_path_factory.mktemp("project"))
    (folder / "data/06_models").mkdir(parents=True)
    torch.save(untrained_model(EvaluationConfig()), folder / "data/06_models/best_model.pth")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, a clip of the same name, a phone's clip and a damaged one."""
    folder = tmp_path_factory.mktemp("mixed")
    Image.fromarray(clips.coloured(40, 60)).save(folder / "a.png")
    clips.write_clip(folder / "a.mp4", (0, 33, 66, 1200, 1233))
    clips.turn_clip(clips.write_clip(folder / "phone.mov", (0, 33, 66)), (0, 1), (-1, 0))
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:700])
    return folder


def test_images_and_videos_of_a_folder(
    project: Path, files: Path, run_kedro: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    run_kedro(project, "inference", inference={"images": str(files)}, runtime=FP32)
    output, reporting = project / "data/07_model_output", project / "data/08_reporting"
    assert [path.name for path in (output / "inference/masks").glob("[!.]*")] == ["a.png.png"]
    names = sorted(path.name for path in (output / "inference_videos").glob("[!.]*"))
    assert names == ["a.mp4.csv", "a.mp4.mp4", "phone.csv", "phone.mp4"]
    assert pd.read_csv(reporting / "inference_shares.csv")["image"].tolist() == ["a.png"]
    rejected = pd.read_csv(reporting / "inference_rejected.csv")
    assert [Path(file).name for file in rejected["file"]] == ["broken.mp4"]
    assert rejected["reason"][0].startswith("damaged or unknown video: ")
    assert "Images: 1, videos: 2; model of epoch 7" in caplog.text
    assert "Video a.mp4: 5 frames, 1.3 seconds." in caplog.text

    table = pd.read_csv(output / "inference_videos/a.mp4.csv")
    assert table["frames"].tolist() == [3, 2]
    model = voc_seg.load(project / "data/06_models/best_model.pth", **FP32)
    frames = list(open_video(files / "a.mp4").frames())
    masks = [model.predict(frame.pixels).mask for frame in frames]
    for row, group in ((0, masks[:3]), (1, masks[3:])):
        expected = pd.DataFrame([class_shares(mask, model.classes) for mask in group]).mean()
        assert table.loc[row, list(model.classes.names)].to_numpy(float) == pytest.approx(expected, abs=2e-6)
    overlays = open_video(output / "inference_videos/a.mp4.mp4")
    assert (overlays.height, overlays.width) == (48, 80)
    drawn = list(overlays.frames())
    assert [frame.pts * overlays.time_base for frame in drawn] == [
        frame.pts * open_video(files / "a.mp4").time_base for frame in frames
    ]
    assert np.abs(drawn[0].pixels.astype(int) - frames[0].pixels).mean() > 10  # it is tinted
    phone = open_video(output / "inference_videos/phone.mp4")
    assert (phone.height, phone.width) == (80, 48)


def test_a_video_that_fails_in_the_middle_is_listed_and_the_others_are_done(
    project: Path, files: Path, run_kedro: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = videos.overlay_frames

    def failing(video: VideoFile, *rest: object) -> object:
        frames = whole(video, *rest)
        if video.path.name == "a.mp4":
            yield from islice(frames, 2)
            raise UnreadableVideoError("damaged video: a.mp4 is gone")
        yield from frames

    monkeypatch.setattr("voc_seg.pipelines.inference.nodes.overlay_frames", failing)
    run_kedro(project, "inference", inference={"images": str(files)}, runtime=FP32)
    written = project / "data/07_model_output/inference_videos"
    assert sorted(path.name for path in written.glob("[!.]*")) == ["phone.csv", "phone.mp4"]
    rejected = pd.read_csv(project / "data/08_reporting/inference_rejected.csv")
    assert [Path(file).name for file in rejected["file"]] == ["broken.mp4", "a.mp4"]
    assert "could not be read to its end" in rejected["reason"][1]
    assert "Rejected after 2 frames, although readable at first: damaged video: a.mp4 is gone" in caplog.text


def test_a_clip_alone(project: Path, files: Path, run_kedro: Callable) -> None:
    settings = {"images": str(files / "phone.mov"), "min_confidence": 0.2, "label_next": 3, "formats": "coco"}
    run_kedro(project, "inference", inference=settings, runtime=FP32)
    output, reporting = project / "data/07_model_output", project / "data/08_reporting"
    assert not (output / "inference").exists()
    table = pd.read_csv(output / "inference_videos/phone.csv")
    assert table.columns[-1] == "void" and 0 < table["void"][0] < 1
    assert table.iloc[:, 2:].sum(axis=1).tolist() == pytest.approx([1.0], abs=1e-4)
    shares = pd.read_csv(reporting / "inference_shares.csv")
    assert shares.empty and list(shares.columns[:2]) == ["image", "file"]
    assert not (reporting / "label_next.csv").exists()
    run_kedro(project, "inference", inference={"images": str(files / "a.png")}, runtime=FP32)
    assert not (output / "inference_videos").exists()


def test_what_cannot_be_used_is_refused(
    project: Path, files: Path, run_kedro: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClickException, match=r"None of the given files \(1\) is a readable image or video") as caught:
        run_kedro(project, "inference", inference={"images": str(files / "broken.mp4")})
    assert "broken.mp4 cannot be opened" in str(caught.value)
    with pytest.raises(VocSegError, match=r"a\.mp4 is a video, which has three channels, but data\.channels is 1"):
        check_pictures(ImageFiles({"a": files / "a.mp4"}), DataConfig(channels=1))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ClickException, match=r"a\.mp4 is a video, which needs PyAV: pip install 'voc_seg\[video\]'"):
        run_kedro(project, "inference", inference={"images": str(files / "a.mp4")})


def test_without_the_extra_images_are_segmented(
    project: Path, files: Path, run_kedro: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "a.mp4"):
        shutil.copy(files / name, tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    run_kedro(project, "inference", inference={"images": str(tmp_path)}, runtime=FP32)
    rejected = pd.read_csv(project / "data/08_reporting/inference_rejected.csv")
    assert len(rejected) == 1 and "pip install 'voc_seg[video]'" in rejected["reason"][0]


def test_memory_does_not_grow_with_the_length(
    project: Path, untrained_model: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are decoded as they are needed: at most one batch is ahead of what is written."""
    decoded = 0

    class Endless:
        height, width, time_base = 48, 80, 1 / 30

        def frames(self) -> object:
            nonlocal decoded
            while True:
                decoded += 1
                yield Frame(clips.coloured(48, 80), decoded - 1, 1)

    monkeypatch.setattr(videos, "_MAX_PIXELS", 4 * 48 * 80)
    saved = untrained_model(EvaluationConfig())
    segmenter = load_segmenter(saved, InferenceConfig(), choose_runtime(RuntimeConfig(**FP32)))
    model = voc_seg.load(project / "data/06_models/best_model.pth", **FP32)
    overlays = videos.overlay_frames(Endless(), segmenter, model.classes)  # type: ignore[arg-type]
    for number in range(10):
        one = next(overlays)
        assert one.frame.pts == number and decoded <= number + 4
