"""Intervals: by hand, against SciPy, and how often they hold the truth."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import bootstrap

from voc_seg.metrics.counts import Counts
from voc_seg.metrics.differences import RunScores, compare_groups
from voc_seg.metrics.intervals import class_intervals, score_intervals, unreliable_because

NAMES = ("miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou")


def found_of(hits: np.ndarray, truth: np.ndarray) -> Counts:
    """Counts without false positives."""
    return Counts(hits.astype(float), truth.astype(float), hits.astype(float))


@pytest.fixture(scope="module")
def counts() -> Counts:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 1000, (300, 4))
    return found_of(np.round(truth * rng.beta(3, 2, (300, 4))), truth)


def test_by_hand() -> None:
    """Three images of 10 pixels with 2, 5 and 8 hits: accuracy 1/2; without one each 13/20, 10/20, 7/20."""
    counts = found_of(np.array([[2], [5], [8]]), np.full((3, 1), 10))
    error = math.sqrt(2 / 3 * (0.15**2 + 0.15**2))
    margin = 4.302653 * error / 0.25  # Student's quantile of 0.975 with 2 degrees of freedom
    ends = score_intervals(counts)
    assert ends["pixel_accuracy_low"] == pytest.approx(1 / (1 + math.exp(margin)))
    assert ends["pixel_accuracy_high"] == pytest.approx(1 / (1 + math.exp(-margin)))


@pytest.mark.parametrize("name", NAMES)
def test_with_many_images_the_bootstrap_agrees(counts: Counts, name: str) -> None:
    """SciPy's interval over the same images, which is too narrow only where classes are rare."""
    rows = np.concatenate([counts.hits, counts.truth, counts.predicted], axis=1)

    def score(images: np.ndarray) -> float:
        hits, truth, predicted = np.split(rows[images].sum(0), 3)
        return float(getattr(Counts(hits, truth, predicted), name)())

    expected = bootstrap(
        (np.arange(300),), score, method="percentile", n_resamples=4000, vectorized=False, rng=np.random.default_rng(0)
    ).confidence_interval
    found, width = score_intervals(counts), expected.high - expected.low
    assert found[f"{name}_low"] == pytest.approx(expected.low, abs=0.08 * width)
    assert found[f"{name}_high"] == pytest.approx(expected.high, abs=0.08 * width)


def test_a_score_lies_in_its_interval_and_the_interval_in_0_to_1(counts: Counts) -> None:
    found, total = score_intervals(counts), counts.total()
    for name in NAMES:
        assert 0 < found[f"{name}_low"] < getattr(total, name)() < found[f"{name}_high"] < 1
    rare = found_of(np.array([[99, 0]] * 9 + [[99, 3]]), np.array([[100, 0]] * 8 + [[100, 4], [100, 4]]))
    classes = class_intervals(rare)
    assert 0 < classes["iou_low"][1] < 3 / 8 < classes["iou_high"][1] < 1


def test_scores_that_do_not_exist_or_never_vary_have_no_interval() -> None:
    truth = np.array([[5, 7, 0, 0]] * 9 + [[5, 7, 4, 0]])
    hits = np.array([[5, 3, 0, 0]] * 9 + [[5, 3, 2, 0]])
    table = class_intervals(found_of(hits, truth))
    assert table.loc[0].isna().all()  # IoU 1
    assert table.loc[1].tolist() == pytest.approx([3 / 7, 3 / 7])  # the same in every image
    assert table.loc[2].isna().all()  # in a single image
    assert table.loc[3].isna().all()  # absent
    nothing = found_of(np.zeros((10, 3)), np.zeros((10, 3)))
    assert set(score_intervals(nothing).values()) == {None}


def test_a_single_image_has_no_interval(counts: Counts) -> None:
    one = Counts(counts.hits[:1], counts.truth[:1], counts.predicted[:1])
    assert set(score_intervals(one).values()) == {None}
    assert class_intervals(one).isna().all(axis=None)


def test_intervals_of_too_few_images_are_named() -> None:
    truth = np.zeros((40, 4))
    truth[:, 0] = truth[:5, 1] = truth[:4, 2] = truth[:2, 3] = 9
    assert unreliable_because(found_of(truth, truth)) == ""
    truth[2:, 2] = 0
    assert unreliable_because(found_of(truth, truth)) == "2 of 4 classes are in fewer than 3 images"
    assert unreliable_because(found_of(truth[:19], truth[:19])) == "there are only 19 images"
    truth[19:] = 0  # images of void
    assert unreliable_because(found_of(truth, truth)) == "there are only 19 images"


def test_images_without_a_pixel_do_not_count(counts: Counts) -> None:
    few = counts.take(np.arange(5))
    void = Counts(0 * few.hits, 0 * few.truth, 0 * few.predicted)
    more = Counts.concatenate([few, void])
    assert score_intervals(more)["pixel_accuracy_low"] == pytest.approx(
        score_intervals(few)["pixel_accuracy_low"], rel=1e-4
    )
    one = Counts.concatenate([few.take(np.arange(1)), void.take(np.arange(1, 5))])
    assert set(score_intervals(one).values()) == {None}


def test_images_of_one_group_count_as_one_image(counts: Counts) -> None:
    few = counts.take(np.arange(60))
    keys = np.array([f"clip {number // 3}" if number < 30 else "" for number in range(60)], object)
    summed = [np.vstack([array[:30].reshape(10, 3, -1).sum(1), array[30:]]) for array in
              (few.hits, few.truth, few.predicted)]  # fmt: skip
    grouped = replace(few, groups=keys)
    assert score_intervals(grouped) == pytest.approx(score_intervals(Counts(*summed)))
    assert class_intervals(grouped).equals(class_intervals(Counts(*summed)))
    order = np.random.default_rng(0).permutation(60)
    assert score_intervals(grouped.take(order)) == pytest.approx(score_intervals(grouped))
    assert unreliable_because(replace(few, groups=np.repeat(["a", "b"], 30).astype(object))) == (
        "there are only 2 groups of images"
    )


@pytest.mark.slow
def test_intervals_over_groups_hold_the_truth_and_those_over_images_do_not() -> None:
    """Ten frames of each of 40 clips, which differ little."""
    rng = np.random.default_rng(3)
    held = {True: 0, False: 0}
    for _ in range(1000):
        skill = rng.beta(6, 3, (40, 1, 1)).repeat(10, 1).reshape(400, 1)  # with a mean of 2/3
        truth = np.full((400, 1), 10_000.0)
        hits = np.round(truth * np.clip(skill + rng.normal(0, 0.02, (400, 1)), 0, 1))
        frames = Counts(hits, truth, truth, np.repeat([f"clip {one}" for one in range(40)], 10).astype(object))
        for grouped in held:
            ends = score_intervals(frames if grouped else replace(frames, groups=None))
            held[grouped] += ends["pixel_accuracy_low"] <= 2 / 3 <= ends["pixel_accuracy_high"]
    assert 0.93 <= held[True] / 1000 <= 0.97
    assert held[False] / 1000 < 0.6


def population(classes: int, images: int, seed: int) -> Counts:
    """Images of background and mostly one or two other classes; of 21, the rarest is eight times as rare as others.

    How much of a class is found varies from image to image; what is missed is called background or another class.
    """
    rng = np.random.default_rng(seed)
    rarity = 1 / np.arange(1, classes) ** 0.7
    skill = rng.uniform(0.3, 0.95, classes)
    confusion = np.zeros((images, classes, classes))
    for image in confusion:
        others = rng.choice(
            np.arange(1, classes), min(classes - 1, 1 + rng.poisson(0.4)), replace=False, p=rarity / rarity.sum()
        )
        sizes = 180_000 * rng.dirichlet([3.0, *np.ones(len(others))])
        image[0, 0] = rng.beta(18, 1.5) * sizes[0]
        image[0, rng.choice(others)] = sizes[0] - image[0, 0]
        for index, size in zip(others, sizes[1:]):
            image[index, index] = hit = rng.beta(3 * skill[index], 3 * (1 - skill[index])) * size
            image[index, 0 if rng.random() < 0.7 else rng.integers(1, classes)] += size - hit
    return Counts.of(confusion)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "images"), [(5, 30), (5, 100), (5, 300), (21, 100), (21, 300)])
def test_intervals_hold_the_truth_in_95_of_100_cases(classes: int, images: int) -> None:
    everything = population(classes, 4000, 1)
    true, true_iou = {name: float(getattr(everything.total(), name)()) for name in NAMES}, everything.total().iou()
    rng = np.random.default_rng(2)
    held = dict.fromkeys(NAMES, 0)
    held_classes = []
    for _ in range(1000):
        drawn = rng.integers(4000, size=images)
        counts = Counts(everything.hits[drawn], everything.truth[drawn], everything.predicted[drawn])
        ends = score_intervals(counts)
        for name in NAMES:
            held[name] += ends[f"{name}_low"] <= true[name] <= ends[f"{name}_high"]
        of_classes = class_intervals(counts)
        often = (counts.truth > 0).sum(0) >= 3
        held_classes += list(((of_classes["iou_low"] <= true_iou) & (true_iou <= of_classes["iou_high"]))[often])
    for name in ("miou", "pixel_accuracy", "frequency_weighted_iou"):
        assert 0.93 <= held[name] / 1000 <= 0.97, (name, held)
    assert 0.93 <= held["mean_class_accuracy"] / 1000 <= 0.98, held  # a little too wide where classes are rare
    assert 0.93 <= np.mean(held_classes) <= 0.97


def worse(better: Counts, rng: np.random.Generator) -> Counts:
    """A tenth of what was found of each class is taken for background, more in some images than in others."""
    missed = better.hits * rng.beta(1, 9, better.hits.shape)
    missed[:, 0] = 0
    predicted = better.predicted - missed
    predicted[:, 0] += missed.sum(1)
    return Counts(better.hits - missed, better.truth, predicted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("equal", "images", "least"), [(True, 30, 0.95), (True, 100, 0.94), (True, 300, 0.93), (False, 300, 0.9)]
)
def test_differences_of_networks_with_many_classes(equal: bool, images: int, least: float) -> None:
    """Of equally good networks few are called different. A real difference needs more images than a score does."""
    found, rng = population(21, 4000, 1), np.random.default_rng(5)
    second, first = worse(found, rng), worse(found, rng) if equal else found
    true = float(first.total().miou() - second.total().miou())
    held = 0
    for _ in range(600):
        drawn = rng.integers(4000, size=images)
        difference = compare_groups([RunScores.of(first.take(drawn))], [RunScores.of(second.take(drawn))])
        held += difference.low <= true <= difference.high
    assert least <= held / 600 <= 0.995
