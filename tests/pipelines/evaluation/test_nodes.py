"""What evaluation says beside its scores."""

import numpy as np
import pandas as pd

from voc_seg.pipelines.evaluation.nodes import summarise

FACTS = {"split": "val", "images": 2, "checkpoint_epoch": 1, "images_per_second": 9.0}


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
