"""The classes of imported data: names, colours and the meaning of stored values."""

from collections.abc import Mapping
from dataclasses import dataclass

from .layout import Colour, Stored


@dataclass(frozen=True)
class ClassPlan:
    """The classes, as they are written to ``data.classes`` and ``data.values``."""

    names: tuple[str, ...]  # by class index
    colours: tuple[Colour | None, ...]  # by class index, for figures; None where the masks show none
    values: Mapping[Stored, str]  # every stored value, or every colour, to class name or "void"
    notes: tuple[str, ...] = ()  # what was assumed, one sentence each

    @property
    def by_colour(self) -> bool:
        """Whether masks are read by their colours, not by stored values."""
        return any(isinstance(key, tuple) for key in self.values)
