"""Splits: existing ones are kept, new ones are stratified, and groups are not divided."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_seg.importing.inspect import PairFacts
from voc_seg.importing.layout import LabelledImage
from voc_seg.importing.splits import assign_splits
from voc_seg.system.errors import VocSegError

FOLDER = Path("/data")


def fact(name: str, split: str = "", image_hash: int = 0, problem: str = "") -> PairFacts:
    path = FOLDER / f"{name}.jpg"
    source = LabelledImage(path, FOLDER / f"{name}.png", split)
    return PairFacts(name.replace("/", "_"), source, problem, image_hash=image_hash)


def facts_of(names: Sequence[str], split: str = "") -> list[PairFacts]:
    return [fact(name, split) for name in names]


def numbered(count: int, prefix: str = "a") -> list[str]:
    return [f"{prefix}{number:04}" for number in range(count)]


def everywhere(facts: Sequence[PairFacts], *names: str) -> dict[str, dict[str, int]]:
    return {one.image_id: dict.fromkeys(names, 10) for one in facts}


def counts(splits: Mapping[str, str]) -> dict[str, int]:
    return dict(Counter(splits.values()))


def random_hash(seed: int) -> int:
    return int.from_bytes(np.random.default_rng(seed).bytes(32), "big") | 1


@pytest.mark.parametrize(
    ("count", "expected"),
    [(2, (1, 1)), (3, (2, 1)), (5, (4, 1)), (10, (8, 2)), (200, (160, 40)), (1003, (802, 201))],
)
def test_sizes(count: int, expected: tuple[int, int]) -> None:
    facts = facts_of(numbered(count))
    splits, notes = assign_splits(facts, everywhere(facts, "background", "tree"), FOLDER)
    assert counts(splits) == dict(zip(("train", "val"), expected))
    assert notes == (f"Splits: {expected[0]} train, {expected[1]} val.",)


@pytest.mark.parametrize(("count", "expected"), [(3, (1, 1, 1)), (10, (7, 2, 1)), (100, (70, 20, 10))])
def test_sizes_with_test(count: int, expected: tuple[int, int, int]) -> None:
    facts = facts_of(numbered(count))
    splits, _ = assign_splits(facts, everywhere(facts, "background"), FOLDER, test=0.1)
    assert counts(splits) == dict(zip(("train", "val", "test"), expected))


def test_two_images_make_no_test() -> None:
    splits, notes = assign_splits(facts_of("ab"), {}, FOLDER, test=0.1)
    assert counts(splits) == {"train": 1, "val": 1}
    assert "too few images for test: 2" in notes[0]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(count: int) -> None:
    with pytest.raises(VocSegError, match=r"of 2 images can be used.*Label at least two"):
        assign_splits([fact("a", problem="broken"), fact("b", problem="" if count else "broken")], {}, FOLDER)


@pytest.mark.parametrize(("val", "test"), [(0, 0), (1, 0), (0.5, 0.5), (-0.1, 0), (0.2, -1), (float("nan"), 0)])
def test_impossible_shares(val: float, test: float) -> None:
    with pytest.raises(VocSegError, match="leave no images for training"):
        assign_splits(facts_of("abc"), {}, FOLDER, val=val, test=test)


def test_images_with_a_problem_get_no_split() -> None:
    splits, _ = assign_splits([*facts_of("abc"), fact("d", problem="unreadable")], {}, FOLDER)
    assert set(splits) == set("abc")


@pytest.mark.parametrize("test", [0, 0.1])
def test_rare_classes_are_in_every_split(test: float) -> None:
    facts = facts_of(numbered(100))
    pixels = everywhere(facts, "background")
    for number, name in enumerate("pqrst"):  # 3 images each, some with two of them
        for index in range(3):
            pixels[f"a{2 * number + index:04}"][name] = 1
    splits, notes = assign_splits(facts, pixels, FOLDER, test=test)
    for name in "pqrst":
        found = {splits[image_id] for image_id, one in pixels.items() if name in one}
        assert found == ({"train", "val", "test"} if test else {"train", "val"})
    assert len(notes) == 1


def test_a_class_in_one_image_is_trained() -> None:
    facts = facts_of(numbered(20))
    for index in range(20):
        pixels = everywhere(facts, "background")
        pixels[f"a{index:04}"]["lamp"] = 5
        splits, notes = assign_splits(facts, pixels, FOLDER, seed=index)
        assert splits[f"a{index:04}"] == "train"
        assert notes[-1] == "Classes without an image in val have no validation score (images in all): lamp (1)."


def test_classes_that_exclude_each_other_still_make_two_splits() -> None:
    facts = facts_of("abc")
    splits, notes = assign_splits(facts, {one: {one: 1} for one in "abc"}, FOLDER)
    assert counts(splits) == {"train": 2, "val": 1}
    assert "in train cannot be learned" in notes[1]


def test_order_and_seed() -> None:
    facts = facts_of(numbered(50))
    pixels = everywhere(facts, "background")
    first = assign_splits(facts, pixels, FOLDER)
    assert assign_splits(facts[::-1], dict(reversed(pixels.items())), FOLDER) == first
    assert assign_splits(facts, pixels, FOLDER, seed=1)[0] != first[0]


_SPLITS_OF_A_SET = """
import sys; sys.path.insert(0, sys.argv[1])
from test_splits import *
facts = facts_of(numbered(40))
pixels = {one.image_id: {f"c{name}": 1 for name in set(range(number % 7))} for number, one in enumerate(facts)}
print(assign_splits(facts, pixels, FOLDER, test=0.1))
"""


def test_hash_seed_of_python_does_not_matter() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", _SPLITS_OF_A_SET, str(Path(__file__).parent)],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1


def test_groups_by_a_pattern() -> None:
    facts = facts_of([f"site{site}/day{day}" for site in range(10) for day in range(10)])
    splits, notes = assign_splits(facts, everywhere(facts, "background"), FOLDER, group_by=r"site(\d+)/")
    assert counts(splits) == {"train": 80, "val": 20}
    for site in range(10):
        assert len({splits[f"site{site}_day{day}"] for day in range(10)}) == 1
    assert notes[0] == r"10 groups by --group-by site(\d+)/, each within one split."


def test_whole_match_and_images_without_a_group() -> None:
    facts = facts_of([*(f"p{one}/{number}" for one in range(4) for number in range(3)), "x", "y"])
    splits, notes = assign_splits(facts, {}, FOLDER, group_by=r"p\d")
    assert all(len({splits[f"p{one}_{number}"] for number in range(3)}) == 1 for one in range(4))
    assert "2 images of 14 are in none of these groups" in notes[1]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression"),
        ("zzz", "fits no image. It is searched in paths such as a.jpg"),
        ("(zzz)?", "fits no image"),
        (r"jpg", "are in one group.*Choose other groups"),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str, message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        assign_splits(facts_of("abcd"), {}, FOLDER, group_by=pattern)


def test_near_duplicates_stay_together() -> None:
    facts = [fact(f"{letter}{number}", image_hash=random_hash(number)) for letter in "abc" for number in range(20)]
    splits, notes = assign_splits(facts, everywhere(facts, "background"), FOLDER)
    for number in range(20):
        assert len({splits[f"{letter}{number}"] for letter in "abc"}) == 1
    assert counts(splits) == {"train": 48, "val": 12}
    assert notes[0].startswith("60 images have near-duplicates (20 groups, such as a0 and b0)")


@pytest.mark.parametrize("count", [2, 3, 30, 300])
def test_a_video_is_cut_into_blocks(count: int) -> None:
    facts = [fact(name, image_hash=random_hash(0)) for name in numbered(count)]
    splits, notes = assign_splits(facts, everywhere(facts, "background"), FOLDER)
    assert counts(splits)["val"] == max(1, round(0.2 * count))
    assert any(f"{count} images form a chain of near-duplicates" in note for note in notes)
    assert not any("Divided" in note for note in notes)
    changes = sum(splits[one.image_id] != splits[other.image_id] for one, other in pairwise(facts))
    assert changes <= 10  # consecutive frames are mostly together


def test_three_videos_are_not_cut() -> None:
    facts = [
        fact(f"{letter}{number:02}", image_hash=random_hash(ord(letter))) for letter in "abc" for number in range(30)
    ]
    splits, notes = assign_splits(facts, everywhere(facts, "background"), FOLDER)
    assert counts(splits) == {"train": 60, "val": 30}
    assert not any("chain" in note for note in notes)


def test_groups_by_a_pattern_are_not_cut_with_a_chain() -> None:
    facts = [fact(f"s{number // 10}/{number:03}", image_hash=random_hash(0)) for number in range(100)]
    splits, _ = assign_splits(facts, everywhere(facts, "background"), FOLDER, group_by=r"s\d")
    assert counts(splits) == {"train": 80, "val": 20}
    assert all(len({splits[f"s{site}_{10 * site + number:03}"] for number in range(10)}) == 1 for site in range(10))


def test_existing_splits_are_kept() -> None:
    facts = [*facts_of("abc", "train"), *facts_of("de", "valid"), *facts_of("f", "Test")]
    splits, notes = assign_splits(facts, {}, FOLDER)
    assert splits == dict(zip("abcdef", ["train"] * 3 + ["val"] * 2 + ["test"]))
    assert notes[0] == "The existing splits are kept: 3 train, 2 val, 1 test."


def test_duplicates_across_existing_splits_are_left_and_named() -> None:
    facts = [fact("a", "train", 2**255), fact("b", "val", 2**255), fact("c", "val", random_hash(0))]
    splits, notes = assign_splits(facts, {}, FOLDER)
    assert splits == {"a": "train", "b": "val", "c": "val"}
    assert notes[-1].startswith("Divided between splits: 1 group of images")
    assert notes[-1].endswith("for example a (train) and b (val).")


def test_images_outside_the_lists_become_train_or_join_their_group() -> None:
    facts = [*facts_of("abc", "train"), fact("d", "val", random_hash(0)), fact("e", "", random_hash(0)), fact("f")]
    splits, notes = assign_splits(facts, {}, FOLDER)
    assert (splits["e"], splits["f"]) == ("val", "train")
    assert notes[1] == "2 images in none of them: train, or the split of their group."


def test_val_is_made_from_train() -> None:
    facts = [*facts_of(numbered(50), "train"), *facts_of(numbered(10, "t"), "test")]
    splits, notes = assign_splits(facts, everywhere(facts, "background"), FOLDER)
    assert counts(splits) == {"train": 40, "val": 10, "test": 10}
    assert all(splits[one] == "test" for one in numbered(10, "t"))
    assert notes[0] == "The data has train and test, but not val: val is made from the train images."


def test_training_images_do_not_move_to_an_existing_test() -> None:
    facts = [fact(name, "train", random_hash(number // 2)) for number, name in enumerate(numbered(50))]
    facts.append(fact("t", "test", random_hash(0)))
    splits, _ = assign_splits(facts, everywhere(facts, "background"), FOLDER)
    assert counts(splits) == {"train": 40, "val": 10, "test": 1}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_one_split_only(split: str) -> None:
    splits, notes = assign_splits(facts_of(numbered(20), split), {}, FOLDER)
    assert counts(splits) == {"train": 16, "val": 4}
    assert notes[0].startswith(f"The data has {split}, but not ")


def test_val_and_images_without_a_split() -> None:
    facts = [*facts_of(numbered(8), "val"), *facts_of(numbered(20, "n"))]
    splits, _ = assign_splits(facts, {}, FOLDER)
    assert all(splits[one] == "val" for one in numbered(8))
    assert counts(splits) == {"train": 20, "val": 8}


def test_no_test_is_taken_from_an_existing_train() -> None:
    facts = [*facts_of(numbered(90), "train"), *facts_of(numbered(10, "v"), "val")]
    splits, notes = assign_splits(facts, {}, FOLDER, test=0.1)
    assert counts(splits) == {"train": 90, "val": 10}
    assert notes[0] == "The existing splits are kept: 90 train, 10 val."


def test_val_and_test_are_made_from_train() -> None:
    splits, notes = assign_splits(facts_of(numbered(100), "train"), {}, FOLDER, test=0.1)
    assert counts(splits) == {"train": 70, "val": 20, "test": 10}
    assert notes[0] == "The data has train, but not val and test: val and test are made from the train images."


def test_an_unknown_split_is_ignored() -> None:
    splits, notes = assign_splits(facts_of(numbered(10), "fold3"), {}, FOLDER)
    assert counts(splits) == {"train": 8, "val": 2}
    assert notes[0] == "The split fold3 of 10 images is not known and was ignored."


def test_earlier_splits_stay_when_images_are_added() -> None:
    old = facts_of(numbered(50))
    earlier, _ = assign_splits(old, everywhere(old, "background"), FOLDER)
    new = [*old, *facts_of(numbered(50, "0new"))]
    splits, notes = assign_splits(new, everywhere(new, "background"), FOLDER, seed=3, previous=earlier)
    assert splits.items() >= earlier.items()
    assert counts(splits) == {"train": 80, "val": 20}
    assert notes[0] == "The splits of the earlier import are kept: 40 train, 10 val."


def test_a_new_near_duplicate_joins_the_earlier_one() -> None:
    old = [fact(name, image_hash=random_hash(number)) for number, name in enumerate(numbered(10))]
    earlier, _ = assign_splits(old, {}, FOLDER)
    new = [fact(f"n{number}", image_hash=random_hash(number)) for number in range(10)]
    splits, _ = assign_splits([*old, *new], {}, FOLDER, previous=earlier)
    assert all(splits[f"n{number}"] == earlier[f"a{number:04}"] for number in range(10))


def test_val_made_from_train_stays() -> None:
    facts = facts_of(numbered(30), "train")
    earlier, _ = assign_splits(facts, {}, FOLDER)
    more = [*facts, *facts_of(numbered(5, "b"), "train")]
    assert assign_splits(more, {}, FOLDER, previous=earlier)[0].items() >= earlier.items()
    # An image that was moved to another folder is in that split.
    moved = [*facts_of(numbered(30), "train")[1:], fact("a0000", "val")]
    assert assign_splits(moved, {}, FOLDER, previous=earlier)[0]["a0000"] == "val"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_properties(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 60))
    group = data.draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
    classes = data.draw(st.lists(st.frozensets(st.sampled_from("abcdef")), min_size=count, max_size=count))
    test = data.draw(st.sampled_from([0, 0.1]))
    facts = [fact(f"g{one}/{number}") for number, one in enumerate(group)]
    pixels = {one.image_id: dict.fromkeys(names, 3) for one, names in zip(facts, classes)}
    if len(set(group)) == 1:
        with pytest.raises(VocSegError, match="are in one group"):
            assign_splits(facts, pixels, FOLDER, test=test, group_by=r"g\d+")
        return
    splits, notes = assign_splits(facts, pixels, FOLDER, test=test, group_by=r"g\d+")
    assert set(splits) == set(pixels)
    assert {"train", "val"} <= set(splits.values())
    by_group: dict[int, str] = {}
    for one, number in zip(facts, group):
        assert by_group.setdefault(number, splits[one.image_id]) == splits[one.image_id]
    held = {number: frozenset().union(*(names for names, other in zip(classes, group) if other == number))
            for number in by_group}  # fmt: skip
    for name in "abcdef":
        holders = [number for number in held if name in held[number]]
        for split in {"train", "val"} - {by_group[number] for number in holders}:
            if not holders:
                continue
            assert any(f"in {split} " in note and f"{name} (" in note for note in notes)
            # No group could have been moved there without taking a class from another split.
            for number in holders if len(holders) > 1 else ():
                others = [one for one in held if one != number and by_group[one] == by_group[number]]
                assert not others or held[number] - frozenset().union(*(held[one] for one in others))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(150, 600), st.sampled_from([(0.2, 0.0), (0.1, 0.1), (0.3, 0.2)]))
def test_proportions(seed: int, count: int, shares: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    facts = facts_of(numbered(count))
    pixels = {one.image_id: {f"c{name}": 1 for name in range(12) if rng.random() < 0.6 / (name + 1)} for one in facts}
    splits, _ = assign_splits(facts, pixels, FOLDER, val=shares[0], test=shares[1], seed=seed)
    found = Counter(splits.values())
    assert abs(found["val"] - shares[0] * count) <= 1
    assert abs(found["test"] - shares[1] * count) <= 1
    for name in range(12):  # a class is in val about as often as it is in all images
        total = sum(f"c{name}" in one for one in pixels.values())
        in_val = sum(f"c{name}" in one for image_id, one in pixels.items() if splits[image_id] == "val")
        assert abs(in_val - shares[0] * total) <= max(2, 0.1 * total)


def test_disjoint_classes_keep_the_proportion() -> None:
    facts = facts_of(numbered(140))
    pixels = {one.image_id: {f"c{number // 7}": 1} for number, one in enumerate(facts)}
    splits, notes = assign_splits(facts, pixels, FOLDER)
    assert counts(splits) == {"train": 112, "val": 28}
    assert len(notes) == 1
