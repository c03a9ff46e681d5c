"""Counts of images: their scores are those of the confusion matrix, and they survive the table."""

import io

import numpy as np
import pandas as pd
import pytest

from voc_seg.metrics.confusion import summarise
from voc_seg.metrics.counts import Counts, from_table, to_table
from voc_seg.system.errors import VocSegError

SCORES = ("miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou")


@pytest.fixture(scope="module")
def confusions() -> np.ndarray:
    """Twelve images, five classes; one image is all void, and class 4 is absent."""
    found = np.random.default_rng(0).integers(0, 50, (12, 5, 5))
    found[:, 4], found[:, :, 4], found[3] = 0, 0, 0
    return found


def test_scores_of_the_sum_are_those_of_the_matrix(confusions: np.ndarray) -> None:
    total = Counts.of(confusions).total()
    expected = summarise(confusions.sum(0))
    for name in SCORES:
        assert getattr(total, name)() == pytest.approx(expected[name], abs=1e-12)


def test_every_image_is_scored_like_a_split_of_one(confusions: np.ndarray) -> None:
    counts = Counts.of(confusions)
    for name in SCORES:
        expected = [summarise(one)[name] for one in confusions]
        np.testing.assert_allclose(getattr(counts, name)(), expected, atol=1e-12)  # NaN for the image of void


def test_leaving_an_image_out_leaves_the_others(confusions: np.ndarray) -> None:
    found = Counts.of(confusions).leave_one_out().miou()
    expected = [summarise(np.delete(confusions, index, 0).sum(0))["miou"] for index in range(12)]
    np.testing.assert_allclose(found, expected)


def test_groups_are_those_of_the_table(confusions: np.ndarray) -> None:
    table = to_table([f"{index}" for index in range(12)], confusions)
    assert from_table(table, 5).by_group().groups is None
    assert len(from_table(table, 5).by_group()) == 12
    table["group"] = ["a", "", "a", "", "b", "b", "b", "", "", "", "", "a"]
    found = from_table(table, 5).by_group()
    assert len(found) == 8
    np.testing.assert_array_equal(found.truth[0], confusions[[0, 2, 11]].sum((0, 2)))
    assert found.total().miou() == Counts.of(confusions).total().miou()


def test_the_table_as_parquet_gives_the_same_counts(confusions: np.ndarray) -> None:
    file = io.BytesIO()
    to_table([f"{index:03}" for index in range(12)], confusions).to_parquet(file, index=False)
    table = pd.read_parquet(file)
    assert table["image_id"].tolist()[:2] == ["000", "001"]
    assert len(table["pixels"][3]) == 0
    found, expected = from_table(table, 5), Counts.of(confusions)
    for name in ("hits", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_counts_beyond_single_precision_are_exact() -> None:
    confusion = np.array([[[2**24 + 1, 0], [3, 2**31 + 1]]])
    found = from_table(to_table(["a"], confusion), 2)
    assert found.truth.tolist() == [[2**24 + 1, 2**31 + 4]]


@pytest.mark.parametrize("change", [{"truth": [[7]]}, {"predicted": [[-1]]}, {"pixels": [[1, 2]]}])
def test_a_table_of_other_classes_is_refused(change: dict[str, list[list[int]]]) -> None:
    table = pd.DataFrame({"image_id": ["a"], "truth": [[0]], "predicted": [[1]], "pixels": [[5]]} | change)
    with pytest.raises(VocSegError, match=r"do not fit 2 classes.*kedro run --pipelines evaluation"):
        from_table(table, 2)
