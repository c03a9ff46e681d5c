"""From ``key=value,value`` to the runs that are to be made."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voc_seg.config.overrides import split_params
from voc_seg.system.errors import VocSegError

Settings = dict[str, str]
"""As ``--params`` has them: ``{"model.skips": "2 3 4"}``."""

# The packed data is shared by all runs, and name and resuming are the sweep's own.
_NOT_HERE = re.compile(r"run|training\.resume|data\..*|voc_root|voc_archive")
_LONGEST_NAME = 80
_MOST_RUNS = 1000  # more is a slip of the keyboard: every run is a training


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its name, and its settings with those that all runs share."""

    name: str
    settings: Settings


def parse_params(text: str) -> Settings:
    """``a=1,b=2`` as settings by key.

    Raises:
        VocSegError: An item without a key or without ``=``, or a key that a sweep may not set.
    """
    settings: Settings = {}
    for item in filter(None, split_params(text)):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise VocSegError(f"--params {item!r} must have the form key=value.")
        if key.strip() in ("run", "training.resume"):
            raise VocSegError(f"--params {item!r}: a sweep gives its runs their names and resumes them by itself.")
        settings[key.strip()] = value
    return settings


def parse_grid(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """``["model.skips=2 3 4,1"]`` as values by key; lists are written with spaces, as for ``--params``.

    Raises:
        VocSegError: No key, no values, one that is there twice, or a key that a sweep may not vary.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, _, listed = text.partition("=")
        key, values = key.strip(), tuple(value.strip() for value in split_params(listed))
        if not key or not all(values):
            raise VocSegError(f"--grid {text!r} must have the form key=value,value (lists: model.skips=2 3,1).")
        if _NOT_HERE.fullmatch(key):
            raise VocSegError(f"--grid {key}: runs of a sweep share the data and have names of their own.")
        if key in grid or len(set(values)) < len(values):
            raise VocSegError(f"--grid {text!r}: the same key or the same value stands there twice.")
        grid[key] = values
    return grid


def expand(grid: dict[str, tuple[str, ...]], shared: Settings, prefix: str = "") -> list[Trial]:
    """Every combination of the values, the last key changing fastest.

    Args:
        grid: Values by key.
        shared: Settings of all runs.
        prefix: Before every name.

    Raises:
        VocSegError: A key is both in the grid and shared, or there are more than a thousand combinations.
    """
    if twice := sorted(grid.keys() & shared.keys()):
        raise VocSegError(f"{twice[0]} stands both in --grid and in --params.")
    if (runs := math.prod(map(len, grid.values()))) > _MOST_RUNS:
        sizes = " x ".join(str(len(values)) for values in grid.values())
        raise VocSegError(
            f"--grid gives {runs} runs ({sizes}); a sweep makes {_MOST_RUNS} at most. Give fewer values, or vary fewer "
            "settings at once."
        )
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [
        Trial(name, shared | varied) for name, varied in zip(_names(combinations, prefix), combinations, strict=True)
    ]


def _names(combinations: Sequence[Settings], prefix: str) -> list[str]:
    """``learning_rate-0.01_skips-2-3-4``: the last word of each key and its value, safe as a folder's name."""
    keys = list(combinations[0])
    words = {key: key.rpartition(".")[2] for key in keys}
    if len(set(words.values())) < len(keys):
        words = {key: key for key in keys}
    start = [prefix] if prefix else []
    names = [_safe("_".join(start + [f"{words[key]}-{value}" for key, value in one.items()])) for one in combinations]
    return [
        name if len(name) <= _LONGEST_NAME and names.count(name) == 1 else f"{name[:_LONGEST_NAME]}_{_digest(one)}"
        for name, one in zip(names, combinations, strict=True)
    ]


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")


def _digest(settings: Settings) -> str:
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:8]
