"""The inference pipeline through Kedro sessions: good and bad images, with a model from training."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click import ClickException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import ExifTags, Image

from voc_seg.config import ModelConfig
from voc_seg.datasets.model_file import write_state
from voc_seg.engine.inference import Segmenter, load_segmenter
from voc_seg.importing.command import ImportOptions, import_data
from voc_seg.models.registry import build_model
from voc_seg.pipelines.inference import nodes
from voc_seg.reporting.inference import class_shares
from voc_seg.voc.classes import CLASS_NAMES, voc_palette

Run = Callable[..., None]


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path]) -> Path:
    folder = make_project(tmp_path_factory.mktemp("project"))
    torch.manual_seed(0)
    settings = ModelConfig(width=8)
    model = build_model(settings, 21)
    with torch.no_grad():  # the classifier's start is so small that all classes are equally likely
        model.decoder.classify.weight.mul_(50)
    state = {
        "format_version": 1,
        "model": model.state_dict(),
        "model_config": settings.model_dump(mode="json"),
        "class_names": list(CLASS_NAMES),
        "config": {"evaluation": {"scale": 0.5, "flip": False}},
        "image_size": None,
        "source": "sample",
        "epoch": 3,
        "val_miou": 0.5,
    }
    write_state(folder / "data/06_models/best_model.pth", state)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good images and four files that are not images."""
    folder = tmp_path_factory.mktemp("own pictures")
    noise = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    plain = Image.fromarray(noise)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    plain.save(folder / "phone.jpg", exif=exif)
    plain.convert("CMYK").save(folder / "print.jpg")
    plain.save(folder / "print.png")
    plain.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "scan, 16 bits.png")
    plain.resize((1300, 700)).convert("P").save(folder / "large.png")
    (folder / "cut.jpg").write_bytes((folder / "phone.jpg").read_bytes()[:900])
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("my pictures")
    return folder


def infer(run: Run, project: Path, images: object, **settings: object) -> None:
    run(project, "inference", inference={"images": str(images)} | settings)


def test_good_images_are_segmented_and_bad_files_listed(
    project: Path, pictures: Path, run_kedro: Run, caplog: pytest.LogCaptureFixture
) -> None:
    infer(run_kedro, project, pictures)
    output, reporting = project / "data/07_model_output/inference", project / "data/08_reporting"
    names = ["alpha", "large", "phone", "print.jpg", "print.png", "scan, 16 bits"]
    assert sorted(path.stem for path in (output / "masks").glob("[!.]*")) == names
    assert sorted(path.stem for path in (output / "overlays").glob("[!.]*")) == names

    shares = pd.read_csv(reporting / "inference_shares.csv").set_index("image")
    assert sorted(shares.index) == names
    assert list(shares.columns) == ["file", "height", "width", *CLASS_NAMES]
    assert shares.loc["print.jpg", "file"] == str(pictures / "print.jpg")
    for name in names:
        with Image.open(output / "masks" / f"{name}.png") as picture:
            assert picture.mode == "P"
            assert picture.getpalette()[:63] == voc_palette()[:21].flatten().tolist()
            mask = np.array(picture)
        size = {"phone": (80, 48), "large": (700, 1300)}.get(name, (48, 80))  # the phone's was stored lying
        assert mask.shape == size == tuple(shares.loc[name, ["height", "width"]])
        expected = np.bincount(mask.ravel(), minlength=21) / mask.size
        assert shares.loc[name, list(CLASS_NAMES)].to_numpy(float) == pytest.approx(expected, abs=1e-6)

    rejected = pd.read_csv(reporting / "inference_rejected.csv").set_index("file")["reason"]
    reasons = {Path(file).name: reason for file, reason in rejected.items()}
    assert list(reasons) == ["cut.jpg", "empty.png", "notes.txt", "text.jpg"]
    starts = ("truncated image", "empty image", "unreadable image", "unreadable image")
    assert all(reason.startswith(start) for reason, start in zip(reasons.values(), starts))
    assert (reporting / "inference_gallery.png").stat().st_size > 0
    assert "Rejected files: 4 of 10" in caplog.text
    assert "Images segmented: 6, files rejected: 4" in caplog.text


@pytest.mark.parametrize(("longer_side", "warned"), [(64, True), (128, False), (None, True)])
def test_another_reduction_than_that_of_the_data_is_warned_of(
    project: Path, pictures: Path, run_kedro: Run, caplog: pytest.LogCaptureFixture, longer_side: int, warned: bool
) -> None:
    images = {"images": str(pictures / "large.png"), "longer_side": longer_side}
    run_kedro(project, "inference", inference=images, data={"longer_side": 128})
    assert ("Set inference.longer_side=128" in caplog.text) == warned


def test_the_next_run_leaves_only_its_own(project: Path, pictures: Path, run_kedro: Run) -> None:
    infer(run_kedro, project, pictures / "*.webp", tile=128, longer_side=None)
    output, reporting = project / "data/07_model_output/inference", project / "data/08_reporting"
    assert {path.name for path in output.rglob("[!.]*.*")} == {"alpha.png", "alpha.jpg"}
    assert pd.read_csv(reporting / "inference_shares.csv")["image"].tolist() == ["alpha"]
    assert list(pd.read_csv(reporting / "inference_rejected.csv").columns) == ["file", "reason"]


def test_nothing_readable_is_an_error_and_leaves_what_was_there(project: Path, pictures: Path, run_kedro: Run) -> None:
    infer(run_kedro, project, pictures / "print.png")
    with pytest.raises(ClickException, match=r"None of the given files \(2\) is a readable image") as caught:
        infer(run_kedro, project, pictures / "[ct][ue][tx]*.jpg")
    assert "truncated image: " in str(caught.value) and "text.jpg" in str(caught.value)
    assert [path.name for path in (project / "data/07_model_output/inference/masks").glob("[!.]*")] == ["print.png"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("nowhere.jpg", "there is no file or folder"),
        ("*.gif", "no file matches"),
        ("", "kedro run --pipelines inference --params inference.images=PATH"),
        (None, "kedro run --pipelines inference --params inference.images=PATH"),
        (2024, "inference.images = 2024: YAML does not read this as a path"),
    ],
)
def test_wrong_paths_are_refused(project: Path, run_kedro: Run, images: object, message: str) -> None:
    with pytest.raises(ClickException, match=message.replace("*", r"\*")):
        run_kedro(project, "inference", inference={"images": images})


def test_a_model_must_exist_and_have_its_evaluation_settings(
    project: Path, pictures: Path, run_kedro: Run, tmp_path: Path
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    path = copy / "data/06_models/best_model.pth"
    state = torch.load(path, weights_only=True)
    del state["config"]
    torch.save(state, path)
    with pytest.raises(ClickException, match=r"does not say with which evaluation\.scale"):
        infer(run_kedro, copy, pictures)
    path.unlink()
    with pytest.raises(ClickException, match="best_model, made by: kedro run --pipelines training"):
        infer(run_kedro, copy, pictures)


def test_a_path_in_a_parameters_file_is_not_ignored(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "conf/local/parameters.yml").write_text("inference: {images: somewhere}\n")
    bootstrap_project(copy)
    with (
        KedroSession.create(copy) as session,
        pytest.raises(ClickException, match=r"inference\.images in a parameters file has no effect: use --params"),
    ):
        session.run(pipeline_names=["inference"])


def _spoil(folder: Path, kind: str) -> None:
    for path in folder.glob(f"{kind}*"):
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "text":
            path.write_text("hello")
        elif kind == "resized":
            Image.new("RGB", (20, 30)).save(path)


def test_images_that_change_during_a_run_are_rejected(
    project: Path, tmp_path: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["gone", "pipe", "stays", "text", "late gone", "resized"]
    for name in names:
        Image.new("RGB", (60, 40), "green").save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("mine")

    def after_the_check(*arguments: Any) -> Any:
        for kind in ("gone", "pipe", "text"):
            _spoil(tmp_path, kind)
        return load_segmenter(*arguments)

    def after_segmenting(*arguments: Any) -> Any:
        for kind in ("late gone", "resized"):
            _spoil(tmp_path, kind)
        return class_shares(*arguments)

    monkeypatch.setattr(nodes, "load_segmenter", after_the_check)
    monkeypatch.setattr(nodes, "class_shares", after_segmenting)
    infer(run_kedro, project, tmp_path)

    kept = ["late gone", "resized", "stays"]
    output, reporting = project / "data/07_model_output/inference", project / "data/08_reporting"
    for folder in ("masks", "overlays"):
        assert sorted(path.stem for path in (output / folder).glob("[!.]*")) == kept
    assert pd.read_csv(reporting / "inference_shares.csv")["image"].tolist() == kept
    rejected = pd.read_csv(reporting / "inference_rejected.csv").set_index("file")["reason"]
    assert {Path(file).stem: reason.partition(": ")[0] for file, reason in rejected.items()} == {
        "notes": "unreadable image", **dict.fromkeys(["gone", "pipe", "text"], "changed during the run"),
    }  # fmt: skip
    assert caplog.text.count("Rejected, although it was readable at first") == 3
    assert caplog.text.count("Not on the contact sheet") == 2
    assert "Images segmented: 3, files rejected: 4" in caplog.text


def test_a_sheet_on_which_nothing_is_left(
    project: Path, tmp_path: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (60, 40), "green").save(tmp_path / "gone.png")

    def after_segmenting(*arguments: Any) -> Any:
        _spoil(tmp_path, "gone")
        return class_shares(*arguments)

    monkeypatch.setattr(nodes, "class_shares", after_segmenting)
    infer(run_kedro, project, tmp_path)
    with Image.open(project / "data/08_reporting/inference_gallery.png") as sheet:
        assert sheet.height < sheet.width


def test_files_that_spreadsheets_and_terminals_would_obey(
    project: Path, tmp_path: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 40), "green").save("=cmd().png")
    for name in ("+bad.png", "a\n\x1b[2J.png"):
        Path(name).write_text("hello")
    infer(run_kedro, project, "*")
    reporting = project / "data/08_reporting"
    assert pd.read_csv(reporting / "inference_shares.csv")["file"].tolist() == ["./=cmd().png"]
    assert pd.read_csv(reporting / "inference_rejected.csv")["file"].tolist() == ["./+bad.png", r"a\n\x1b[2J.png"]
    assert "\x1b" not in (reporting / "inference_rejected.csv").read_text() + caplog.text


LEAST = 0.3
EVERYTHING = {"confidence": True, "min_confidence": LEAST, "label_next": 4, "formats": "labelme coco"}


def masks_of(project: Path, kind: str = "masks") -> dict[str, np.ndarray]:
    folder = project / "data/07_model_output/inference" / kind
    return {path.stem: np.array(Image.open(path)) for path in sorted(folder.glob("[!.]*.png"))}


def test_everything_at_once_from_one_pass_over_the_images(
    project: Path, pictures: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    infer(run_kedro, project, pictures)
    plain = masks_of(project)
    calls: list[tuple[int, ...]] = []
    predict = Segmenter.predict

    def counted(self: Segmenter, image: np.ndarray) -> Any:
        calls.append(image.shape)
        return predict(self, image)

    monkeypatch.setattr(Segmenter, "predict", counted)
    infer(run_kedro, project, pictures, **EVERYTHING)
    assert len(calls) == len(plain) == 6
    masks, confidence = masks_of(project), masks_of(project, "confidence")
    assert masks.keys() == plain.keys() == confidence.keys() == masks_of(project, "uncertainty").keys()
    unsure = {name: mask == 255 for name, mask in masks.items()}
    assert 0 < sum(one.sum() for one in unsure.values()) < sum(one.size for one in unsure.values())
    for name, mask in masks.items():
        assert (mask[~unsure[name]] == plain[name][~unsure[name]]).all()
        assert confidence[name].shape == mask.shape and confidence[name].dtype == np.uint8
        least = LEAST * 255
        assert (confidence[name][unsure[name]] <= least + 0.5).all()
        assert (confidence[name][~unsure[name]] >= least - 0.5).all()
    reporting = project / "data/08_reporting"
    shares = pd.read_csv(reporting / "inference_shares.csv").set_index("image")
    assert list(shares.columns) == ["file", "height", "width", *CLASS_NAMES, "void"]
    assert shares["void"].to_dict() == pytest.approx({name: one.mean() for name, one in unsure.items()}, abs=1e-6)
    assert shares[[*CLASS_NAMES, "void"]].sum(axis=1).tolist() == pytest.approx([1.0] * 6, abs=1e-4)

    table = pd.read_csv(reporting / "label_next.csv")
    assert list(table.columns) == ["rank", "image", "file", "uncertainty", "distance"]
    assert table["rank"].tolist() == [1, 2, 3, 4] and table["image"].is_unique
    assert table["uncertainty"].between(0, 1).all() and table["distance"].isna().tolist() == [True, False, False, False]
    page = (reporting / "label_next.html").read_text()
    assert all(name in page for name in table["image"])
    assert "Images to label next: 4 of 6." in caplog.text and "label_next.html. Next" in caplog.text
    first = (reporting / "label_next.csv").read_bytes()
    infer(run_kedro, project, pictures, **EVERYTHING)
    assert (reporting / "label_next.csv").read_bytes() == first

    infer(run_kedro, project, pictures)
    assert all(np.array_equal(mask, plain[name]) for name, mask in masks_of(project).items())
    output = project / "data/07_model_output"
    assert sorted(path.name for path in (output / "inference").glob("[!.]*")) == ["masks", "overlays"]
    assert not (output / "inference_annotations").exists()
    assert not list(reporting.glob("label_next*"))


@pytest.mark.parametrize("layout", ["labelme", "coco"])
def test_exported_masks_are_imported_again(project: Path, run_kedro: Run, tmp_path: Path, layout: str) -> None:
    """What import-data reads equals the predicted masks: of run lengths to the pixel, of polygons near enough."""
    images = tmp_path / "photos"
    images.mkdir()
    rng = np.random.default_rng(1)
    for number in range(8):
        noise = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
        noise.resize((180, 120), Image.Resampling.BICUBIC).save(images / f"{number}.png")
    infer(run_kedro, project, images, formats=layout, min_confidence=LEAST, longer_side=None)
    predicted = masks_of(project)
    annotations = project / "data/07_model_output/inference_annotations"
    folder = annotations / "labelme"
    if layout == "coco":
        folder = images
        shutil.copy(annotations / "coco.json", images)
    imported = import_data(project, ImportOptions(folder, f"again_{layout}", test=0))
    assert imported.layout == layout
    assert not [one for one in imported.findings if one.severity == "error"]
    names = imported.plan.names
    wrong = total = 0
    for one in imported.facts:
        mask = predicted[one.source.image.stem]
        stored = imported_mask(project, f"again_{layout}", one.image_id)
        found = np.array([CLASS_NAMES.index(name) for name in names])[stored]
        wrong += np.count_nonzero(found != np.where(mask == 255, 0, mask))
        total += mask.size
    assert len(imported.facts) == 8 and any((mask == 255).any() for mask in predicted.values())
    assert wrong == 0 if layout == "coco" else wrong < 0.01 * total


def imported_mask(project: Path, name: str, image_id: str) -> np.ndarray:
    table = pd.read_csv(project / "data/01_raw" / name / "images.csv", dtype=str)
    (row,) = table[table["image"].str.contains(rf"(?:^|/){image_id}\.", regex=True)].itertuples()
    return np.array(Image.open(project / "data/01_raw" / name / row.mask))


def test_files_of_labelme_name_their_images(project: Path, pictures: Path, run_kedro: Run) -> None:
    infer(run_kedro, project, pictures, formats="labelme")
    folder = project / "data/07_model_output/inference_annotations/labelme"
    names = sorted(path.stem for path in folder.glob("[!.]*.json"))
    assert names == ["alpha", "large", "phone", "print.jpg", "print.png", "scan, 16 bits"]
    for name in names:
        document = json.loads((folder / f"{name}.json").read_text())
        assert (folder / document["imagePath"]).resolve().is_file()
        mask = masks_of(project)[name]
        assert (document["imageHeight"], document["imageWidth"]) == mask.shape


def test_uncertainty_that_was_not_computed_cannot_be_used(project: Path, pictures: Path, run_kedro: Run) -> None:
    infer(run_kedro, project, pictures)
    bootstrap_project(project)
    settings = {"inference": {"images": str(pictures), "label_next": 3}}
    with (
        KedroSession.create(project, runtime_params=settings) as session,
        pytest.raises(ClickException, match=r"the masks are of a run without it.*inference\.label_next=3"),
    ):
        session.run(
            pipeline_names=["inference"], from_nodes=["check_pictures"], node_names=["check_pictures", "suggest_images"]
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_confidence": 1.5}, r"inference\.min_confidence = 1\.5: Input should be less than or equal to 1"),
        ({"label_next": -1}, r"inference\.label_next = -1: Input should be greater than or equal to 0"),
        ({"formats": "cvat"}, r"inference\.formats.*Input should be 'labelme' or 'coco'"),
    ],
)
def test_settings_that_make_no_sense(project: Path, run_kedro: Run, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ClickException, match=message):
        infer(run_kedro, project, "nowhere", **settings)
