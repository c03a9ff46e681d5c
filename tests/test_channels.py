"""Data that is not 8-bit RGB, from files to a model, scores, masks of new images and an export."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click import ClickException
from PIL import Image

from voc_seg.config import ModelInput
from voc_seg.models.exchange import read_safetensors
from voc_seg.models.onnx_export import missing_packages
from voc_seg.samples.store import SampleStore

tifffile = pytest.importorskip("tifffile")

Run = Callable[..., None]
pytestmark = [
    pytest.mark.slow,  # the rules have tests of their own; this is everything together
    pytest.mark.usefixtures("narrow_encoder"),
    pytest.mark.usefixtures("blank_figures"),
]

SIDE, IDS = 64, {"train": [f"t{number}" for number in range(8)], "val": ["v0", "v1", "v2"]}
SETTINGS = {
    "augmentation": {"crop_size": 64, "scale": [1, 1]},
    "training": {"epochs": 20, "batch_size": 2, "optimizer": {"learning_rate": 0.02}},
    "evaluation": {"scale": 1, "pictures": 1},
}


def scene(number: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of 12 bits ``(H, W, C)``; a square is bright in the last channel and only there. And its mask."""
    rng = np.random.default_rng(number)
    image, mask = rng.integers(500, 1500, (SIDE, SIDE, channels)), np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(4, 28, 2)
    mask[top : top + 32, left : left + 32] = 1
    image[mask == 1, -1] += 2000
    return image.astype(np.uint16), mask


def make(folder: Path, channels: int, data: dict) -> None:
    """A data set in VOC's layout and an environment ``mine`` for it."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "new"):
        (folder / "fields" / name).mkdir(parents=True)
    for split, ids in IDS.items():
        (folder / f"fields/ImageSets/Segmentation/{split}.txt").write_text("\n".join(ids))
        for number, name in enumerate(ids):
            image, mask = scene(number + 100 * (split == "val"), channels)
            write(folder / f"fields/JPEGImages/{name}.tif", image)
            Image.fromarray(mask).save(folder / f"fields/SegmentationClass/{name}.png")
    write(folder / "fields/new/n.tif", scene(1000, channels)[0])
    (folder / "conf/mine").mkdir()
    (folder / "conf/mine/globals.yml").write_text("source: own\nvoc_root: fields\n")
    (folder / "conf/mine/parameters.yml").write_text(json.dumps({"data": {"classes": ["background", "plant"], **data}}))


def write(path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(path, image.squeeze(), photometric="minisblack", **(
        {"planarconfig": "contig"} if image.shape[2] > 1 else {}
    ))  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path], run_kedro: Run) -> Path:
    """Four bands of 12 bits, trained and evaluated."""
    folder = make_project(tmp_path_factory.mktemp("bands"))
    make(folder, 4, {"channels": 4, "range": [0, 4095]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for names in (["data_processing"], ["training", "evaluation", "export"]):
            run_kedro(folder, *names, env="mine", **SETTINGS)
    return folder


def test_what_only_the_fourth_band_shows_is_learnt(project: Path) -> None:
    scores = pd.read_csv(project / "data/08_reporting/class_scores.csv").set_index("class_name")["iou"]
    assert scores["plant"] > 0.8
    metrics = json.loads((project / "data/08_reporting/metrics.json").read_text())
    assert metrics["miou"] > metrics["all_background_miou"] + 0.3


def test_the_model_records_what_was_measured_on_train(project: Path) -> None:
    images = np.stack([scene(number, 4)[0] for number in range(len(IDS["train"]))])
    scaled = np.rint(images * (255 / 4095)) / 255
    saved = torch.load(project / "data/06_models/best_model.pth", weights_only=True)
    for found in (saved, read_safetensors(project / "data/06_models/export/model.safetensors")):
        found = ModelInput.of(found)
        np.testing.assert_allclose(found.mean, scaled.mean((0, 1, 2)), atol=1e-5)
        np.testing.assert_allclose(found.std, scaled.std((0, 1, 2)), atol=1e-5)
        assert found.range == (0, 4095)
    assert saved["model"]["encoder.conv1.weight"].shape[1] == 4
    store = SampleStore(project / "data/05_model_input/train_samples.arrow")
    np.testing.assert_array_equal(store[3].image, np.rint(images[3] * (255 / 4095)))
    assert SampleStore(project / "data/05_model_input/val_samples.arrow").origin.mean == ()


def test_new_images_are_read_as_in_training(project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    Image.new("RGB", (8, 8)).save(project / "fields/new/rgb.png")
    run_kedro(project, "inference", env="mine", inference={"images": "fields/new"}, **SETTINGS)
    mask = np.asarray(Image.open(project / "data/07_model_output/inference/masks/n.png"))
    truth = scene(1000, 4)[1]
    assert (mask & truth).sum() / (mask | truth).sum() > 0.7
    (row,) = pd.read_csv(project / "data/08_reporting/inference_rejected.csv").itertuples()
    assert "new/rgb.png has 3 bands, but data.channels is 4" in row.reason


def test_the_code_of_the_card_gives_the_masks_of_inference(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    card = (project / "data/06_models/export/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "float32 `(batch, 4, height, width)`, 4 bands as stored in the files" in card
    assert "values of more than 8 bits first from 0..4095 to 0..255" in card
    monkeypatch.chdir(project / "data/06_models/export")
    image, truth = scene(1000, 4)
    write(Path("photo.tif"), image)
    np.save("photo.npy", np.rint(image * (255 / 4095)).astype(np.uint8))
    codes = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    assert len(codes) == 1 + (not missing_packages())
    masks = []
    for code in codes:
        names: dict = {}
        exec(code, names)
        masks.append(names["mask"])
        assert "plant" in capsys.readouterr().out
    assert (masks[0] == truth).mean() > 0.9
    assert (masks[0] == masks[-1]).mean() > 0.99


def test_other_settings_than_those_of_the_samples_are_refused(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    for data, name, message in (
        ({"channels": 3}, "training", r"packed with .*data.channels=4, data.range=\[0, 4095\]; this run has"),
        ({"range": [0, 1023]}, "sanity", r"this run has .*data.channels=4, data.range=\[0, 1023\]"),
        ({"channels": 3}, "evaluation", r"The model was trained with data.channels=4"),
        ({"range": [0, 1023]}, "inference", r"The model was trained with data.channels=4, data.range=\[0.0, 4095.0\]"),
    ):
        with pytest.raises(ClickException, match=message):
            run_kedro(project, name, env="mine", inference={"images": "fields/new"}, data=data, **SETTINGS)


def test_an_image_is_overfitted_by_its_fourth_band(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    run_kedro(project, "sanity", env="mine", **SETTINGS)
    assert json.loads((project / "data/08_reporting/sanity_metrics.json").read_text())["miou"] > 0.9


def test_a_run_is_resumed_with_the_same_statistics_only(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    longer = SETTINGS | {"training": {**SETTINGS["training"], "epochs": 21, "resume": True}}
    with pytest.raises(ClickException, match=r"data\.mean: .* in the checkpoint, \[0\.5, 0\.5, 0\.5, 0\.5\] now"):
        run_kedro(project, "training", env="mine", data={"mean": [0.5] * 4, "std": [0.5] * 4}, **longer)
    run_kedro(project, "training", env="mine", **longer)
    assert len(pd.read_csv(project / "data/08_reporting/training_history.csv")) == 21


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_from_files_to_masks(
    channels: int, tmp_path: Path, make_project: Callable[[Path], Path], run_kedro: Run,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = make_project(tmp_path / "grey")
    make(folder, 1, {"channels": channels})
    monkeypatch.chdir(folder)
    run_kedro(folder, "data_processing", env="mine", **SETTINGS)
    assert "16-bit values all below 16384, so the image is dark: set data.range" in caplog.text
    assert "(images: 8, column note of train_index.parquet)" in caplog.text
    caplog.clear()
    settings = SETTINGS | {"data": {"range": [0, 4095]}}
    for names in (["data_processing"], ["training", "evaluation"]):
        run_kedro(folder, *names, env="mine", **settings)
    run_kedro(folder, "inference", env="mine", inference={"images": "fields/new"}, **settings)
    assert "16-bit values" not in caplog.text
    truth = scene(1000, 1)[1]
    mask = np.asarray(Image.open(folder / "data/07_model_output/inference/masks/n.png"))
    assert (mask & truth).sum() / (mask | truth).sum() > 0.7
