"""Folds of train from end to end: training without one, its evaluation, resuming, and sweeps over all of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from click import ClickException

from voc_seg.metrics.confusion import mean_iou
from voc_seg.models.exchange import model_digest, read_safetensors
from voc_seg.models.registry import restore_model
from voc_seg.pipelines.export import nodes as export
from voc_seg.samples.store import SampleStore

pytestmark = pytest.mark.usefixtures("narrow_encoder", "blank_figures")


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path], run_kedro: Callable[..., None]) -> Path:
    """A project with the run ``one``, which was trained without the first of three folds and scored on it."""
    folder = prepare_project(train=9, val=2, test=1)
    run_kedro(folder, "training", "evaluation", run="one", **_fold("1/3"), evaluation={"split": "fold"})
    return folder


def _fold(fold: str, **more: object) -> dict:
    return {"training": {"fold": fold, "epochs": 1} | more}


def test_a_fold_is_held_out_of_training_and_scored(project: Path) -> None:
    train = SampleStore(project / "data/05_model_input/train_samples.arrow").ids
    folder = project / "data/runs/one"
    scored = pd.read_csv(folder / "08_reporting/image_scores.csv")["image_id"].tolist()
    assert len(scored) == 3 and set(scored) < set(train)
    assert [one for one in train if one in scored] == scored
    saved = torch.load(folder / "06_models/best_model.pth", weights_only=True)
    assert (saved["config"]["training"]["fold"], saved["config"]["data"]["images"]) == ("1/3", 6)
    assert saved["config"]["data"]["val_images"] == 3
    metrics = pd.read_json(folder / "08_reporting/metrics.json", typ="series")
    assert (metrics["split"], metrics["images"]) == ("fold 1/3", 3)
    assert metrics["miou"] == pytest.approx(saved["val_miou"])  # as validated
    assert "fold 1/3" in (folder / "08_reporting/report.html").read_text(encoding="utf-8")


def test_resuming_with_another_fold_is_refused(project: Path, run_kedro: Callable) -> None:
    with pytest.raises(ClickException, match=r"training.fold: 1/3 in the checkpoint, 2/3 now[\s\S]*Use that run's set"):
        run_kedro(project, "training", run="one", **_fold("2/3", resume=True, epochs=2))
    with pytest.raises(ClickException, match=r"training.fold: 1/3 in the checkpoint, None now"):
        run_kedro(project, "training", run="one", training={"resume": True, "epochs": 2})
    run_kedro(project, "training", run="one", **_fold("1/3", resume=True, epochs=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (_fold("4/3"), r"training.fold = '4/3'.*as in 2/5"),
        (_fold("1/1"), r"training.fold = '1/1'.*at least 2"),
        (_fold("2 of 3"), r"training.fold = '2 of 3'"),
        (_fold("2/12"), r"12 folds need 12 images or groups of images, but train has 9 images\. Use fewer folds"),
    ],
)
def test_folds_that_do_not_exist_are_refused(project: Path, run_kedro: Callable, settings: dict, message: str) -> None:
    with pytest.raises(ClickException, match=message):
        run_kedro(project, "training", run="other", **settings)


def test_the_fold_of_a_model_trained_without_folds_is_refused(project: Path, run_kedro: Callable) -> None:
    run_kedro(project, "training", run="whole", training={"epochs": 1})
    with pytest.raises(ClickException, match=r"the model was not trained with training\.fold\. Score it on val"):
        run_kedro(project, "evaluation", run="whole", evaluation={"split": "fold"})


@pytest.fixture(scope="module")
def pooled(project: Path, run_kedro: Callable[..., None]) -> Path:
    """The project with a scored run on every fold, and their ensemble."""
    for number in (1, 2, 3):
        settings = _fold(f"{number}/3") | {"evaluation": {"split": "fold"}}
        run_kedro(project, "training", "evaluation", run=f"fold-{number}", **settings)
    run_kedro(project, "ensemble", "evaluation", run="joined", ensemble={"runs": "fold-*"})
    run_kedro(project, "folds", comparison={"runs": "fold-* joined"})
    return project


def test_the_folds_are_pooled_beside_their_ensemble(pooled: Path) -> None:
    table = pd.read_csv(pooled / "data/08_reporting/folds.csv", keep_default_na=False)
    assert table["scored_on"].tolist() == ["fold 1/3", "fold 2/3", "fold 3/3", "all folds", "val"]
    assert table["images"].tolist() == [3, 3, 3, 9, 2]
    assert table["run"].tolist() == ["fold-1", "fold-2", "fold-3", "", "joined"]
    parts = [
        pd.read_csv(pooled / f"data/runs/fold-{n}/08_reporting/confusion_matrix.csv", index_col=0) for n in (1, 2, 3)
    ]
    assert float(table["miou"].iloc[3]) == pytest.approx(mean_iou(sum(part.to_numpy() for part in parts)))
    classes = pd.read_csv(pooled / "data/08_reporting/folds_class_scores.csv")
    assert classes["true_pixels"].sum() == sum(part.to_numpy().sum() for part in parts)
    assert (pooled / "data/08_reporting/folds.png").stat().st_size > 0


def test_the_ensemble_is_scored_like_any_model(pooled: Path, run_kedro: Callable, caplog) -> None:
    folder = pooled / "data/runs/joined"
    saved = torch.load(folder / "06_models/best_model.pth", weights_only=True)
    members = [
        restore_model(torch.load(pooled / f"data/runs/fold-{n}/06_models/best_model.pth", weights_only=True))
        for n in (1, 2, 3)
    ]
    images = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mean = torch.stack([member(images).softmax(1) for member in members]).mean(0)
        torch.testing.assert_close(restore_model(saved)(images).softmax(1), mean, rtol=0, atol=1e-6)
    metrics = json.loads((folder / "08_reporting/metrics.json").read_text())
    assert (metrics["split"], metrics["images"]) == ("val", 2)
    assert metrics["model_digest"] == model_digest(saved)
    report = (folder / "08_reporting/report.html").read_text(encoding="utf-8")
    assert "fold-1, fold-2, fold-3" in report
    with caplog.at_level("INFO"):
        run_kedro(pooled, "comparison", comparison={"runs": "fold-* joined"})
    runs = pd.read_csv(pooled / "data/08_reporting/runs.csv").set_index("run")
    assert runs.loc["joined", "val_miou"] == pytest.approx(metrics["miou"])
    assert "Validated on folds of train, not on val" in caplog.text
    assert "validated differently" not in caplog.text and "Not compared" not in caplog.text


def test_the_ensemble_is_exported_and_segments_images(pooled: Path, run_kedro: Callable, monkeypatch) -> None:
    monkeypatch.setattr(export, "_to_onnx", lambda *_: (b"", b"", {}))  # tests/models/test_ensemble.py exports one
    images = str(pooled / "voc/VOCdevkit/VOC2012/JPEGImages")
    run_kedro(pooled, "export", "inference", run="joined", inference={"images": images})
    folder = pooled / "data/runs/joined"
    card = (folder / "06_models/export/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "An ensemble of 3 SegmentationNets" in card and "9 training images in 3 folds" in card
    exported = read_safetensors(folder / "06_models/export/model.safetensors")
    assert [one["run"] for one in exported["members"]] == ["fold-1", "fold-2", "fold-3"]
    assert len(list((folder / "07_model_output/inference/masks").glob("*.png"))) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ensemble": {"runs": "fold-*"}}, r"An ensemble needs a name.*--params run=ensemble"),
        ({"run": "e"}, r"ensemble.runs does not say which runs to join\. Runs: .*fold-1"),
        ({"run": "fold-2", "ensemble": {"runs": "fold-*"}}, r"The run fold-2 has been trained, and the ensemble would"),
        ({"run": "e", "ensemble": {"runs": "fold-1 nobody"}}, "no run with a model is called nobody"),
        ({"run": "e", "ensemble": {"runs": "fold-1 fold-3"}}, r"The ensemble lacks fold 2/3: its runs are fold-1 1/3"),
    ],
)
def test_ensembles_that_cannot_be_made(pooled: Path, run_kedro: Callable, settings: dict, message: str) -> None:
    with pytest.raises(ClickException, match=message):
        run_kedro(pooled, "ensemble", **settings)
    assert not (pooled / "data/runs/e/06_models/best_model.pth").exists()


def test_nothing_to_pool(pooled: Path, run_kedro: Callable) -> None:
    with pytest.raises(ClickException, match=r"There is nothing to pool.*kedro sweep --folds 5"):
        run_kedro(pooled, "folds", comparison={"runs": "fold-1 fold-2"})
