"""Stored values and colours of masks as class names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from voc_seg.voc.classes import VOID, voc_palette

from ..class_plan import ClassPlan
from ..inspect import PairFacts
from ..layout import VOID_NAME, Colour, Found

Key = int | Colour
"""A stored value or a colour."""


@dataclass(frozen=True)
class LabelledPair:
    """A readable pair and its pixels by class."""

    facts: PairFacts
    pixels: Mapping[str, int]  # by class name and "void"
    unknown: Mapping[Key, int] = field(default_factory=dict)  # pixels of values and colours without a meaning

    @property
    def id(self) -> str:
        """The image id."""
        return self.facts.image_id

    @property
    def labelled(self) -> int:
        """Number of pixels that are not void."""
        return sum(self.pixels.values()) - self.pixels.get(VOID_NAME, 0)

    def objects(self, plan: ClassPlan) -> int:
        """Return the number of pixels of classes other than the first."""
        return self.labelled - self.pixels.get(plan.names[0], 0) if plan.names else 0


def meanings(plan: ClassPlan, found: Found) -> dict[Key, str]:
    """Return the class name, or "void", of each stored value and colour that has one.

    255 and the colour that VOC draws void in are void unless the plan says otherwise.
    """
    void = tuple(voc_palette()[VOID].tolist())
    known: dict[Key, str] = {VOID: VOID_NAME, (void[0], void[1], void[2]): VOID_NAME}
    known.update(found.colours.items())
    known.update((colour, name) for colour, name in zip(plan.colours, plan.names) if colour is not None)
    known.update(plan.values.items())
    return known


def labelled_pairs(facts: Sequence[PairFacts], plan: ClassPlan, found: Found) -> tuple[LabelledPair, ...]:
    """Return the pairs that were read, with pixels by class."""
    known = meanings(plan, found)
    result = []
    for one in facts:
        if one.problem:
            continue
        pixels: dict[str, int] = {}
        unknown: dict[Key, int] = {}
        stored: list[tuple[Key, int]] = [*one.values.items(), *one.colours.items()]
        for key, count in stored:
            if key not in known and isinstance(key, int) and plan.by_colour:
                key = (key, key, key)  # a mask in colours of which only greys occur
            if key in known:
                pixels[known[key]] = pixels.get(known[key], 0) + count
            else:
                unknown[key] = count
        result.append(LabelledPair(one, pixels, unknown))
    return tuple(result)
