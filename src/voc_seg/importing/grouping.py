"""Groups of images that belong in the same split: by a pattern, by the layout, as near-duplicates."""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_seg.system.errors import VocSegError

from .duplicates import near_duplicates
from .findings import counted
from .inspect import PairFacts

_BLOCKS = 20
"""Parts of a chain of near-duplicates that is too long: a block is a twentieth of it."""


@dataclass(frozen=True)
class Groups:
    """Positions of images in groups; every image is in one."""

    stated: tuple[tuple[int, ...], ...]  # by a pattern or the layout; single images otherwise
    joined: tuple[tuple[int, ...], ...]  # of `stated`, those with near-duplicates joined
    notes: tuple[str, ...] = ()

    def cut(self, longest: float) -> "tuple[Groups, tuple[tuple[int, ...], ...]]":
        """Cut joined groups of more than `longest` images into blocks; also return what was cut."""
        start = {group[0]: group for group in self.stated}
        kept: list[tuple[int, ...]] = []
        cut = []
        for group in self.joined:
            parts = [start[one] for one in group if one in start]
            if len(group) <= longest or len(parts) == 1:
                kept.append(group)
                continue
            cut.append(group)
            size, block = len(group) / _BLOCKS, list[int]()
            for part in parts:
                block += part
                if len(block) >= size:
                    kept.append(tuple(sorted(block)))
                    block = []
            if block:
                kept.append(tuple(sorted(block)))
        return Groups(self.stated, tuple(sorted(kept)), self.notes), tuple(cut)


def find_groups(facts: Sequence[PairFacts], folder: Path, group_by: str = "") -> Groups:
    """Group images by a regular expression or the layout's groups, and join near-duplicates.

    Args:
        facts: The images, in the order of their paths.
        folder: The imported folder; paths are relative to it.
        group_by: A regular expression that is searched in each path; its first group names the group of the image, or
            the whole match if it has no group. It replaces the layout's groups. Empty uses those.

    Raises:
        VocSegError: The expression is invalid, or fits no image.
    """
    keys = _keys_by_pattern(facts, folder, group_by) if group_by else [one.source.group for one in facts]
    stated = _collect(("group", key) if key else ("image", index) for index, key in enumerate(keys))
    notes = []
    if group_by or any(keys):
        alone = keys.count("")
        what = f"--group-by {group_by}" if group_by else "the layout"
        notes.append(f"{len(set(keys) - {''})} groups by {what}, each within one split.")
        if alone:
            notes.append(f"{counted(alone, 'image')} of {len(keys)} are in none of these groups and count as one each.")
    found = near_duplicates([one.image_hash for one in facts])
    if found:
        example = " and ".join(facts[one].image_id for one in found[0][:2])
        notes.append(
            f"{counted(sum(map(len, found)), 'image')} have near-duplicates ({counted(len(found), 'group')}, such as "
            f"{example}); they are kept within one split."
        )
    return Groups(stated, _join(stated, found), tuple(notes))


def _keys_by_pattern(facts: Sequence[PairFacts], folder: Path, group_by: str) -> list[str]:
    try:
        pattern = re.compile(group_by)
    except (re.error, RecursionError, OverflowError) as error:
        raise VocSegError(f"--group-by {group_by} is not a regular expression: {error}.") from error
    keys = []
    for one in facts:
        match = pattern.search(relative_path(one, folder))
        keys.append((match[1 if pattern.groups else 0] or "") if match else "")
    if not any(keys):
        raise VocSegError(
            f"--group-by {group_by} fits no image. It is searched in paths such as {relative_path(facts[0], folder)}."
        )
    return keys


def relative_path(facts: PairFacts, folder: Path) -> str:
    """Return the path of an image relative to the imported folder, with ``/``; absolute if it is elsewhere."""
    for base in (folder, folder.resolve()):
        if facts.source.image.is_relative_to(base):
            return facts.source.image.relative_to(base).as_posix()
    return facts.source.image.as_posix()


def _collect(keys: Iterable[Hashable]) -> tuple[tuple[int, ...], ...]:
    """Positions by key, in the order of their first ones."""
    found: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        found.setdefault(key, []).append(index)
    return tuple(map(tuple, found.values()))


def _join(stated: Sequence[tuple[int, ...]], similar: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Join groups that share images (union-find)."""
    count = sum(map(len, stated))
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, *others in (*stated, *similar):
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    return _collect(map(root, range(count)))
