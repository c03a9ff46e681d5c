"""Scores and report of an evaluation belong to one model; warnings about scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader

from voc_seg.config import DataConfig, EvaluationConfig
from voc_seg.metrics.boundaries import count_boundaries, to_columns
from voc_seg.metrics.calibration import BINS, FINE, Calibration, to_rows
from voc_seg.metrics.counts import to_table
from voc_seg.models.exchange import take_model
from voc_seg.pipelines.evaluation import create_pipeline
from voc_seg.pipelines.evaluation.nodes import draw_scores, summarise, write_report
from voc_seg.settings import CONFIG_LOADER_ARGS
from voc_seg.system.errors import VocSegError

NAMES = ["background", "cat"]
FACTS = {"split": "val", "images": 1, "checkpoint_epoch": 3, "images_per_second": 1.0}
NO_IMAGES = pd.DataFrame()
CONFUSION = pd.DataFrame(np.array([[3, 1], [0, 2]]), index=pd.Index(NAMES, name="truth"), columns=NAMES)


def best_model(value: float) -> dict[str, Any]:
    return {"model": {"a.weight": torch.full((2, 3), value), "a.count": torch.tensor(5)}, "epoch": 3, "val_miou": 0.5}


def test_scores_say_of_which_model_they_are() -> None:
    digest = take_model(best_model(1.0))["model_digest"]
    assert digest == take_model(best_model(1.0))["model_digest"] != take_model(best_model(2.0))["model_digest"]
    metrics, _ = summarise(CONFUSION, FACTS | {"model_digest": digest}, NO_IMAGES, NO_IMAGES)
    assert metrics["model_digest"] == digest
    assert "model_digest" not in summarise(CONFUSION, FACTS, NO_IMAGES, NO_IMAGES)[0]  # of an earlier version


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (FACTS | {"model_digest": "0000"}, "model_digest 0000, not "),
        (FACTS | {"checkpoint_epoch": 1}, "checkpoint_epoch 1, not 3"),
        ({}, "metrics is missing"),
    ],
)
def test_no_report_of_two_models(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        write_report(
            None, {}, pd.DataFrame(), pd.DataFrame(), CONFUSION, metrics, take_model(best_model(1.0)), pd.DataFrame(),
            DataConfig(), EvaluationConfig(), NO_IMAGES,
        )  # fmt: skip


def test_figures_of_two_evaluations_are_refused() -> None:
    metrics, class_scores = summarise(CONFUSION, FACTS, NO_IMAGES, NO_IMAGES)
    with pytest.raises(VocSegError, match="are from different evaluations"):
        draw_scores(class_scores, metrics, CONFUSION.T, NO_IMAGES)


def test_an_evaluation_that_is_killed_leaves_no_scores_of_another() -> None:
    """Kedro saves in the order of the outputs: the masks, whose dataset deletes old scores, come first."""
    (node,) = [node for node in create_pipeline().nodes if node.name == "evaluate"]
    assert node.outputs[0] == "predictions"
    assert node.outputs[-1] == "evaluation_facts"
    catalog = OmegaConfigLoader(str(Path(__file__).parents[3] / "conf"), **CONFIG_LOADER_ARGS)["catalog"]
    outdated = catalog["predictions"]["outdates"]
    assert outdated == {name: {"filepath": catalog[name]["filepath"]} for name in ("metrics", "evaluation_facts")}


def confusion(*rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows), index=["background", "cat", "dog"], columns=["background", "cat", "dog"])


def test_a_score_at_the_baseline_over_fewer_classes_is_warned_of(caplog):
    metrics, _ = summarise(confusion([9, 0, 0], [3, 0, 0], [0, 0, 0]), FACTS, NO_IMAGES, NO_IMAGES)
    assert (metrics["classes_present"], metrics["classes_declared"]) == (2, 3)
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "no better than the baseline" in messages[0]
    assert "practically not learnt" in messages[1]
    assert "mean over 2 of 3 declared classes" in messages[2]


def test_a_pixel_accuracy_below_the_baseline_is_warned_of(caplog):
    summarise(confusion([1, 8, 0], [0, 3, 0], [0, 0, 2]), FACTS, NO_IMAGES, NO_IMAGES)
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert message.startswith("Pixel accuracy 0.429 on val is below the baseline")


def test_a_score_of_all_classes_is_not(caplog):
    summarise(confusion([9, 0, 0], [0, 3, 0], [0, 1, 2]), FACTS, NO_IMAGES, NO_IMAGES)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


MASKS = [
    (np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8)),  # truth and prediction
    (np.array([[0, 0]], np.uint8), np.array([[0, 1]], np.uint8)),
]
TWO_IMAGES = to_table(["a", "b"], [np.array([[2, 0], [0, 2]]), np.array([[1, 1], [0, 0]])]).join(
    to_columns(count_boundaries(truth, prediction, 2) for truth, prediction in MASKS)
)


def test_scores_have_intervals_over_images(caplog):
    metrics, class_scores = summarise(CONFUSION, FACTS, TWO_IMAGES, NO_IMAGES)
    for name in ("miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "boundary_iou"):
        assert 0 < metrics[f"{name}_low"] < metrics[name] < metrics[f"{name}_high"] < 1
    # Images of one row are all boundary. The trimap has only the first image, as the other's truth has none.
    assert metrics["boundary_iou"] == metrics["miou"]
    assert (metrics["trimap_miou"], metrics["trimap_miou_low"]) == (1.0, None)
    assert list(class_scores.columns[-3:]) == ["iou_low", "iou_high", "boundary_iou"]
    assert metrics["intervals_unreliable"] == "there are only 2 images"
    assert "The 95 % intervals on val are unreliable: there are only 2 images." in caplog.text


def test_images_of_one_group_are_one_part():
    metrics, _ = summarise(CONFUSION, FACTS, TWO_IMAGES.assign(group=["clip", "clip"]), NO_IMAGES)
    assert (metrics["image_groups"], metrics["miou_low"]) == (1, None)
    assert metrics["intervals_unreliable"] == "there is only 1 group of images"


def test_the_calibration_is_in_the_scores_and_belongs_to_them():
    top = np.zeros((2, FINE, 3))
    top[0, FINE // 2] = [4, 2, 1]
    bins = to_rows(Calibration(top, np.zeros((2, BINS, 3))), NAMES)
    metrics, class_scores = summarise(CONFUSION, FACTS, TWO_IMAGES, bins)
    assert metrics["ece"] == pytest.approx(0.25)
    draw_scores(class_scores, metrics, CONFUSION, bins)
    with pytest.raises(VocSegError, match=r"confidence_bins\.parquet and metrics\.json are from different evaluations"):
        draw_scores(class_scores, metrics, CONFUSION, bins.assign(right=2))


def test_counts_of_another_evaluation_are_refused():
    with pytest.raises(VocSegError, match=r"image_confusions\.parquet and confusion_matrix.csv are from different"):
        summarise(CONFUSION.T, FACTS, TWO_IMAGES, NO_IMAGES)
