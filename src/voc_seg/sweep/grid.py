"""Expand ``key=value,value`` into the runs of a sweep."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voc_seg.config.overrides import split_params
from voc_seg.system.errors import VocSegError

Settings = dict[str, str]
"""Settings as in ``--params``: ``{"model.skips": "2 3 4"}``."""

# All runs share the packed data, and the sweep itself names and resumes its runs.
FIXED_KEYS = re.compile(r"run|training\.resume|data\..*|voc_root|voc_archive")
FOLD = "training.fold"
_MAX_NAME = 80
_MAX_RUNS = 1000  # more is probably a typo, as every run is a training


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its name, and its settings including those all runs share."""

    name: str
    settings: Settings


def parse_params(text: str) -> Settings:
    """Parse ``a=1,b=2`` into settings by key.

    Raises VocSegError if an item has no key or no ``=``, or the key cannot be set in a sweep.
    """
    settings: Settings = {}
    for item in filter(None, split_params(text)):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise VocSegError(f"--params {item!r} must have the form key=value.")
        if key.strip() in ("run", "training.resume"):
            raise VocSegError(f"--params {item!r}: a sweep names and resumes its runs itself.")
        settings[key.strip()] = value
    return settings


def parse_grid(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parse ``["model.skips=2 3 4,1"]`` into values by key; lists are written with spaces, as in ``--params``.

    Raises VocSegError if a key or value is missing or repeated, or the key cannot vary in a sweep.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, _, listed = text.partition("=")
        key, values = key.strip(), tuple(value.strip() for value in split_params(listed))
        if not key or not all(values):
            raise VocSegError(f"--grid {text!r} must have the form key=value,value (lists: model.skips=2 3,1).")
        if FIXED_KEYS.fullmatch(key):
            raise VocSegError(f"--grid {key} cannot vary: runs of a sweep share the data, and the sweep names them.")
        if key in grid or len(set(values)) < len(values):
            raise VocSegError(f"--grid {text!r}: a key or a value is repeated.")
        grid[key] = values
    return grid


def expand(grid: dict[str, tuple[str, ...]], shared: Settings, prefix: str = "") -> list[Trial]:
    """Every combination of the values in the grid, with the shared settings; the last key changes fastest.

    Every run name begins with ``prefix``. Raises VocSegError if a key is both in the grid and shared, or there are more
    than a thousand combinations.
    """
    if repeated := sorted(grid.keys() & shared.keys()):
        raise VocSegError(f"{repeated[0]} is in both --grid and --params. Remove it from one of them.")
    if (runs := math.prod(map(len, grid.values()))) > _MAX_RUNS:
        sizes = " x ".join(str(len(values)) for values in grid.values())
        raise VocSegError(
            f"These are {runs} runs ({sizes}), but the limit is {_MAX_RUNS}. Use fewer values, settings or folds."
        )
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [
        Trial(name, shared | varied) for name, varied in zip(_names(combinations, prefix), combinations, strict=True)
    ]


def _names(combinations: Sequence[Settings], prefix: str) -> list[str]:
    """Names like ``learning_rate-0.01_skips-2-3-4``: the last word of each key and its value, valid as folder names."""
    keys = list(combinations[0])
    words = {key: key.rpartition(".")[2] for key in keys}
    if len(set(words.values())) < len(keys):
        words = {key: key for key in keys}
    start = [prefix] if prefix else []
    names = [
        _safe("_".join(start + [f"{words[key]}-{_in_name(key, value)}" for key, value in settings.items()]))
        for settings in combinations
    ]
    return [
        name if len(name) <= _MAX_NAME and names.count(name) == 1 else f"{name[:_MAX_NAME]}_{_digest(settings)}"
        for name, settings in zip(names, combinations, strict=True)
    ]


def _in_name(key: str, value: str) -> str:
    return value.replace("/", "-of-") if key == FOLD else value


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")


def _digest(settings: Settings) -> str:
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:8]
