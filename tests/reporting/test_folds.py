"""Scores of folds are pooled only where every image of train is scored once; the sum of the matrices is the score."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_seg.metrics.confusion import class_iou, mean_iou, precision
from voc_seg.metrics.counts import Counts, to_table
from voc_seg.metrics.intervals import score_intervals
from voc_seg.reporting.folds import (
    FoldRun,
    ensembles_of,
    fold_class_table,
    fold_run,
    fold_table,
    fold_text,
    pool,
)
from voc_seg.reporting.folds_figure import plot_folds

NAMES = ("background", "cat", "dog")


def matrices(images: int, seed: int) -> np.ndarray:
    """Confusion matrices of images; the last class is in few of them."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 50, (images, 3, 3)) + 100 * np.eye(3, dtype=int)
    found[rng.random(images) < 0.7, 2] = 0
    return found


def run(fold: str, found: np.ndarray, images: int, **more: Any) -> FoldRun | str:
    name = more.pop("name", f"fold-{fold.replace('/', '-of-')}")
    first = more.pop("first", 100 * int(fold[0]))
    split = more.pop("split", f"fold {fold}")
    conditions = {"scale": more.pop("scale", 1.0)}
    digest = f"d{name}"
    training = {"fold": fold}
    data = {"images": images - len(found), "val_images": len(found)}
    model = {"epoch": 1, "val_miou": 0.5, "model_digest": digest, "class_names": list(NAMES),
             "config": {"training": training, "data": data}}  # fmt: skip
    scores = {"split": split, "miou": mean_iou(found.sum(0)), "classes_declared": 3, "checkpoint_epoch": 1,
              "checkpoint_val_miou": 0.5, "model_digest": digest, **conditions}  # fmt: skip
    ids = [f"i{first + number:03}" for number in range(len(found))]
    shared = {"training.fold": fold, "data.images": data["images"], "seed": 0} | more
    return fold_run(name, model, shared, scores, to_table(ids, found))


def folds(counts: tuple[int, ...], seed: int = 0, **more: Any) -> tuple[list[FoldRun], np.ndarray]:
    """A run for each fold of so many images, and the matrices of all images."""
    parts = [matrices(count, seed + number) for number, count in enumerate(counts)]
    runs = [run(f"{n}/{len(counts)}", part, sum(counts), **more) for n, part in enumerate(parts, start=1)]
    return runs, np.concatenate(parts)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(0, 1000))
def test_pooled_scores_are_those_of_the_summed_matrices(counts: list[int], seed: int) -> None:
    runs, found = folds(tuple(counts), seed)
    pooled, reasons = pool(runs[::-1])
    assert not reasons and list(pooled) == [f"{len(counts)} folds"]
    table, classes = fold_table(pooled, {}), fold_class_table(pooled)
    whole = table.iloc[-1]
    assert table["scored_on"].tolist() == [*(f"fold {n}/{len(counts)}" for n in range(1, len(counts) + 1)), "all folds"]
    assert whole["images"] == len(found) and table["images"].tolist()[:-1] == counts
    assert whole["miou"] == pytest.approx(mean_iou(found.sum(0)), abs=1e-12)
    np.testing.assert_allclose(classes["iou"].astype(float), class_iou(found.sum(0)), atol=1e-12)
    np.testing.assert_allclose(classes["precision"].astype(float), precision(found.sum(0)), atol=1e-12)
    low = score_intervals(Counts.of(found))["miou_low"]
    assert whole["miou_low"] == pytest.approx(low) or (low is None and pd.isna(whole["miou_low"]))
    assert (classes["iou_worst_fold"].dropna() <= classes["iou_best_fold"].dropna()).all()


def test_a_class_that_some_folds_lack_is_scored_over_the_others() -> None:
    runs, found = folds((4, 4))
    for one in (found[:4],):
        one[:, 2], one[:, :, 2] = 0, 0
    runs[0] = run("1/2", found[:4], 8)
    (row,) = fold_class_table(pool(runs)[0]).query("class_name == 'dog'").to_dict("records")
    assert row["iou"] == row["iou_worst_fold"] == row["iou_best_fold"] == pytest.approx(class_iou(found.sum(0))[2])


def test_settings_are_pooled_apart_and_named_by_what_differs() -> None:
    first, _ = folds((3, 3), **{"model.width": 8})
    second, _ = folds((3, 3), **{"model.width": 16})
    third, _ = folds((2, 2, 2), **{"model.width": 16})
    pooled, reasons = pool(first + second + third)
    assert not reasons
    assert set(pooled) == {"width=8, 2 folds", "width=16, 2 folds", "width=16, 3 folds"}
    scores = [group.counts.total().miou() for group in pooled.values()]
    assert scores == sorted(scores, reverse=True)


def test_what_is_not_complete_is_not_pooled() -> None:
    runs, _ = folds((3, 3, 3))
    assert pool(runs[:2]) == ({}, ["3 folds (fold-1-of-3, fold-2-of-3): fold 3/3 is missing"])
    twice = [*runs, run("1/3", matrices(3, 9), 9, name="again")]
    assert pool(twice)[1] == [
        "3 folds (fold-1-of-3, fold-2-of-3, fold-3-of-3, again): several runs are on the same fold; name those to pool "
        "with comparison.runs"
    ]
    overlapping = [*runs[:2], run("3/3", matrices(3, 9), 9, first=200)]
    assert "train has changed between these runs" in pool(overlapping)[1][0]
    of_another_train = [*runs[:2], run("3/3", matrices(3, 9), 12)]
    assert "train has changed between these runs" in pool(of_another_train)[1][0]
    scaled = [*runs[:2], run("3/3", matrices(3, 9), 9, scale=0.5)]
    assert "they were scored with different scale" in pool(scaled)[1][0]


def test_a_fold_that_was_scored_on_val_is_not_pooled() -> None:
    assert run("1/2", matrices(3, 0), 6, split="val") == "it was evaluated on val, not on fold 1/2"


def ensemble(members: dict[str, str], **scores: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    model = {"epoch": 1, "val_miou": 0.5, "members": [{"run": n, "model_digest": d} for n, d in members.items()]}
    known = {"split": "val", "images": 5, "miou": 0.6, "miou_low": 0.5, "miou_high": 0.7, "pixel_accuracy": 0.9,
             "checkpoint_epoch": 1, "checkpoint_val_miou": 0.5}  # fmt: skip
    return model, (known | scores if scores is not None else {})


def test_the_ensemble_is_beside_its_folds() -> None:
    pooled, _ = pool(folds((3, 3))[0])
    digests = {one.name: one.digest for one in pooled["2 folds"].runs}
    found, problems = ensembles_of(pooled, {"ensemble": ensemble(digests), "other": ensemble({"x": "y", "z": "w"})})
    assert not problems
    table = fold_table(pooled, found)
    assert table.iloc[-1][["run", "scored_on", "images", "miou"]].tolist() == ["ensemble", "val", 5, 0.6]
    text = fold_text(table, fold_class_table(pooled))
    assert "6  all folds, pooled" in text and "5  val: ensemble" in text and "fold 2/2: fold-2-of-2" in text
    assert plot_folds(pooled, table, fold_class_table(pooled)).axes


def test_an_ensemble_of_earlier_models_or_without_scores_is_named() -> None:
    pooled, _ = pool(folds((3, 3))[0])
    digests = {one.name: one.digest for one in pooled["2 folds"].runs}
    model, _ = ensemble(digests)
    stale = ensemble(digests | {"fold-1-of-2": "before"})
    found, problems = ensembles_of(pooled, {"new": (model, {}), "old": stale})
    assert not found
    assert problems[0] == "new has not been scored: kedro run --pipelines evaluation --params run=new"
    assert problems[1].startswith("old is an ensemble of earlier trainings of its runs.")
    assert problems[1].endswith("--params 'run=old,ensemble.runs=fold-1-of-2 fold-2-of-2'")
