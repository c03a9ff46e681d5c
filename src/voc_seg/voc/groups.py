"""Groups of images that belong in the same split or fold: stated ones, and near-duplicates joined with them."""

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .duplicates import near_duplicates

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


def group_images(keys: Sequence[str], hashes: Sequence[int]) -> tuple[Groups, tuple[tuple[int, ...], ...]]:
    """Group images by the keys of their groups, empty for none, and join near-duplicates by perceptual hash.

    Returns:
        The groups, and the near-duplicates alone: positions of two or more images.
    """
    stated = _collect(("group", key) if key else ("image", index) for index, key in enumerate(keys))
    found = near_duplicates(hashes)
    return Groups(stated, _join(stated, found)), found


def stated_groups(index: pd.DataFrame) -> dict[str, str]:
    """The groups that ``kedro import-data`` has found, by image id; of an index of a split (`voc_seg.voc.index`)."""
    if not {"image_id", "traits"} <= set(index.columns):  # missing, or of an earlier version
        return {}
    return {image_id: one["group"] for image_id, one in zip(index["image_id"], read_traits(index)) if one.get("group")}


def read_traits(index: pd.DataFrame) -> list[dict[str, Any]]:
    """The column ``traits`` of an index, one dict a row; empty in a rejected one."""
    return [json.loads(text) if text else {} for text in index["traits"]]


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
