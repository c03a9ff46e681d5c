"""Groups of images that belong in the same split: by a pattern, by the layout, as near-duplicates."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted
from voc_seg.voc.groups import Groups, group_images

from .inspect import PairFacts


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
    keys = group_keys(facts, folder, group_by)
    groups, found = group_images(keys, [one.image_hash for one in facts])
    notes = []
    if group_by or any(keys):
        alone = keys.count("")
        what = f"--group-by {group_by}" if group_by else "the layout"
        notes.append(f"{len(set(keys) - {''})} groups by {what}, each within one split.")
        if alone:
            notes.append(f"{counted(alone, 'image')} of {len(keys)} are in none of these groups and count as one each.")
    if found:
        example = " and ".join(facts[one].image_id for one in found[0][:2])
        notes.append(
            f"{counted(sum(map(len, found)), 'image')} have near-duplicates ({counted(len(found), 'group')}, such as "
            f"{example}); they are kept within one split."
        )
    return replace(groups, notes=tuple(notes))


def group_keys(facts: Sequence[PairFacts], folder: Path, group_by: str = "") -> list[str]:
    """Return the name of each image's group, empty for none; arguments and errors are those of `find_groups`."""
    return _keys_by_pattern(facts, folder, group_by) if group_by else [one.source.group for one in facts]


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
