"""The worked example of docs/own_data.md, taken from the page itself."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click import ClickException
from PIL import Image

from voc_seg.config import DataConfig
from voc_seg.scenes.sample import write_scenes

PAGE = (Path(__file__).parents[1] / "docs" / "own_data.md").read_text(encoding="utf-8")
NAMES = ["background", "vehicle", "animal", "furniture", "person"]  # in the order of VOC's indices
Run = Callable[..., None]


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path], run_kedro: Run) -> Path:
    """A project in which the example has been carried out, on fewer scenes."""
    folder = make_project(tmp_path_factory.mktemp("own"))
    write_scenes(folder / "data/01_raw/sample", {"train": 6, "val": 3, "test": 2})
    (command,) = re.findall(r"^kedro (import-data data/01_raw/sample .*)$", PAGE, re.MULTILINE)
    subprocess.run([sys.executable, "-m", "kedro", *shlex.split(command)], cwd=folder, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for names in (["data_processing"], ["training", "evaluation"]):
            run_kedro(folder, *names, env="my_data")
    return folder


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_settings_of_the_page_are_valid(text: str) -> None:
    settings = yaml.safe_load(text)
    assert settings.keys() <= {"source", "voc_root", "data"}
    DataConfig.model_validate(settings.get("data", {}))


def test_the_model_has_as_many_classes(project: Path) -> None:
    best = torch.load(project / "data/06_models/best_model.pth", weights_only=True)
    assert best["class_names"] == NAMES
    assert best["model"]["decoder.classify.weight"].shape[0] == 5


def test_tables_have_the_class_names(project: Path) -> None:
    reporting = project / "data/08_reporting"
    assert pd.read_csv(reporting / "class_statistics.csv")["class_name"].tolist() == NAMES
    assert pd.read_csv(reporting / "class_scores.csv")["class_name"].tolist() == NAMES
    assert pd.read_csv(reporting / "confusion_matrix.csv", index_col="truth").columns.tolist() == NAMES
    assert pd.read_csv(reporting / "rejected_images.csv").empty


def test_model_and_report_bear_the_name_of_the_folder(project: Path) -> None:
    best = torch.load(project / "data/06_models/best_model.pth", weights_only=True)
    assert (best["source"], best["config"]["data"]["name"]) == ("own", "my_data")
    report = (project / "data/08_reporting/report.html").read_text(encoding="utf-8")
    assert '"title":"resnet18 on my_data"' in report
    assert report.count('["source","my_data"]') == 2


@pytest.mark.usefixtures("blank_figures")
def test_a_model_of_another_own_data_set_is_scored_aloud(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(project)
    path = project / "data/06_models/best_model.pth"
    saved = path.read_bytes()
    state = torch.load(path, weights_only=True)
    state["config"]["data"]["name"] = "others"
    torch.save(state, path)
    with caplog.at_level("INFO"):
        run_kedro(project, "evaluation", env="my_data")
    assert "best_model was trained on 'others', but the samples to score are from 'my_data'" in caplog.text
    assert "on the 2 test images, type: kedro run --pipelines evaluation" in caplog.text
    path.write_bytes(saved)


def test_predictions_have_the_class_colours(project: Path) -> None:
    paths = sorted((project / "data/07_model_output/predictions").glob("[!.]*"))
    assert len(paths) == 3
    for path in paths:
        picture = Image.open(path)
        assert picture.getpalette()[:15] == [0, 0, 0, 128, 0, 0, 128, 128, 0, 128, 0, 128, 192, 128, 128]
        assert np.asarray(picture).max() < 5


def test_runs_about_other_classes_refuse_samples_and_model(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    two = {"classes": ["background", "thing"], "values": None}
    for name in ("sanity", "training"):
        with pytest.raises(
            ClickException, match=r"packed for the 5 classes background, vehicle.*2 classes background, t"
        ):
            run_kedro(project, name, env="my_data", data=two)
    with pytest.raises(ClickException, match=r"trained for the 5 classes .*data\.classes are background, thing"):
        run_kedro(project, "evaluation", env="my_data", data=two)


@pytest.mark.usefixtures("blank_figures")
def test_a_repeated_run_reads_nothing_again(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(project)
    store = project / "data/05_model_input/train_samples.arrow"
    before = store.stat()
    with caplog.at_level("INFO"):
        run_kedro(project, "data_processing", env="my_data")
    assert store.stat().st_mtime_ns == before.st_mtime_ns
    assert "train: 6 images, none changed since the last run" in caplog.text
    assert "train_samples.arrow: 6 samples, unchanged" in caplog.text
    # and one that is touched is read again
    path = project / "data/01_raw/sample/VOCdevkit/VOC2012/SegmentationClass/scene_train_0001.png"
    path.write_bytes(path.read_bytes())
    caplog.clear()
    with caplog.at_level("INFO"):
        run_kedro(project, "data_processing", env="my_data")
    assert "train: reading 1 of 6 images" in caplog.text
    assert store.stat().st_mtime_ns > before.st_mtime_ns
