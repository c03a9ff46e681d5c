"""Outputs that are shown together are of one model and one evaluation."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from voc_seg.datasets.predictions import MaskFolder
from voc_seg.metrics import confusion as scores
from voc_seg.models.exchange import merge_evaluation
from voc_seg.reporting.report import matching_history
from voc_seg.reporting.report_images import class_ious
from voc_seg.reporting.same_evaluation import require_same_counts, require_same_images, require_same_mask
from voc_seg.system.errors import VocSegError

NAMES = ["background", "cat", "dog"]


def confusion(*rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows), index=pd.Index(NAMES, name="truth"), columns=NAMES)


ONE, OTHER = confusion([9, 1, 0], [2, 3, 0], [0, 0, 0]), confusion([9, 1, 0], [3, 2, 0], [0, 0, 0])


def test_scores_must_follow_from_the_counts() -> None:
    metrics = scores.summarise(ONE.to_numpy())
    table = scores.class_scores(ONE.to_numpy(), NAMES)
    require_same_counts(metrics, ONE, table)
    require_same_counts({"miou": metrics["miou"]}, ONE)  # of an earlier version, with fewer scores
    with pytest.raises(VocSegError, match=r"metrics\.json and confusion_matrix\.csv are .*--pipelines evaluation"):
        require_same_counts(metrics, OTHER, table)
    with pytest.raises(VocSegError, match=r"class_scores\.csv and confusion_matrix\.csv are from diff"):
        require_same_counts(scores.summarise(OTHER.to_numpy()), OTHER, table)


@pytest.mark.parametrize(
    ("masks", "scored", "message"),
    [
        (["a", "b", "of somebody else"], ["a", "b"], None),
        (["a"], ["a", "b"], "predictions lack 1 of the images of evaluation.split, such as b"),
        (["a", "b"], ["a"], "image_scores.csv lacks 1 of the images"),
        (["a", "b", "c"], ["a", "b", "c"], "image_scores.csv has 1 image not in evaluation.split, such as c"),
    ],
)
def test_masks_and_scores_are_of_the_split(masks: list[str], scored: list[str], message: str | None) -> None:
    table = pd.DataFrame({"image_id": scored})
    if message is None:
        require_same_images(["a", "b"], dict.fromkeys(masks), table)
        return
    with pytest.raises(VocSegError, match=message):
        require_same_images(["a", "b"], dict.fromkeys(masks), table)


def test_masks_are_found_whatever_form_of_unicode_a_folder_lists(tmp_path: Path) -> None:
    """Some Macs list é as e and an accent, but find the file under either name."""

    class Decomposed(MaskFolder):
        def __iter__(self) -> Iterator[str]:
            return (unicodedata.normalize("NFD", name) for name in super().__iter__())

    (tmp_path / "café.png").write_bytes(b"")
    require_same_images(["café"], Decomposed(tmp_path), pd.DataFrame({"image_id": ["café"]}))


def test_a_mask_must_have_the_score_of_the_table() -> None:
    truth, mask = np.array([[0, 0], [1, 255]], np.uint8), np.array([[0, 1], [1, 1]], np.uint8)
    ious = [iou for _, iou in class_ious("a", truth, mask, 3)]
    require_same_mask("a", ious, 0.5)
    require_same_mask("b", [], float("nan"))
    with pytest.raises(VocSegError, match=r"a has mIoU 0\.9 in the table, but 0\.5 by its mask"):
        require_same_mask("a", ious, 0.9)
    with pytest.raises(VocSegError, match="a has mIoU none in the table"):
        require_same_mask("a", ious, None)
    with pytest.raises(VocSegError, match=r"the mask of a has size \(2, 1\), the image \(2, 2\)"):
        class_ious("a", truth, mask[:, :1], 3)


@pytest.mark.parametrize(
    ("facts", "one"),
    [
        ({"images_per_second": 1.5, "model_digest": "a"}, True),
        ({"images_per_second": 1.5, "model_digest": "b"}, False),
        ({"images_per_second": 1.25, "model_digest": "a"}, False),
        ({}, False),
    ],
)
def test_scores_and_facts_of_two_evaluations_are_none(facts: dict[str, Any], one: bool) -> None:
    """Otherwise the facts of a new model would make the old scores look like its own."""
    metrics = {"images_per_second": 1.5, "model_digest": "a", "miou": 0.5}
    assert merge_evaluation(metrics, facts) == (metrics if one else {})
    assert merge_evaluation({}, {}) == {}


@pytest.mark.parametrize(("loss", "own"), [(0.75, True), (0.5, False), (None, True)])
def test_runs_that_learn_nothing_are_told_apart_by_their_loss(loss: float | None, own: bool) -> None:
    history = pd.DataFrame({"epoch": [1], "val_miou": [0.035], "val_loss": [0.75], "is_best": [True]})
    assert matching_history({"epoch": 1, "val_miou": 0.035, "val_loss": loss}, history).empty is not own
