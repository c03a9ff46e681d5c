"""Notes on the splits, for the user."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from voc_seg.system.names import counted
from voc_seg.voc.groups import Groups

from .inspect import PairFacts

_SHOWN = 8
"""Classes that a note lists."""


def count_note(splits: Iterable[str]) -> str:
    """Return the number of images by split, for messages."""
    counts = Counter(splits)
    return ", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test") if counts[name])


def class_presence(
    usable: Sequence[PairFacts], class_pixels: Mapping[str, Mapping[str, int]]
) -> tuple[np.ndarray, list[str]]:
    """Whether a class is in an image, ``int (N, C)``, and the names of the classes, sorted."""
    counts = [class_pixels.get(one.image_id, {}) for one in usable]
    names = sorted({name for one in counts for name, pixels in one.items() if pixels})
    return np.array([[one.get(name, 0) > 0 for name in names] for one in counts], int).reshape(len(counts), -1), names


def divided_note(usable: Sequence[PairFacts], groups: Groups, splits: Mapping[str, str]) -> list[str]:
    """A note on groups that existing splits divide."""
    divided = [group for group in groups.joined if len({splits[usable[one].image_id] for one in group}) > 1]
    if not divided:
        return []
    first = [usable[one].image_id for one in divided[0]]
    other = next(one for one in first if splits[one] != splits[first[0]])
    return [
        f"Divided between splits: {counted(len(divided), 'group')} of images that belong together or are "
        f"near-duplicates, for example {first[0]} ({splits[first[0]]}) and {other} ({splits[other]})."
    ]


def absence_notes(
    usable: Sequence[PairFacts],
    groups: Groups,
    class_pixels: Mapping[str, Mapping[str, int]],
    splits: Mapping[str, str],
) -> list[str]:
    """Notes on classes that are missing from a split."""
    presence, names = class_presence(usable, class_pixels)
    where = np.array([splits[one.image_id] for one in usable])
    notes = []
    for split in ("train", "val"):
        absent = [f"{name} ({presence[:, index].sum()})" for index, name in enumerate(names)
                  if not presence[where == split, index].any()]  # fmt: skip
        if absent:
            more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
            effect = "cannot be learned" if split == "train" else "have no validation score"
            notes.append(
                f"Classes without an image in {split} {effect} (images in all): {', '.join(absent[:_SHOWN])}{more}."
            )
    return notes
