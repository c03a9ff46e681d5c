"""The split of every image: existing ones are kept, others are stratified, seeded and never divide a group."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted
from voc_seg.voc.groups import Groups
from voc_seg.voc.stratify import stratify

from .grouping import find_groups, relative_path
from .inspect import PairFacts
from .split_notes import absence_notes, class_presence, count_note, divided_note

SPLITS = ("train", "val", "test")
_ALIASES = {
    "training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"
}  # fmt: skip


def assign_splits(
    facts: Sequence[PairFacts],
    class_pixels: Mapping[str, Mapping[str, int]],
    folder: Path,
    *,
    val: float = 0.2,
    test: float = 0.0,
    group_by: str = "",
    seed: int = 0,
    previous: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the split of every usable image by image id, and notes for the user, a sentence each.

    Splits of the layout are kept. If train or val is missing, it is made from the other images.
    Images without a split beside others that have one become train. Without any splits, they are made: stratified by
    the classes of the images, with groups and near-duplicates kept together, the same for the same files and seed.

    Args:
        facts: The images; those with a problem get no split.
        class_pixels: Pixels by class name, by image id.
        folder: The imported folder, for `group_by`.
        val: Share of val.
        test: Share of test; 0 makes none. None is made beside existing train and val.
        group_by: Regular expression for groups, see `find_groups`.
        seed: Of the random choices.
        previous: Splits by image id of an earlier import. They are kept, and only new images get one. An empty split
            leaves the image out: the result does not contain it.

    Raises:
        VocSegError: There are too few images or groups, a share is not possible, or the expression is invalid.
    """
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise VocSegError(
            f"--val {val:g} --test {test:g} leave no images for training or for validation. Use for example --val 0.2 "
            "--test 0.1"
        )
    previous = previous or {}
    usable = sorted(
        (one for one in facts if not one.problem and previous.get(one.image_id) != ""),
        key=lambda one: (relative_path(one, folder), one.image_id),
    )
    if len(usable) < 2:
        why = next((f" {one.image_id}: {one.problem}." for one in facts if one.problem), "")
        raise VocSegError(
            f"{len(usable) or 'None'} of {len(facts)} images can be used, but training and validation need one each. "
            f"Label at least two images.{why}"
        )
    plan = _plan(usable, previous, val, test)
    notes = list(plan.notes)
    if left_out := sum(split == "" for split in previous.values()):
        notes.append(f"{counted(left_out, 'image')} without a split in images.csv: not used, as before.")
    if moved := [one for one, split in plan.kept.items() if previous.get(one, split) != split]:
        notes.append(
            f"{counted(len(moved), 'image')} with another split in the folder than in images.csv, such as {moved[0]}: "
            "that of the folder is used."
        )
    groups = find_groups(usable, folder, group_by)
    splits = _by_groups(usable, groups, plan)
    if plan.open:
        notes += groups.notes
        splits, groups = _make(usable, groups, class_pixels, plan, splits, seed, notes)
    else:
        splits = {one.image_id: splits.get(one.image_id, "train") for one in usable}
        _require_both(splits)
    if plan.open or not notes:  # otherwise the notes say it
        notes += [f"Splits: {count_note(splits.values())}."]
    notes += divided_note(usable, groups, splits)
    notes += absence_notes(usable, groups, class_pixels, splits)
    return splits, tuple(notes)


@dataclass(frozen=True)
class _Plan:
    """What is kept, and what is shared out."""

    kept: Mapping[str, str]  # splits that stay, by image id
    open: tuple[str, ...]  # the splits for the other images; empty: they become train
    shares: Mapping[str, float]  # of these
    notes: tuple[str, ...] = ()
    divided: frozenset[str] = frozenset()  # image ids of an existing split that is divided


def _plan(usable: Sequence[PairFacts], previous: Mapping[str, str], val: float, test: float) -> _Plan:
    stated = {one.image_id: _ALIASES.get(one.source.split.lower(), one.source.split.lower()) for one in usable}
    odd = Counter(split for split in stated.values() if split not in ("", *SPLITS))
    notes = [
        f"The split {name} of {counted(count, 'image')} is not known and was ignored."
        for name, count in sorted(odd.items())
    ]
    stated = {image_id: split for image_id, split in stated.items() if split in SPLITS}
    earlier = {one.image_id: previous[one.image_id] for one in usable if previous.get(one.image_id) in SPLITS}
    given = [name for name in SPLITS if name in stated.values()]
    wanted = {"train": 1 - val - test, "val": val} | ({"test": test} if test else {})
    missing = [name for name in wanted if name not in given]
    if "train" in given and "val" in given:
        missing = []  # a test split that nobody made is not taken from the training images
    without = len(usable) - len(stated)
    if given and not missing:
        notes.append(f"The existing splits are kept: {count_note(stated.values())}.")
        if new := sum(one.image_id not in stated and one.image_id not in earlier for one in usable):
            notes.append(f"{counted(new, 'image')} in none of them: train, or the split of their group.")
        return _Plan(earlier | stated, (), {}, tuple(notes))
    if not given:
        if earlier:
            notes.append(f"The splits of the earlier import are kept: {count_note(earlier.values())}.")
        return _Plan(earlier, tuple(wanted), wanted, tuple(notes))
    # The new splits are made from images without one, or from a split that is divided.
    source = "train" if "train" in given else "" if without else given[0]
    kept = {image_id: split for image_id, split in stated.items() if split != source}
    names = [name for name in SPLITS if name in missing or name == source or name == "train"]
    names = [name for name in names if name in wanted]
    if names == ["train"]:  # val exists, and the other images become train
        notes.append(
            f"The existing splits are kept: {count_note(kept.values())}. "
            f"{counted(without, 'image')} without a split: train."
        )
        return _Plan(earlier | kept, (), {}, tuple(notes))
    made = " and ".join(name for name in names if name != source)
    parts = [f"the {source} images"] * bool(source) + [f"{counted(without, 'image')} without a split"] * bool(without)
    notes.append(
        f"The data has {' and '.join(given)}, but not {' and '.join(missing)}: {made} "
        f"{'are' if ' and ' in made else 'is'} made from {' and '.join(parts)}."
    )
    divided = frozenset(image_id for image_id, split in stated.items() if split == source)
    shares = {name: wanted[name] for name in names if name != "train"}
    return _Plan(earlier | kept, tuple(names), {"train": 1 - sum(shares.values())} | shares, tuple(notes), divided)


def _by_groups(usable: Sequence[PairFacts], groups: Groups, plan: _Plan) -> dict[str, str]:
    """The splits that are kept, also for the other images of their groups (that of most images)."""
    splits = dict(plan.kept)
    for group in groups.joined:
        ids = [usable[one].image_id for one in group]
        counts = Counter(plan.kept[one] for one in ids if one in plan.kept)
        for image_id in ids:
            # The layout keeps images of a divided split apart from its other splits.
            possible = [name for name in SPLITS if counts[name] and (name in plan.open or image_id not in plan.divided)]
            if image_id not in plan.kept and possible:
                splits[image_id] = max(possible, key=lambda name: (counts[name], -SPLITS.index(name)))
    return splits


def _make(
    usable: Sequence[PairFacts],
    groups: Groups,
    class_pixels: Mapping[str, Mapping[str, int]],
    plan: _Plan,
    given: Mapping[str, str],
    seed: int,
    notes: list[str],
) -> tuple[dict[str, str], Groups]:
    """Stratify the images without a split; chains of near-duplicates are cut if a split would be too small."""
    count = sum(given.get(one.image_id, plan.open[0]) in plan.open for one in usable)
    targets = {name: max(1, math.floor(share * count + 0.5)) for name, share in plan.shares.items() if name != "train"}
    if sum(targets.values()) >= count and "test" in targets and "val" in targets:
        notes.append(f"There are too few images for test: {count}.")
        del targets["test"]
    targets = {"train": max(1, count - sum(targets.values()))} | targets
    splits = _stratified(usable, groups.joined, class_pixels, targets, given, seed)
    short = [name for name, target in targets.items() if 2 * Counter(splits.values())[name] < target]
    if short:
        parts, cut = groups.cut(min(targets.values()))
        if cut:
            notes.append(
                f"{max(map(len, cut))} images form a chain of near-duplicates, as frames of a video do; kept together, "
                f"they would leave too few images for {' and '.join(short)}. Such chains were cut into blocks of "
                "consecutive file names, so some images of val resemble training images and scores are optimistic. To "
                "prevent that, name what belongs together with --group-by."
            )
            groups = parts
            splits = _stratified(usable, groups.joined, class_pixels, targets, given, seed)
    if "val" not in splits.values() or "train" not in splits.values():
        raise VocSegError(
            f"All {len(usable)} images are in one group, so there would be no images for training or for validation. "
            "Choose other groups (--group-by '.*' makes every image its own group), or add images of other groups."
        )
    return splits, groups


def _stratified(
    usable: Sequence[PairFacts],
    groups: Sequence[tuple[int, ...]],
    class_pixels: Mapping[str, Mapping[str, int]],
    targets: Mapping[str, int],
    given: Mapping[str, str],
    seed: int,
) -> dict[str, str]:
    names = list(targets)
    rows: list[tuple[int, ...]] = []  # parts of groups: the images of one given split, or of none
    fixed: dict[int, int] = {}
    for group in groups:
        for split in (*names, None):
            if part := tuple(one for one in group if given.get(usable[one].image_id) == split):
                if split is not None:
                    fixed[len(rows)] = names.index(split)
                rows.append(part)
    presence = class_presence(usable, class_pixels)[0]
    by_row = np.array([presence[list(row)].sum(axis=0) for row in rows])
    sizes = np.array([len(row) for row in rows])
    chosen = stratify(by_row, sizes, np.array(list(targets.values()), float), fixed, seed)
    made = {usable[one].image_id: names[split] for row, split in zip(rows, chosen) for one in row}
    return {one.image_id: given.get(one.image_id) or made[one.image_id] for one in usable}


def _require_both(splits: Mapping[str, str]) -> None:
    for name in ("train", "val"):
        if name not in splits.values():
            raise VocSegError(f"No usable image is in {name}. Add images to {name}, or remove the lists of the splits.")
