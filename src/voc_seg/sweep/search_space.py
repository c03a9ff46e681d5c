"""Parse ``key=log:1e-3..1e-1`` into the settings that a search varies."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from voc_seg.config.overrides import split_params
from voc_seg.system.errors import VocSegError

from .grid import FIXED_KEYS, Settings

_FORMS = "log:1e-3..1e-1, 0.1..0.5, int:1..4 or choice:a,b (lists: choice:2 3 4,1)"


@dataclass(frozen=True)
class Dimension:
    """The values of one setting: a range of numbers with its two ends, or a list of choices."""

    kind: str  # float, log (a float on a logarithmic scale), int or choice
    ends: tuple[str, ...]  # smallest and largest number, or all choices

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"choice:{','.join(self.ends)}"
        return ("" if self.kind == "float" else f"{self.kind}:") + "..".join(self.ends)


Space = dict[str, Dimension]


def parse_search(texts: Iterable[str], shared: Settings) -> Space:
    """Parse ``["training.optimizer.learning_rate=log:1e-3..1e-1"]`` into dimensions by key.

    Raises VocSegError if a key is missing, repeated, among the shared settings or cannot vary, or if its values are no
    range and no choice.
    """
    space: Space = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not (key and equals and values):
            raise VocSegError(f"--search {text!r} must have the form KEY=RANGE. Ranges are {_FORMS}.")
        if FIXED_KEYS.fullmatch(key):
            raise VocSegError(f"--search {key} cannot vary: runs of a sweep share the data, and the sweep names them.")
        if key == "training.monitor":
            raise VocSegError(f"--search {key} cannot vary: the trials are ranked by it. Give it with --params.")
        if key in space:
            raise VocSegError(f"--search {text!r}: {key} is repeated. Give it once.")
        if key in shared:
            raise VocSegError(f"{key} is in both --search and --params. Remove it from one of them.")
        space[key] = _parse_values(text, values)
    return space


def _parse_values(text: str, values: str) -> Dimension:
    """The dimension that the part after ``=`` describes; ``text`` is the whole option, for messages."""
    kind, colon, rest = values.partition(":")
    if kind == "choice" and colon:
        choices = tuple(value.strip() for value in split_params(rest))
        if not all(choices):
            raise VocSegError(f"--search {text!r}: a choice is empty. Write choice:a,b")
        if len(choices) < 2 or len(set(choices)) < len(choices):
            raise VocSegError(f"--search {text!r} needs at least two choices, all different. Otherwise use --params.")
        return Dimension("choice", choices)
    if not colon:
        kind, rest = "float", values
    low_text, dots, high_text = rest.partition("..")
    if kind not in ("float", "log", "int") or not dots:
        raise VocSegError(f"--search {text!r} is neither a range nor a choice. Write {_FORMS}.")
    if high_text.startswith("."):
        raise VocSegError(f"--search {text!r} has three dots. Write two between the ends, and 0.5 for .5")
    try:
        read = int if kind == "int" else float
        low, high = read(low_text), read(high_text)
    except ValueError:
        numbers = "whole numbers, as in int:1..4" if kind == "int" else f"numbers. Write {_FORMS}"
        raise VocSegError(f"--search {text!r}: both ends of a range must be {numbers}.") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VocSegError(f"--search {text!r}: both ends of a range must be finite.")
    if low > high:
        prefix = "" if kind == "float" else f"{kind}:"
        raise VocSegError(
            f"--search {text!r} is reversed. Write the smaller number first: {prefix}{high_text}..{low_text}"
        )
    if low == high:
        raise VocSegError(f"--search {text!r} has a single value. Use --params for it, or widen the range.")
    if kind == "log" and low <= 0:
        raise VocSegError(
            f"--search {text!r} begins at {low_text}, but a logarithmic range must begin above 0. Write a small "
            f"number, such as log:1e-6..{high_text}, or omit log:"
        )
    return Dimension(kind, (repr(low), repr(high)))


def corners(space: Space) -> list[Settings]:
    """Settings that together contain the ends of all ranges and all choices, to validate them before a search.

    Of a range that is not of whole numbers, a number with a fraction is among them: both ends may be whole.
    """
    first = {key: dimension.ends[0] for key, dimension in space.items()}
    others = [first | {key: end} for key, dimension in space.items() for end in dimension.ends[1:]]
    for key, dimension in space.items():
        if dimension.kind in ("float", "log"):
            low, high = map(float, dimension.ends)
            others.append(first | {key: repr(low + (high - low) / math.pi)})
    return [first, *others]


def suggest(space: Mapping[str, Dimension], trial: Any) -> Settings:
    """The settings of an Optuna trial, as its sampler suggests them."""
    settings = {}
    for key, dimension in space.items():
        kind, ends = dimension.kind, dimension.ends
        if kind == "choice":
            settings[key] = trial.suggest_categorical(key, ends)
        elif kind == "int":
            settings[key] = str(trial.suggest_int(key, int(ends[0]), int(ends[1])))
        else:
            settings[key] = repr(trial.suggest_float(key, float(ends[0]), float(ends[1]), log=kind == "log"))
    return settings
