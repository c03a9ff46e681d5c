"""How the names of masks differ from those of their images, learnt from the names themselves.

``a_mask`` beside ``a``, ``mask_a`` beside ``image_a``, ``a_gt_1`` beside ``a_rgb_1``: one part of the name is replaced.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .folder_names import are_image_words, are_mask_words

_SAMPLE = 12
"""Images that are compared with all masks to find candidates."""
_CANDIDATES = 20
_COMMON = 200
"""Masks that share a word; more are not compared, unless there are no others."""
_WORD = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class Rule:
    """Replace ``old`` in the name of an image by ``new`` to get the name of its mask."""

    old: str
    new: str
    at: str  # start, end or middle

    @property
    def in_words(self) -> bool:
        """Whether only words for images and masks are exchanged, so that even a single pair is not a coincidence."""
        return (not self.old or are_image_words(self.old)) and (
            are_mask_words(self.new) or (not self.new and bool(self.old))
        )

    def mask_name(self, image: str) -> str | None:
        """Return the name of the mask of an image; None if the image lacks what is replaced."""
        if self.at == "start":
            return self.new + image.removeprefix(self.old) if image.startswith(self.old) else None
        if self.at == "end":
            return image.removesuffix(self.old) + self.new if image.endswith(self.old) else None
        return image.replace(self.old, self.new, 1) if image.count(self.old) == 1 else None

    def __str__(self) -> str:
        start, end = {"start": ("", "*"), "end": ("*", ""), "middle": ("*", "*")}[self.at]
        return f"{start}{self.old}{end} and {start}{self.new}{end}"


def find_rules(images: Sequence[str], masks: Sequence[str]) -> list[tuple[Rule, dict[str, str]]]:
    """Return the rules that fit, the best first, each with the masks by image.

    Names are keys of `voc_seg.system.names.name_key`, with their folders; folders are equal in a pair. A rule never
    changes a number.
    """
    step = max(1, len(images) // _SAMPLE)
    by_word: dict[str, list[str]] = {}
    for mask in masks:
        for word in set(_WORD.findall(mask.rpartition("/")[2])):
            by_word.setdefault(word, []).append(mask)
    votes: Counter[Rule] = Counter()
    for image in images[::step][:_SAMPLE]:
        votes.update({rule for mask in _similar(image, by_word) or masks for rule in _rules_of(image, mask)})
    known, fitting = frozenset(masks), []
    for rule, _ in votes.most_common(_CANDIDATES):
        renamed = ((image, _apply(rule, image)) for image in images)
        pairs = {image: mask for image, mask in renamed if mask is not None and mask in known}
        if pairs and len(set(pairs.values())) == len(pairs):
            fitting.append((rule, pairs))
    return sorted(fitting, key=lambda one: (-one[0].in_words, -len(one[1]), len(one[0].old + one[0].new), one[0].at))


def _similar(image: str, by_word: Mapping[str, list[str]]) -> list[str]:
    """Return the masks that share a word or number with an image, but not one that most masks have."""
    shared = (by_word.get(word, []) for word in _WORD.findall(image.rpartition("/")[2]))
    return [mask for masks in shared if len(masks) <= _COMMON for mask in masks]


def coverage(pairs: Mapping[str, str], images: Sequence[str], masks: Sequence[str]) -> float:
    """Return the share of images or masks, whichever are fewer, that are in pairs."""
    return len(pairs) / max(1, min(len(images), len(masks)))


def _apply(rule: Rule, image: str) -> str | None:
    folder, slash, name = image.rpartition("/")
    mask = rule.mask_name(name)
    return None if mask is None else folder + slash + mask


def _rules_of(image: str, mask: str) -> Iterator[Rule]:
    folder, _, image = image.rpartition("/")
    other, _, mask = mask.rpartition("/")
    if folder != other or image == mask:
        return
    shorter = min(len(image), len(mask))
    start, end = _common(image, mask), _common(image[::-1], mask[::-1])
    if folder:
        yield from (rule for rule in (Rule(image, mask, "start"),) if rule.in_words)
    for before, after in ((start, min(end, shorter - start)), (min(start, shorter - end), end)):
        if before + after == 0:
            continue
        yield from _rule(image, mask, before, after)
        # img and seg share their last letter, which belongs to the words that are exchanged.
        whole_before = len(image[:before].rstrip(_LETTERS))
        whole_after = len(image[len(image) - after :].lstrip(_LETTERS)) if after else 0
        yield from _rule(image, mask, whole_before, whole_after)


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _rule(image: str, mask: str, before: int, after: int) -> Iterator[Rule]:
    old, new = image[before : len(image) - after], mask[before : len(mask) - after]
    shared = image[:before] + image[len(image) - after :]
    if not any(map(str.isalnum, shared)) or old == new or _numbers(old) or _numbers(new):
        return
    yield Rule(old, new, "start" if not before else "end" if not after else "middle")


def _common(first: str, second: str) -> int:
    """Return how many letters two texts share at the start."""
    pairs = enumerate(zip(first, second))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)
