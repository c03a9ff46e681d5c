"""Scores and report of one evaluation are of one model; what is said beside the scores."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from voc_seg.config import DataConfig, EvaluationConfig
from voc_seg.errors import VocSegError
from voc_seg.pipelines.evaluation.nodes import summarise, take_model, write_report

NAMES = ["background", "cat"]
FACTS = {"split": "val", "images": 1, "checkpoint_epoch": 3, "images_per_second": 1.0}
CONFUSION = pd.DataFrame(np.array([[3, 1], [0, 2]]), index=pd.Index(NAMES, name="truth"), columns=NAMES)


def best_model(value: float) -> dict[str, Any]:
    return {"model": {"a.weight": torch.full((2, 3), value), "a.count": torch.tensor(5)}, "epoch": 3, "val_miou": 0.5}


def test_scores_say_of_which_model_they_are() -> None:
    digest = take_model(best_model(1.0))["model_digest"]
    assert digest == take_model(best_model(1.0))["model_digest"] != take_model(best_model(2.0))["model_digest"]
    metrics, _ = summarise(CONFUSION, FACTS | {"model_digest": digest})
    assert metrics["model_digest"] == digest
    assert "model_digest" not in summarise(CONFUSION, FACTS)[0]  # of an earlier version


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (FACTS | {"model_digest": "0000"}, "model_digest 0000, not "),
        (FACTS | {"checkpoint_epoch": 1}, "checkpoint_epoch 1, not 3"),
        ({}, "There is no metrics yet"),
    ],
)
def test_no_report_of_two_models(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        write_report(
            None, {}, pd.DataFrame(), pd.DataFrame(), CONFUSION, metrics, take_model(best_model(1.0)), pd.DataFrame(),
            DataConfig(), EvaluationConfig(),
        )  # fmt: skip


def confusion(*rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows), index=["background", "cat", "dog"], columns=["background", "cat", "dog"])


def test_a_score_at_the_baseline_over_fewer_classes_is_warned_of(caplog):
    metrics, _ = summarise(confusion([9, 0, 0], [3, 0, 0], [0, 0, 0]), FACTS)
    assert (metrics["classes_present"], metrics["classes_declared"]) == (2, 3)
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "no better than the baseline" in messages[0]
    assert "mean over 2 of 3 declared classes" in messages[1]


def test_a_score_of_all_classes_is_not(caplog):
    summarise(confusion([9, 0, 0], [0, 3, 0], [0, 1, 2]), FACTS)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
