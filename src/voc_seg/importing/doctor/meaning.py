"""Pairs with their pixels by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..class_plan import ClassPlan
from ..classes import class_pixels
from ..inspect import PairFacts, StoredMask
from ..layout import VOID_NAME, Stored
from ..stored import stored_counts


@dataclass(frozen=True)
class LabelledPair:
    """A readable pair and its pixels by class."""

    facts: PairFacts
    pixels: Mapping[str, int]  # by class name and "void"; classes without a pixel are absent
    unknown: Mapping[Stored, int]  # pixels of values and colours without a meaning

    @property
    def id(self) -> str:
        """The image id."""
        return self.facts.image_id

    @property
    def total(self) -> int:
        """Number of pixels with a meaning."""
        return sum(self.pixels.values())

    @property
    def labelled(self) -> int:
        """Number of pixels that are not void."""
        return self.total - self.pixels.get(VOID_NAME, 0)

    def objects(self, plan: ClassPlan) -> int:
        """Return the number of pixels of classes other than the first."""
        return self.labelled - self.pixels.get(plan.names[0], 0) if plan.names else 0


def labelled_pairs(facts: Sequence[PairFacts], plan: ClassPlan) -> tuple[LabelledPair, ...]:
    """Return the pairs that were read, with pixels by class."""
    result = []
    for one in facts:
        if not one.problem:
            counts = stored_counts(one, plan.by_colour)
            unknown = {key: pixels for key, pixels in counts.items() if key not in plan.values}
            result.append(LabelledPair(one, class_pixels(one, plan), unknown))
    return tuple(result)


def stored_key(mask: PairFacts | StoredMask, key: Stored, plan: ClassPlan) -> Stored:
    """Return a value or colour of a mask as the plan names it: for plans by colour, the colour of a value."""
    return mask.palette.get(key, (key, key, key)) if plan.by_colour and isinstance(key, int) else key
