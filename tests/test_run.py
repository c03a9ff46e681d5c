"""The pipelines through Kedro sessions, on a handful of drawn scenes."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click import ClickException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image

from voc_seg.engine import training
from voc_seg.hooks.commands import resume_command
from voc_seg.scenes.sample import write_scenes
from voc_seg.voc.classes import CLASS_NAMES, voc_palette

Run = Callable[..., None]
HISTORY = [
    "epoch", "step", "train_loss", "val_loss", "val_miou", "val_pixel_accuracy", "learning_rate",
    "images_per_second", "data_seconds", "epoch_seconds", "is_best", "val_scale",
    "gpu_peak_bytes", "gpu_reserved_bytes", "val_monitored",
]  # fmt: skip
METRICS = {
    "split", "images", "miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "classes_present",
    "classes_declared", "all_background_miou", "checkpoint_epoch", "images_per_second", "model_digest",
    "device", "precision", "intervals_unreliable", "boundary_iou", "trimap_miou", "ece", "ece_inside", "ece_outline",
    "class_ece", "aurc", "temperature",
}  # fmt: skip
METRICS |= {
    f"{name}_{end}"
    for name in (
        "miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "boundary_iou", "trimap_miou",
    )
    for end in ("low", "high")
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def run(run_kedro: Run) -> Run:
    return run_kedro


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=6, val=3, test=2)


@pytest.fixture(scope="module")
def trained(project: Path, run: Run) -> Path:
    run(project, "training")
    run(project, "evaluation")
    return project


def test_data_processing_writes_index_store_and_statistics(project: Path) -> None:
    data = project / "data"
    assert [len(pd.read_parquet(data / f"02_intermediate/{split}_index.parquet")) for split in ("train", "val")] == [
        6,
        3,
    ]
    assert {path.name for path in (data / "05_model_input").glob("[!.]*")} == {
        f"{split}_samples.arrow" for split in ("train", "val", "test")
    }
    assert len(pd.read_csv(data / "08_reporting/class_statistics.csv")) == len(CLASS_NAMES)
    assert list(pd.read_csv(data / "08_reporting/rejected_images.csv").columns) == ["split", "image_id", "reason"]
    assert (data / "08_reporting/class_distribution.png").stat().st_size > 0


def test_training_writes_checkpoints_best_model_and_history(trained: Path) -> None:
    models = trained / "data/06_models"
    names = sorted(path.name for path in (models / "checkpoints").iterdir())
    assert names == ["checkpoint_epoch_0001.pth", "checkpoint_epoch_0002.pth"]
    checkpoint = torch.load(models / "checkpoints" / names[-1], weights_only=True)
    best = torch.load(models / "best_model.pth", weights_only=True)
    assert checkpoint["epoch"] == 2
    history = pd.read_csv(trained / "data/08_reporting/training_history.csv")
    assert list(history.columns) == HISTORY
    assert best["val_miou"] == pytest.approx(history["val_miou"].max())
    assert best["class_names"] == list(CLASS_NAMES)


def test_evaluation_agrees_with_the_predictions_it_leaves(trained: Path) -> None:
    data = trained / "data"
    metrics = json.loads((data / "08_reporting/metrics.json").read_text())
    assert set(metrics) == METRICS
    confusion = np.zeros((21, 21), dtype=np.int64)
    masks = trained / "voc/VOCdevkit/VOC2012/SegmentationClass"
    predictions = sorted((data / "07_model_output/predictions").glob("[!.]*"))
    assert len(predictions) == metrics["images"] == 3
    for path in predictions:
        picture = Image.open(path)
        assert picture.mode == "P"
        assert picture.getpalette()[:63] == voc_palette()[:21].flatten().tolist()
        truth, prediction = np.array(Image.open(masks / path.name)), np.array(picture)
        assert prediction.shape == truth.shape
        np.add.at(confusion, (truth[truth != 255], prediction[truth != 255]), 1)
    written = pd.read_csv(data / "08_reporting/confusion_matrix.csv", index_col="truth")
    assert list(written.index) == list(written.columns) == list(CLASS_NAMES)
    assert (written.to_numpy() == confusion).all()
    scores = pd.read_csv(data / "08_reporting/class_scores.csv")
    assert metrics["miou"] == pytest.approx(scores["iou"].mean())
    assert metrics["classes_declared"] == len(CLASS_NAMES)
    assert metrics["classes_present"] == scores["iou"].notna().sum()
    history = pd.read_csv(data / "08_reporting/training_history.csv")
    assert metrics["miou"] == pytest.approx(history["val_miou"].max())


def test_evaluation_draws_every_picture(trained: Path) -> None:
    reporting = trained / "data/08_reporting"
    names = {path.name for path in reporting.glob("*.png")}
    assert {"training_curves.png", "class_iou.png", "confusion_figure.png", "prediction_gallery.png"} <= names
    assert len([name for name in names if name.startswith("prediction_scene")]) == 2
    scores = pd.read_csv(reporting / "image_scores.csv")
    assert list(scores.columns) == ["image_id", "miou", "pixel_accuracy", "void_fraction"]


def reported(project: Path) -> dict:
    """The data embedded in the report page."""
    page = (project / "data/08_reporting/report.html").read_text()
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(content)


def test_evaluation_reports_every_image_and_how_the_model_was_trained(trained: Path) -> None:
    reporting = trained / "data/08_reporting"
    found = reported(trained)
    ids = [image["id"] for image in found["images"]]
    assert ids == pd.read_csv(reporting / "image_scores.csv")["image_id"].tolist()
    endings = (".jpg", ".truth.png", ".prediction.png", ".errors.png")
    assert {path.name for path in (reporting / "report_images").glob("[!.]*")} == {
        image_id + ending for image_id in ids for ending in endings
    }
    assert [row["epoch"] for row in found["history"]] == [1, 2]
    assert found["metrics"]["miou"] == json.loads((reporting / "metrics.json").read_text())["miou"]
    settings = {name: dict(values) for name, values in found["settings"]}
    assert settings["Trained on"]["training images"] == "6"
    assert settings["Training"]["batch_size"] == "4"


def test_whatever_was_written_can_be_previewed(trained: Path) -> None:
    """Kedro-Viz writes previews as JSON, and gives the whole graph up over one that it cannot write."""
    with KedroSession.create(trained, runtime_params={"voc_root": str(trained / "voc")}) as session:
        catalog = session.load_context().catalog
        written = {name: catalog.get(name) for name in catalog if catalog.exists(name)}
    previews = {name: json.dumps(data.preview()) for name, data in written.items() if hasattr(data, "preview")}
    assert {"image_confusions", "confidence_bins", "best_model", "report"} <= set(previews)


@pytest.mark.usefixtures("blank_figures")
def test_images_stored_at_another_size_than_those_of_the_training_are_warned_of(
    trained: Path, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    run(project, "data_processing", data={"longer_side": 128})
    run(project, "evaluation", data={"longer_side": 128})
    assert "The model was trained at data.longer_side=null, but these images were stored at" in caplog.text
    metrics = json.loads((project / "data/08_reporting/metrics.json").read_text())
    assert metrics.keys() - METRICS == {"longer_side", "trained_longer_side"}
    assert reported(project)["metrics"]["trained_longer_side"] is None


@pytest.mark.usefixtures("blank_figures")
def test_another_split_can_be_scored(trained: Path, run: Run) -> None:
    run(trained, "evaluation", evaluation={"split": "test"})
    metrics = json.loads((trained / "data/08_reporting/metrics.json").read_text())
    assert (metrics["split"], metrics["images"]) == ("test", 2)
    predictions = (trained / "data/07_model_output/predictions").glob("[!.]*")
    assert {path.stem for path in predictions} == {"scene_test_0001", "scene_test_0002"}
    run(trained, "evaluation")


@pytest.mark.usefixtures("blank_figures")
def test_scoring_a_model_of_other_data_gives_a_warning(
    trained: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained / "data/06_models/best_model.pth"
    saved = path.read_bytes()
    state = torch.load(path, weights_only=True)
    assert state["source"] == "sample"
    torch.save(state | {"source": "voc2007", "val_miou": 0.99}, path)
    run(trained, "evaluation")
    assert "best_model was trained on 'voc2007', but the samples to score are from 'sample'" in caplog.text
    assert reported(trained)["history"] is None  # the history on disk is not that of this model
    path.write_bytes(saved)


def test_an_error_after_the_first_epoch_is_logged_once(
    project: Path, run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 1.0, float("nan")])  # six images in batches of four: the third step is the second epoch's
    monkeypatch.setattr(training, "train_step", lambda *_: next(losses))
    with pytest.raises(ClickException, match="The loss is nan at step 2"):
        run(project, "training")
    output = [record for record in caplog.records if "The loss is nan at step 2" in record.getMessage()]
    assert len(output) == 1


def test_the_resume_command_repeats_the_run() -> None:
    given = {"training": {"epochs": 1, "early_stopping": None}, "seed": 0, "augmentation": {"scale": [0.5, 1]},
             "evaluation": {"flip": True}, "sanity": {"image": "000032"}, "model": {"encoder": "resnet50"}}  # fmt: skip
    params = {"pipeline_names": ["sanity", "training"], "env": "voc2012", "runtime_params": given, "tags": None}
    command = resume_command(params)
    assert command.startswith("kedro run --pipelines sanity,training --env voc2012 --params ")
    (argument,) = shlex.split(command)[-1:]
    assert argument.split(",") == [
        "training.epochs=1", "training.early_stopping=null", "seed=0", "augmentation.scale=0.5 1",
        "evaluation.flip=true", "sanity.image='000032'", "model.encoder=resnet50", "training.resume=true",
    ]  # fmt: skip


@pytest.mark.usefixtures("blank_figures")
def test_resume_continues_after_the_last_epoch(trained: Path, run: Run) -> None:
    drawn = trained / "data/08_reporting/augmented_samples.png"
    before = drawn.stat()
    with pytest.raises(ClickException, match=r"augmentation\.crop_size: 64 in the checkpoint, 80 now"):
        run(trained, "training", training={"epochs": 3, "resume": True}, augmentation={"crop_size": 80})
    run(trained, "training", training={"epochs": 3, "resume": True})
    assert drawn.stat() == before
    history = pd.read_csv(trained / "data/08_reporting/training_history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]


def test_sanity_fails_with_advice_and_leaves_what_to_look_at(project: Path, run: Run) -> None:
    with pytest.raises(ClickException, match=r"mIoU is .* below sanity.pass_miou=0.9") as caught:
        run(project, "sanity", sanity={"epochs": 1})
    assert "sanity.epochs=60" in str(caught.value)
    reporting = project / "data/08_reporting"
    assert json.loads((reporting / "sanity_metrics.json").read_text())["passed"] is False
    assert len(pd.read_csv(reporting / "sanity_history.csv")) == 1
    assert (reporting / "sanity_figure.png").exists()


def test_sanity_passes_with_a_low_threshold(project: Path, run: Run) -> None:
    run(project, "sanity", sanity={"epochs": 2, "pass_miou": 0.0})
    metrics = json.loads((project / "data/08_reporting/sanity_metrics.json").read_text())
    assert {"epochs", "final_loss", "miou", "pixel_accuracy", "passed"} <= set(metrics)
    assert metrics["passed"] is True


def test_a_missing_input_names_the_pipeline_that_makes_it(tmp_path: Path, project: Path, run: Run) -> None:
    shutil.copytree(project, tmp_path / "fresh", ignore=shutil.ignore_patterns("data", "voc"))
    with pytest.raises(ClickException, match="kedro run --pipelines data_processing"):
        run(tmp_path / "fresh", "training")
    with pytest.raises(ClickException, match=r"best_model, made by: kedro run --pipelines training"):
        run(tmp_path / "fresh", "evaluation")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"trainin": {"epochs": 2}}, "trainin: unknown key"),
        ({"training": {"epoch": 2}}, "training.epoch: unknown key"),
        ({"training": {"optimizer": {"learning_rate": -1}}}, "training.optimizer.learning_rate = -1"),
        ({"model": {"encoder": "resnet19"}}, "model.encoder = 'resnet19'"),
        ({"evaluation": {"split": "validation"}}, "evaluation.split = 'validation'"),
    ],
)
def test_wrong_settings_stop_before_the_first_node(project: Path, parameters: dict, message: str, run: Run) -> None:
    with pytest.raises(ClickException, match="nothing has run") as caught:
        run(project, "data_processing", **parameters)
    assert message in str(caught.value)


def test_a_misspelt_pipeline_lists_those_that_exist(project: Path, run: Run) -> None:
    known = r"no pipeline trainig\. Did you mean training\? There are: .*comparison, .*evaluation, .*training"
    with pytest.raises(ClickException, match=known):
        run(project, "trainig")


def test_a_misspelt_environment_lists_those_that_exist(project: Path, run: Run) -> None:
    with pytest.raises(ClickException, match=r"conf/voc2013\. Environments .* are: .*base, .*voc2007, voc2012, voc"):
        run(project, "data_processing", env="voc2013")


def test_voc_root_without_its_recipe_is_mentioned(project: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run(project, "data_processing")
    assert "For the recipe of real VOC, add --env voc2012." in caplog.text


def test_voc_root_in_a_parameters_file_is_not_ignored(tmp_path: Path, project: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("data", "voc"))
    (copy / "conf/local/parameters.yml").write_text("voc_root: somewhere\n")
    bootstrap_project(copy)
    with KedroSession.create(copy) as session, pytest.raises(ClickException, match=r"conf/base/globals\.yml"):
        session.run(pipeline_names=["data_processing"])


def test_an_error_of_a_dataset_reads_as_its_own_message(project: Path, run: Run) -> None:
    with pytest.raises(ClickException, match="No VOC2012 data in"):
        run(project, "data_processing", voc_root=str(project / "nowhere"))


@pytest.mark.usefixtures("blank_figures")
def test_val_is_scored_where_there_are_no_test_images(
    tmp_path: Path, make_project: Callable[[Path], Path], run: Run
) -> None:
    folder = make_project(tmp_path)
    voc = write_scenes(folder / "voc", {"train": 3, "val": 2, "test": 1})
    (voc / "ImageSets/Segmentation/test.txt").unlink()
    for pipeline in ("data_processing", "training", "evaluation"):
        run(folder, pipeline, training={"epochs": 1})
    assert json.loads((folder / "data/08_reporting/metrics.json").read_text())["images"] == 2
