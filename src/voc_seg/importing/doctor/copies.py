"""Checks of copies: identical and nearly identical images, and masks that are the same for several images."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from voc_seg.system.names import counted
from voc_seg.voc.duplicates import near_duplicates

from ..findings import JOIN, Finding, Severity, of_images
from ..inspect import PairFacts

_MANY_COPIES = 0.2
"""Fraction of the images above which copies look like an export with a file for every object."""


def copy_findings(facts: Sequence[PairFacts], splits: Mapping[str, str]) -> Iterator[Finding]:
    """Yield findings about images and masks that are the same."""
    read = [one for one in facts if not one.problem]
    identical = _groups((one.image_digest, one) for one in read if one.image_digest)
    across = [group for group in identical if _several_splits(group, splits)]
    within = [group for group in identical if group not in across]
    if across:
        yield _about(
            "warning", "identical-across-splits", across,
            "{images} with an identical copy in another split: their scores say nothing about new images.",
            "Keep one of each, or put copies into one split.",
        )  # fmt: skip
    different = [group for group in identical if len({one.mask_digest for one in group}) > 1]
    if different:
        count = sum(map(len, different))
        many = count > _MANY_COPIES * len(read)
        yield _about(
            "warning", "different-masks", different,
            "{images} with a copy that has another mask: the labels contradict each other.",
            "The masks look like one for every object or class: combine those of an image into one mask." if many
            else "Keep the right mask of each.",
        )  # fmt: skip
    if same := [group for group in within if group not in different]:
        yield _about(
            "note", "identical", same, "{images} with an identical copy in the same split.", "Keep one of each."
        )
    yield from _near(read, splits, identical)
    yield from _shared_masks(read)


def _near(
    read: Sequence[PairFacts], splits: Mapping[str, str], identical: Sequence[Sequence[PairFacts]]
) -> Iterator[Finding]:
    copies = {frozenset(one.image_id for one in group) for group in identical}
    groups = [[read[position] for position in group] for group in near_duplicates([one.image_hash for one in read])]
    groups = [group for group in groups if frozenset(one.image_id for one in group) not in copies]
    across = [group for group in groups if _several_splits(group, splits)]
    if across:
        yield _about(
            "warning", "near-duplicates", across,
            "{images} nearly the same as others in another split (frames of a video, edited copies): "
            "scores are too good.",
            "Put images that look the same into one split: --group-by, or import without split lists.",
        )  # fmt: skip
    if within := [group for group in groups if group not in across]:
        yield _about(
            "note", "near-duplicates-within", within,
            "{images} nearly the same as others in their split.",
            "They count several times in training. Nothing to do unless they are many.",
        )  # fmt: skip


def _shared_masks(read: Sequence[PairFacts]) -> Iterator[Finding]:
    """Yield findings about several different images with one mask; masks of one value are no sign."""
    drawn = [one for one in read if one.mask_digest and len(one.values or one.colours) > 1]
    groups = [group for group in _groups((one.mask_digest, one) for one in drawn)
              if len({one.image_digest for one in group}) > 1]  # fmt: skip
    if not groups:
        return
    if len(groups) == 1 and len(groups[0]) == len(read) > 2:
        yield _about(
            "error", "one-mask-for-all", groups, "{images}, all with the same mask.",
            "The export wrote one mask under every name: export the masks again.",
        )  # fmt: skip
    else:
        yield _about(
            "warning", "shared-mask", groups, "{images} with the mask of a different image.",
            "Right for images of a fixed camera and scene; otherwise export these masks again.",
        )  # fmt: skip


def _groups(pairs: Iterable[tuple[str, PairFacts]]) -> list[list[PairFacts]]:
    found: dict[str, list[PairFacts]] = defaultdict(list)
    for key, one in pairs:
        found[key].append(one)
    return [group for group in found.values() if len(group) > 1]


def _several_splits(group: Sequence[PairFacts], splits: Mapping[str, str]) -> bool:
    return len({splits.get(one.image_id, "") for one in group} - {""}) > 1


def _about(severity: Severity, kind: str, groups: Sequence[Sequence[PairFacts]], message: str, remedy: str) -> Finding:
    ids = [one.image_id for group in groups for one in group]
    examples = [JOIN.join(one.image_id for one in group[:3]) for group in groups]
    return of_images(severity, kind, message.format(images=counted(len(ids), "image")), remedy, ids, examples)
