"""Folds partition train, keep groups together, spread the classes and depend on nothing but their arguments."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_seg.system.errors import VocSegError
from voc_seg.voc.folds import assign_folds, folds_of_index
from voc_seg.voc.groups import group_images


def alone(images: int) -> list[str]:
    return [""] * images


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 6), st.integers(0, 2**32), st.data(),
    st.lists(st.integers(0, 9), min_size=6, max_size=40).filter(lambda keys: len(set(keys)) >= 6),
)  # fmt: skip
def test_every_image_is_in_one_fold_and_no_group_in_two(
    folds: int, seed: int, data: st.DataObject, keys: list[int]
) -> None:
    presence = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4),
                                           min_size=len(keys), max_size=len(keys))))  # fmt: skip
    groups, _ = group_images([f"g{key}" for key in keys], [0] * len(keys))
    found = assign_folds(presence, groups, folds, seed)
    assert found.shape == (len(keys),) and set(found.tolist()) == set(range(folds))
    for key in set(keys):
        assert len({int(fold) for fold, one in zip(found, keys) if one == key}) == 1
    np.testing.assert_array_equal(found, assign_folds(presence, groups, folds, seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**32), st.integers(12, 80))
def test_classes_are_spread_evenly(folds: int, seed: int, images: int) -> None:
    # One class an image: perfect stratification exists.
    rng = np.random.default_rng(seed)
    presence = np.eye(4, dtype=bool)[rng.integers(0, 4, images)]
    found = assign_folds(presence, group_images(alone(images), [0] * images)[0], folds, seed)
    sizes = np.bincount(found, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for name in range(4):
        holders = np.bincount(found[presence[:, name]], minlength=folds)
        assert holders.max() - holders.min() <= 2
        assert (holders > 0).sum() == min(folds, holders.sum())


def test_several_classes_an_image_are_spread_better_than_by_chance() -> None:
    rng = np.random.default_rng(0)
    presence = rng.random((200, 10)) < np.linspace(0.02, 0.6, 10)
    groups = group_images(alone(200), [0] * 200)[0]

    def unevenness(folds: np.ndarray) -> float:
        return sum(np.ptp(np.bincount(folds[held], minlength=5)) for held in presence.T)

    chance = np.mean([unevenness(rng.permutation(200) % 5) for _ in range(50)])
    assert unevenness(assign_folds(presence, groups, 5, 0)) < 0.5 * chance


def test_another_seed_gives_other_folds() -> None:
    presence, groups = np.ones((50, 2), bool), group_images(alone(50), [0] * 50)[0]
    assert (assign_folds(presence, groups, 5, 0) != assign_folds(presence, groups, 5, 1)).any()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (alone(3), r"5 folds need 5 images or groups of images, but train has 3 images\. Use fewer folds"),
        (list("aaabbbccc"), r"train has 9 images in 3 groups that must not be divided\. Use fewer folds.*other groups"),
    ],
)
def test_too_few_images_or_groups(keys: list[str], message: str) -> None:
    groups, _ = group_images(keys, [0] * len(keys))
    with pytest.raises(VocSegError, match=message):
        assign_folds(np.ones((len(keys), 2), bool), groups, 5, 0)


def index_of(keys: list[str], hashes: list[int]) -> pd.DataFrame:
    traits = [json.dumps({"hash": f"{one:x}"} | ({"group": key} if key else {})) for one, key in zip(hashes, keys)]
    return pd.DataFrame({"image_id": [f"i{one:03}" for one in range(len(keys))], "traits": traits,
                         "background": 9, "cat": np.arange(len(keys)) % 3})  # fmt: skip


def random_hashes(count: int, rng: np.random.Generator) -> list[int]:
    return [int.from_bytes(rng.bytes(32), "big") for _ in range(count)]


def test_near_duplicates_and_groups_of_an_import_stay_together() -> None:
    hashes = random_hashes(20, np.random.default_rng(0)) * 2  # each image twice
    keys = [f"patient{one % 10}" if one < 20 else "" for one in range(40)]
    found = folds_of_index(index_of(keys, hashes), ["background", "cat"], 5, 0)
    np.testing.assert_array_equal(found[:20], found[20:])
    np.testing.assert_array_equal(found[:10], found[10:20])
    assert np.bincount(found).tolist() == [8] * 5


def test_a_video_is_cut_into_blocks_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    found = folds_of_index(index_of(alone(100), [7 << 200] * 100), ["background"], 5, 0)
    assert np.bincount(found).tolist() == [20] * 5
    assert (np.diff(found) != 0).sum() <= 20  # consecutive frames are mostly together
    assert "100 images of train look alike one after another" in caplog.text


def test_a_group_that_is_too_large_makes_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assign_folds(np.ones((50, 1), bool), group_images(["a"] * 44 + alone(6), [0] * 50)[0], 5, 0)
    assert "The smallest of the 5 folds has only 1 of 50 images, because the largest group has 44." in caplog.text
