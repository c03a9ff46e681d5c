"""Which runs are distinguishable, in a table, in words and as a forest plot."""

import numpy as np
import pytest

from voc_seg.metrics.counts import Counts
from voc_seg.reporting.differences import (
    ScoredImages,
    compare_images,
    difference_text,
    group_by_seed,
    plot_differences,
    same_images,
)

TRUTH = np.random.default_rng(0).integers(100, 900, (40, 3)).astype(float)
IDS = tuple(f"{index:02}" for index in range(40))


def run(skill: float, seed: int = 0) -> ScoredImages:
    hits = np.clip(skill + np.random.default_rng(seed).normal(0, 0.02, TRUTH.shape), 0, 1) * TRUTH
    return ScoredImages(IDS, Counts(hits, TRUTH, hits))


def test_runs_that_differ_only_in_their_seed_are_a_group() -> None:
    settings = {
        "a-0": {"seed": 0, "model.width": 64, "training.epochs": 3},
        "a-1": {"seed": 1, "model.width": 64, "training.epochs": 3},
        "b": {"seed": 0, "model.width": 128, "training.epochs": 3},
        "c": {"seed": 0, "model.width": 64},
    }
    assert group_by_seed(settings) == {
        "width=64, epochs=3 (2 seeds)": ["a-0", "a-1"], "b": ["b"], "c": ["c"],
    }  # fmt: skip
    assert group_by_seed({"a": {"seed": 0}, "b": {"seed": 1}}) == {"same settings (2 seeds)": ["a", "b"]}
    # The code may differ, or the training images.
    assert group_by_seed({"a": {"seed": 0}, "b": {"seed": 0}}) == {"a": ["a"], "b": ["b"]}
    assert len(group_by_seed({"a": {"seed": 0, "content": "x"}, "b": {"seed": 1, "content": "y"}})) == 2
    assert group_by_seed({}) == {}


def test_images_in_another_order_are_the_same_and_other_masks_are_not() -> None:
    first = run(0.5)
    shuffled = np.random.default_rng(1).permutation(40)
    other = ScoredImages(
        tuple(IDS[index] for index in shuffled),
        Counts(first.counts.hits[shuffled], TRUTH[shuffled], first.counts.predicted[shuffled]),
    )
    changed = ScoredImages(IDS, Counts(first.counts.hits, TRUTH + 1, first.counts.predicted))
    rescaled = ScoredImages(IDS, first.counts, ("0.5",))
    found, reasons = same_images({"changed": changed, "first": first, "shuffled": other, "rescaled": rescaled})
    assert list(found) == ["first", "shuffled"]
    np.testing.assert_array_equal(found["shuffled"].counts.hits, first.counts.hits)
    assert reasons == {
        "changed": "it was scored on other images", "rescaled": "it was scored with other settings",
    }  # fmt: skip


@pytest.fixture(scope="module")
def runs() -> dict[str, ScoredImages]:
    return {"good": run(0.6), "same": run(0.601, 1), "bad": run(0.5, 2), "s1": run(0.55, 3), "s2": run(0.56, 4)}


def test_the_best_is_compared_with_each_of_the_others(runs: dict[str, ScoredImages]) -> None:
    groups = {"good": ["good"], "same": ["same"], "bad": ["bad"], "two (2 seeds)": ["s1", "s2"]}
    table = compare_images(same_images(runs)[0], groups)
    assert set(table["name"].iloc[:2]) == {"good", "same"}
    assert table["name"].iloc[2:].tolist() == ["two (2 seeds)", "bad"]
    assert table["runs"].tolist()[2:] == ["s1 s2", "bad"]
    assert table["distinguishable"].tolist()[1:] == [False, False, True]  # two seeds say little
    text = difference_text(table, 40)
    best, second = table["name"].iloc[:2]
    assert text.startswith(
        "Differences in mIoU on the same 40 images, with 95 % intervals; p is corrected for the 6 pairs (Holm), the "
        "intervals are not\n"
    )
    assert "Unreliable, because there are few." in difference_text(table, 40, "there are few")
    assert f"{best} and {second} are not distinguishable: " in text
    assert f"{best} is better than bad by " in text
    assert "  two (2 seeds): mIoU 0.5" in text
    axes = plot_differences(table, 40).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == table["name"].tolist()[1:]
    assert sum(text.get_text().count(" to ") for text in axes.texts) == 3


def test_a_single_comparison_is_not_corrected(runs: dict[str, ScoredImages]) -> None:
    table = compare_images({"good": runs["good"], "bad": runs["bad"]}, {"good": ["good"], "bad": ["bad"]})
    assert "Holm" not in difference_text(table, 40)
    assert table["wins"].tolist()[1] + table["ties"].tolist()[1] + table["losses"].tolist()[1] == 40


@pytest.mark.parametrize("names", [[], ["good"]])
def test_nothing_to_compare(runs: dict[str, ScoredImages], names: list[str]) -> None:
    table = compare_images({name: runs[name] for name in names}, {name: [name] for name in names})
    assert table["name"].tolist() == names
    (text,) = plot_differences(table, 0).axes[0].texts
    assert text.get_text() == "Needs two runs of different settings, scored alike"


def test_a_single_image_gives_no_interval(runs: dict[str, ScoredImages]) -> None:
    one = {name: ScoredImages(runs[name].ids[:1], runs[name].counts.take(np.arange(1))) for name in ("good", "bad")}
    table = compare_images(one, {name: [name] for name in one})
    assert "points (no interval), p = 1;" in difference_text(table, 1)
    assert "(no interval)" in plot_differences(table, 1).axes[0].texts[0].get_text()
