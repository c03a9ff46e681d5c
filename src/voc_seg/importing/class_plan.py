"""The classes of imported data: names, colours and the meaning of stored values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .layout import Colour


@dataclass(frozen=True)
class ClassPlan:
    """The classes, as they are written to ``data.classes`` and ``data.values``."""

    names: tuple[str, ...]  # by class index
    colours: tuple[Colour | None, ...]  # by class index; all are set if masks are read by colour
    values: Mapping[int, str] = field(default_factory=dict)  # stored value to class name or "void"; empty by colour
    notes: tuple[str, ...] = ()  # what was assumed, one sentence each

    @property
    def by_colour(self) -> bool:
        """Whether masks are read by their colours, not by stored values."""
        return not self.values
