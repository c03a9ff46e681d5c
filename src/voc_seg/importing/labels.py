"""Labels by stored value in ``conf/NAME/labels.csv``: later imports number them as the settings of the first one do."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID

from .layout import Found, LabelledImage
from .stored import text_of


def labels_path(project: Path, name: str) -> Path:
    """Return the file of an environment."""
    return project / "conf" / name / "labels.csv"


def found_labels(found: Found) -> dict[str, str]:
    """Return the label of each value or colour, as the layout names them."""
    return {text_of(key): name for names in (found.values, found.colours) for key, name in names.items()}


def read_labels(path: Path) -> dict[str, str]:
    """Return the labels of earlier imports; empty if there are none. Raises VocSegError for a damaged file."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["stored"]: row["label"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise VocSegError(f"{path} cannot be read: {error!r}. Restore it, or delete its folder.") from error


def write_labels(path: Path, labels: Mapping[str, str]) -> None:
    """Write the labels, if there are any."""
    if not labels:
        return
    with atomic_write(path) as partial_file, partial_file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("stored", "label"), *labels.items()])


def keep_numbers(found: Found, earlier: Mapping[str, str], settings: Path) -> Found:
    """Return what was found with the numbers of earlier imports; new labels get numbers that are not in use.

    Layouts number labels by name, so a label that comes or goes would change the numbers of others.

    Args:
        found: Of the layout.
        earlier: See `read_labels`.
        settings: The parameters.yml that says what the numbers mean.

    Raises:
        VocSegError: Masks are files, and the layout now gives a value another name.
    """
    if found.draw is None:
        _require_same(found, earlier, settings)
        return found
    numbers = {label: int(stored) for stored, label in earlier.items() if stored.isdecimal() and int(stored) <= VOID}
    free = iter(sorted({*range(VOID)} - {*numbers.values()}))
    table, values = np.arange(256, dtype=np.uint8), dict[int, str]()
    for value, label in found.values.items():
        if label not in numbers:
            number = value if value == VOID or not earlier else next(free, None)
            if number is None:
                raise VocSegError(
                    f"All {VOID} values are in use, so the label {label} has none. Delete {settings.parent}."
                )
            numbers[label] = number
        table[value] = numbers[label]
        values[numbers[label]] = label
    return replace(found, values=values, draw=partial(_renumbered, found.draw, table))


def _renumbered(draw: Callable[[LabelledImage], np.ndarray], table: np.ndarray, source: LabelledImage) -> np.ndarray:
    return table[draw(source)]


def _require_same(found: Found, earlier: Mapping[str, str], settings: Path) -> None:
    changed = [
        f"{key} was {earlier[key]} and is now {label}"
        for key, label in found_labels(found).items()
        if earlier.get(key, label) != label
    ]
    if changed:
        raise VocSegError(
            f"The labels of the data have changed since the first import: {', '.join(changed[:3])}. {settings} would "
            f"read them wrongly. Delete {settings.parent} to write it again, or correct data.values there and delete "
            "labels.csv beside it."
        )
