"""Folds of train from end to end: training without one, its evaluation, resuming, and sweeps over all of them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from click import ClickException

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
