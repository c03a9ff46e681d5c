"""Stored mask values as class indices."""

from collections.abc import Sequence

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed

from .classes import VOID, Classes

NUMBERED_FROM_ONE = "if the masks number the classes from 1"

STRIP_PIXELS = 2**18
"""Pixels processed at once: a whole large mask would need ten times its own memory."""


def count_values(stored: np.ndarray) -> np.ndarray:
    """Count the pixels of each value in ``uint8 (H, W)``: ``int64 (256,)``."""
    pixels = stored.reshape(-1)
    parts = (pixels[start : start + STRIP_PIXELS] for start in range(0, pixels.size, STRIP_PIXELS))
    return sum((np.bincount(part, minlength=256) for part in parts), np.zeros(256, np.int64))


def map_values(stored: np.ndarray, used: np.ndarray, name: str, classes: Classes) -> np.ndarray:
    """Map stored values ``uint8 (H, W)`` to class indices; ``used`` are the values that occur.

    Raises VocSegError, with the file ``name``, if a value has no meaning in ``classes``.
    """
    meaning = classes.meaning()
    unknown = [value for value in used.tolist() if meaning[value] < 0]
    if unknown:
        known = _ranges(np.flatnonzero(meaning >= 0).tolist())
        advice = f"data.values says what others mean, such as data.values.{unknown[0]}=void"
        labels = set(used.tolist()) - {VOID}
        if unknown == [len(classes)] and 0 not in labels and len(labels) > 1 and not classes.values:
            advice = (
                f"{NUMBERED_FROM_ONE}, as 0 does not occur, set {shifted_values(classes.names)}; otherwise {advice}"
            )
        raise VocSegError(f"unknown labels: {name} has {listed(unknown)} (known are {known}; {advice})")
    return meaning.astype(np.uint8)[stored] if classes.values else stored


def shifted_values(names: Sequence[str]) -> str:
    """Return the setting for masks whose first class is 1: ``data.values={1: background, 2: cat}``."""
    values = [f"{stored}: {name}" for stored, name in enumerate(names, 1)]
    if len(values) > 5:
        values[2:-1] = ["..."]
    return f"data.values={{{', '.join(values)}}}"


def range_texts(values: Sequence[int], to: str) -> list[str]:
    """Return sorted values with runs as ranges: ``[0, 1, 2, 255]`` as ``["0-2", "255"]`` if ``to`` is ``-``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}{to}{run[-1]}" for run in runs]


def _ranges(values: list[int]) -> str:
    """Format ``[0, 1, 2, 255]`` as "0 to 2 and 255"."""
    texts = range_texts(values, " to ")
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
