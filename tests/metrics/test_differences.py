"""Comparisons of runs: by hand, and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from voc_seg.metrics.counts import Counts
from voc_seg.metrics.differences import Difference, RunScores, compare_groups, compare_with_best, holm


def scores(hits: np.ndarray | list[list[int]], truth: np.ndarray | list[list[int]]) -> RunScores:
    """A run in which a class is predicted too rarely, and its missing pixels nowhere."""
    found = np.array(hits, float)
    return RunScores.of(Counts(found, np.array(truth, float), found))


TRUTH = [[10, 10], [10, 10], [10, 10], [0, 0]]


def test_wins_ties_and_losses_are_counted_by_image_and_images_of_void_are_not() -> None:
    one = scores([[10, 10], [5, 5], [5, 5], [0, 0]], TRUTH)
    other = scores([[5, 5], [5, 5], [6, 5], [0, 0]], TRUTH)
    found = compare_groups([one], [other])
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    # One: both classes 20 of 30. The other: 16 and 15 of 30.
    assert found.miou == pytest.approx(20 / 30 - (16 / 30 + 15 / 30) / 2)
    assert compare_groups([other], [one]).miou == -found.miou


def test_with_images_of_one_size_it_is_the_paired_test_of_student() -> None:
    """The mIoU of one class is then the mean of the images' shares."""
    rng = np.random.default_rng(0)
    first, second = rng.uniform(20, 80, (12, 1)), rng.uniform(20, 80, (12, 1))
    truth = np.full((12, 1), 100)
    expected = ttest_rel(first[:, 0] / 100, second[:, 0] / 100)
    low, high = expected.confidence_interval()
    found = compare_groups([scores(first, truth)], [scores(second, truth)])
    assert (found.low, found.high, found.p_value) == pytest.approx((low, high, expected.pvalue))
    # An image of void says nothing, and changes nothing.
    more = [scores(np.vstack([hits, [[0]]]), np.vstack([truth, [[0]]])) for hits in (first, second)]
    assert compare_groups(more[:1], more[1:]).p_value == pytest.approx(expected.pvalue)


def test_images_of_one_group_are_compared_as_one_image() -> None:
    rng = np.random.default_rng(1)
    truth = np.full((24, 2), 100.0)
    hits = [rng.uniform(20, 80, (24, 2)) for _ in range(2)]
    groups = np.repeat([f"clip {one}" for one in range(8)], 3).astype(object)
    frames = [RunScores.of(Counts(one, truth, one, groups)) for one in hits]
    clips = [scores(one.reshape(8, 3, 2).sum(1), truth.reshape(8, 3, 2).sum(1)) for one in hits]
    found, expected = (compare_groups([one], [other]) for one, other in (frames, clips))
    assert (found.miou, found.low, found.high, found.p_value) == pytest.approx(
        (expected.miou, expected.low, expected.high, expected.p_value)
    )
    assert found.wins + found.ties + found.losses == 24


def test_equal_runs_are_not_distinguishable() -> None:
    run = scores([[5, 5], [6, 6], [7, 7], [0, 0]], TRUTH)
    found = compare_groups([run], [run])
    assert (found.miou, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert not found.is_distinguishable


def test_a_single_image_distinguishes_nothing() -> None:
    found = compare_groups([scores([[9]], [[10]])], [scores([[1]], [[10]])])
    assert found.p_value == 1
    assert np.isnan(found.low)


def simulated(rng: np.random.Generator, images: int, gain: float, noise: float = 0.05) -> tuple[RunScores, RunScores]:
    """Two networks on images of varying difficulty; the first finds ``gain`` more of every class."""
    truth = rng.integers(1000, 5000, (images, 3)).astype(float)
    difficulty = rng.uniform(0.2, 0.7, (images, 1))
    first, second = (
        scores(np.clip(difficulty + extra + rng.normal(0, noise, truth.shape), 0, 1) * truth, truth)
        for extra in (gain, 0)
    )
    return first, second


def test_pairing_finds_what_separate_intervals_cannot() -> None:
    """The images differ by far more than the networks."""
    first, second = simulated(np.random.default_rng(0), 100, 0.02)
    found = compare_groups([first], [second])
    assert found.low > 0
    assert found.is_distinguishable
    shuffled = np.random.default_rng(1).permutation(100)
    unpaired = replace(second, without_one=second.without_one[shuffled], by_image=second.by_image[shuffled])
    assert not compare_groups([first], [unpaired]).is_distinguishable


@pytest.mark.slow
@pytest.mark.parametrize("images", [5, 10, 20, 100])
def test_networks_of_equal_skill_differ_in_one_of_twenty_comparisons(images: int) -> None:
    rng = np.random.default_rng(2)
    found = [compare_groups([one], [other]) for one, other in (simulated(rng, images, 0.0) for _ in range(2000))]
    assert 0.03 <= np.mean([one.is_distinguishable for one in found]) <= 0.07
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.97


def groups(rng: np.random.Generator, count: int, seeds: int, spread: float = 0.03) -> dict[str, list[RunScores]]:
    """Groups of networks of equal settings; each seed has a skill of its own, as trained networks have."""
    truth = rng.integers(1000, 5000, (60, 3)).astype(float)
    difficulty = rng.uniform(0.2, 0.7, (60, 1))

    def run() -> RunScores:
        noise = rng.normal(0, spread) + rng.normal(0, 0.05, truth.shape)
        return scores(np.clip(difficulty + noise, 0, 1) * truth, truth)

    return {str(number): [run() for _ in range(seeds)] for number in range(count)}


@pytest.mark.slow
def test_groups_of_seeds_of_equal_settings_differ_in_one_of_twenty_comparisons() -> None:
    rng = np.random.default_rng(3)
    pairs = [groups(rng, 2, 3) for _ in range(1000)]
    wrong = [compare_groups(pair["0"], pair["1"]).is_distinguishable for pair in pairs]
    assert 0.01 <= np.mean(wrong) <= 0.07
    # Comparing only one run of each group takes luck for skill.
    single = [compare_groups(pair["0"][:1], pair["1"][:1]).is_distinguishable for pair in pairs]
    assert np.mean(single) > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 10])
def test_the_best_of_equal_runs_is_rarely_called_better(count: int) -> None:
    """It was chosen by its luck, which the correction has to allow for."""
    rng = np.random.default_rng(4)
    wrong = [
        any(found.is_distinguishable for found in compare_with_best(groups(rng, count, 1, 0.0))[1].values())
        for _ in range(300)
    ]
    assert np.mean(wrong) <= 0.07


def test_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    runs = [simulated(rng, 50, gain)[0] for gain in (0.0, 0.1, 0.2)]
    other = simulated(rng, 50, 0.0)[1]
    alone, group = compare_groups(runs[1:2], [other]), compare_groups(runs, [other])
    assert group.high - group.low > 2 * (alone.high - alone.low)


def test_a_clear_winner_is_found_among_many() -> None:
    rng = np.random.default_rng(5)
    many = groups(rng, 60, 1, 0.0)
    truth = np.full((60, 3), 1000.0)
    many["winner"] = [scores(0.95 * truth, truth)]
    best, found = compare_with_best(many)
    assert best == "winner"
    assert all(one.is_distinguishable for one in found.values())


def test_holm_by_hand() -> None:
    def of(p_value: float) -> Difference:
        return Difference(0.1, 0.0, 0.2, p_value, 1, 0, 0)

    found = holm({"a": of(0.01), "b": of(0.04), "c": of(0.03), "d": of(0.005)})
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; never falling.
    expected = {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    assert {name: one.p_value for name, one in found.items()} == pytest.approx(expected)
    assert holm({}) == {}
