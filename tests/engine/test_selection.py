"""Which network becomes the model: training.select and training.monitor."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine import training
from voc_seg.engine.evaluation import Score
from voc_seg.engine.prediction import predict_all
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import fit
from voc_seg.metrics.boundaries import count_boundaries
from voc_seg.metrics.counts import Counts
from voc_seg.models.registry import restore_model
from voc_seg.pipelines.training.nodes import check_classes
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

Make = Callable[..., Parameters]

pytestmark = pytest.mark.usefixtures("narrow_encoder")


def _score(background: float, plane: float) -> Score:
    """A score with these IoU of the first two classes; the others are absent."""
    hits, found = round(100 * background), round(100 * plane)
    confusion = np.zeros((21, 21), dtype=np.int64)
    confusion[0, :3], confusion[1, :3] = [hits, 0, 100 - hits], [0, found, 100 - found]
    return Score(confusion, 1.0)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, train_store: SampleStore, val_store: SampleStore, make_parameters: Make
) -> Callable[..., list[EpochReport]]:
    """Train without computing, with these validation scores."""

    def play(scores: list[Score], checkpoint: dict[str, Any] | None = None, **options: Any) -> list[EpochReport]:
        script = iter(scores)
        monkeypatch.setattr(training, "train_step", lambda *_: torch.tensor(0.5))
        monkeypatch.setattr(training, "validate", lambda *_: next(script))
        parameters = make_parameters(training={"epochs": len(scores), **options})
        reports: Iterator[EpochReport] = fit(train_store, val_store, CLASS_NAMES, parameters, checkpoint)
        return [report for report in reports if report.checkpoint.get("epoch") != 0]

    return play


def _models(reports: list[EpochReport]) -> list[int]:
    return [report.best_model["epoch"] for report in reports if report.best_model]


FALLING = [_score(0.9, 0.2), _score(0.5, 0.4), _score(0.4, 0.3)]


def test_the_epoch_is_chosen_by_the_class_that_is_monitored(run: Callable) -> None:
    assert _models(run(FALLING)) == [1]
    reports = run(FALLING, monitor="class:aeroplane")
    assert _models(reports) == [1, 2]
    assert [row["val_monitored"] for row in reports[-1].history] == [0.2, 0.4, 0.3]
    miou = training.mean_iou(FALLING[1].confusion)
    assert reports[1].best_model["val_miou"] == reports[-1].checkpoint["best_miou"] == miou


def test_a_resumed_run_remembers_the_best_score_by_what_is_monitored(run: Callable) -> None:
    options = {"monitor": "class:aeroplane", "early_stopping": 2}
    first = run(FALLING[1:], **options)[-1].checkpoint
    resumed = run([_score(1.0, 0.35), _score(0.0, 0.5)], first, **options | {"epochs": 4})
    assert _models(resumed) == [], "0.35 is no better than 0.4, and the second validation without a gain ends it"
    assert len(resumed[-1].history) == 3


def test_another_score_cannot_be_monitored_from_a_checkpoint_on(run: Callable) -> None:
    first = run(FALLING[:1])[-1].checkpoint
    with pytest.raises(VocSegError, match=r"training\.monitor: miou in the checkpoint, class:cat now"):
        run(FALLING, first, monitor="class:cat")


@pytest.mark.parametrize("options", [{"select": "last"}, {"select": "ema", "ema_decay": 0.5}])
def test_the_last_epoch_is_the_model_if_it_is_selected(run: Callable, options: dict[str, Any]) -> None:
    reports = run(FALLING, **options)
    assert _models(reports) == [1, 2, 3], "so that there is a model if the run is stopped"
    assert reports[-1].best_model["val_miou"] == training.mean_iou(FALLING[-1].confusion)
    assert reports[-1].checkpoint["best_epoch"] == 3


def test_the_moving_average_is_what_is_selected(
    train_store: SampleStore, val_store: SampleStore, make_parameters: Make
) -> None:
    parameters = make_parameters(training={"epochs": 2, "select": "ema", "ema_decay": 0.9})
    last = list(fit(train_store, val_store, CLASS_NAMES, parameters))[-1]
    weights = {name: value for name, value in last.best_model["model"].items() if name.endswith("weight")}
    assert all(torch.equal(value, last.checkpoint["ema"][f"module.{name}"]) for name, value in weights.items())
    assert not all(torch.equal(value, last.checkpoint["model"][name]) for name, value in weights.items())


@pytest.mark.parametrize("frozen", [0, "all"])
def test_boundary_iou_is_that_of_the_evaluation(
    train_store: SampleStore, val_store: SampleStore, make_parameters: Make, frozen: int | str
) -> None:
    options = {"epochs": 1, "monitor": "boundary_iou", "frozen_stages": frozen}
    parameters = make_parameters(training=options)
    report = list(fit(train_store, val_store, CLASS_NAMES, parameters))[-1]
    model = restore_model(report.best_model).eval()
    total: Counts | None = None
    for one in predict_all(model, val_store, parameters.evaluation, choose_runtime(parameters.runtime)):
        truth = next(sample.mask for sample in val_store if sample.id == one.id)
        boundary = count_boundaries(truth, one.mask, len(CLASS_NAMES)).boundary
        total = total + boundary if total else boundary
    assert total is not None
    assert report.history[-1]["val_monitored"] == pytest.approx(float(total.miou()), abs=1e-3 if frozen else 1e-12)


def test_a_class_that_val_lacks_cannot_choose_an_epoch() -> None:
    index = pd.DataFrame({"rejected": [""], "background": [5], "cat": [1], "dog": [0]})
    with pytest.raises(VocSegError, match="monitor is class:dog, but no usable image of val"):
        check_classes({"val": index}, ("background", "cat", "dog"), "dog")


def test_a_class_that_no_pixel_has_scores_nothing() -> None:
    assert _score(0.5, 0.5).monitored("class:cat", CLASS_NAMES) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "class:cta"}, "there is no class cta. Did you mean class:cat"),
        ({"monitor": "accuracy"}, "monitor"),
        ({"select": "ema"}, "set ema_decay"),
        ({"select": "last", "ema_decay": 0.9}, "choose select=ema"),
        ({"select": "last", "early_stopping": 3}, "choose early_stopping=null"),
    ],
)
def test_what_cannot_be_selected_is_refused(make_parameters: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_parameters(training=options)
