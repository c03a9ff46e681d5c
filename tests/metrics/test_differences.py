"""Comparisons of runs: by hand, and by simulation."""

import numpy as np
import pytest

from voc_seg.metrics.counts import Counts
from voc_seg.metrics.differences import Difference, compare_groups, holm, resample


def counts(hits: list[list[int]], truth: list[list[int]]) -> Counts:
    """Images in which a class is predicted too rarely, and its missing pixels nowhere."""
    return Counts(np.array(hits, float), np.array(truth, float), np.array(hits, float))


TRUTH = [[10, 10], [10, 10], [10, 10], [0, 0]]


def test_wins_ties_and_losses_are_counted_by_image_and_images_of_void_are_not() -> None:
    one = counts([[10, 10], [5, 5], [5, 5], [0, 0]], TRUTH)
    other = counts([[5, 5], [5, 5], [6, 5], [0, 0]], TRUTH)
    found = compare_groups([one], [other])
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    # One: both classes 20 of 30. The other: 16 and 15 of 30.
    assert found.miou == pytest.approx(20 / 30 - (16 / 30 + 15 / 30) / 2)
    assert compare_groups([other], [one]).miou == -found.miou


def test_equal_runs_are_not_distinguishable() -> None:
    run = counts([[5, 5], [6, 6], [7, 7], [0, 0]], TRUTH)
    found = compare_groups([run], [run])
    assert (found.miou, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert not found.is_distinguishable


def simulated(rng: np.random.Generator, images: int, gain: float, noise: float = 0.05) -> tuple[Counts, Counts]:
    """Two networks on images of varying difficulty; the first finds ``gain`` more of every class."""
    truth = rng.integers(1000, 5000, (images, 3)).astype(float)
    difficulty = rng.uniform(0.2, 0.7, (images, 1))
    first, second = (
        np.clip(difficulty + extra + rng.normal(0, noise, truth.shape), 0, 1) * truth for extra in (gain, 0)
    )
    return Counts(first, truth, first), Counts(second, truth, second)


def test_pairing_finds_what_separate_intervals_cannot() -> None:
    """The images differ by far more than the networks."""
    first, second = simulated(np.random.default_rng(0), 100, 0.02)
    found = compare_groups([first], [second])
    assert found.low > 0
    assert found.is_distinguishable
    shuffled = np.random.default_rng(1).permutation(100)
    unpaired = Counts(second.hits[shuffled], second.truth[shuffled], second.predicted[shuffled])
    assert not compare_groups([first], [unpaired]).is_distinguishable


@pytest.mark.slow
def test_networks_of_equal_skill_differ_in_one_of_twenty_comparisons() -> None:
    rng = np.random.default_rng(2)
    found = [compare_groups([one], [other]) for one, other in (simulated(rng, 100, 0.0) for _ in range(1000))]
    assert 0.03 <= np.mean([one.is_distinguishable for one in found]) <= 0.07
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.97


@pytest.mark.slow
def test_groups_of_seeds_of_equal_settings_differ_in_one_of_twenty_comparisons() -> None:
    """Each seed has a skill of its own, as trained networks have."""
    rng = np.random.default_rng(3)

    def group(truth: np.ndarray, difficulty: np.ndarray) -> list[Counts]:
        found = []
        for _ in range(3):
            hits = np.clip(difficulty + rng.normal(0, 0.03) + rng.normal(0, 0.05, truth.shape), 0, 1) * truth
            found.append(Counts(hits, truth, hits))
        return found

    wrong = []
    for _ in range(1000):
        truth = rng.integers(1000, 5000, (100, 3)).astype(float)
        difficulty = rng.uniform(0.2, 0.7, (100, 1))
        found = compare_groups(group(truth, difficulty), group(truth, difficulty))
        wrong.append(found.is_distinguishable)
    assert 0.03 <= np.mean(wrong) <= 0.07
    # Comparing only one run of each group takes luck for skill.
    single = [compare_groups(group(truth, difficulty)[:1], group(truth, difficulty)[:1]) for _ in range(100)]
    assert np.mean([one.is_distinguishable for one in single]) > 0.3


def test_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    runs = [simulated(rng, 50, gain)[0] for gain in (0.0, 0.1, 0.2)]
    other = simulated(rng, 50, 0.0)[1]
    alone, group = compare_groups(runs[1:2], [other]), compare_groups(runs, [other])
    assert group.high - group.low > 2 * (alone.high - alone.low)


def test_holm_by_hand() -> None:
    def of(p_value: float) -> Difference:
        return Difference(0.1, 0.0, 0.2, p_value, 1, 0, 0)

    found = holm({"a": of(0.01), "b": of(0.04), "c": of(0.03), "d": of(0.005)})
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; never falling.
    expected = {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    assert {name: one.p_value for name, one in found.items()} == pytest.approx(expected)
    assert holm({}) == {}


def test_a_resample_has_as_many_images_and_is_the_same_for_every_run() -> None:
    images = Counts(np.ones((80, 1)), np.ones((80, 1)), np.ones((80, 1)))
    assert (resample(images).truth == 80).all()
    assert len(resample(images)) == 2000
    run = simulated(np.random.default_rng(5), 80, 0.0)[0]
    np.testing.assert_array_equal(resample(run).truth, resample(run).truth)
    assert not np.array_equal(resample(run).truth, resample(run, seed=1).truth)
