"""Notes on what a layout ignored or assumed, for `voc_seg.importing.layout.Found`: one sentence each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from voc_seg.system.names import counted, listed, printable

Counted = tuple[str, str]
"""A noun, and what happened to these things; see `count_notes`."""


def note_of(items: Sequence[object], noun: str, text: str) -> tuple[str, ...]:
    """Return one note with the number of items and the first of them: "3 files ignored: a, b, c."; none if empty."""
    return (f"{counted(len(items), noun)} {text}: {listed(list(dict.fromkeys(map(str, items))), 3)}.",) if items else ()


def count_notes(counts: Counter[Counted]) -> tuple[str, ...]:
    """Return a note for each count, keyed by a noun and what there is to say: "3 points ignored."."""
    return tuple(f"{counted(count, noun)} {text}." for (noun, text), count in counts.items() if count)


def masks_without_images(masks: Sequence[PurePosixPath]) -> tuple[str, ...]:
    """Return the note on masks without an image, if there are any."""
    return (f"{counted(len(masks), 'mask has', 'masks have')} no image: {examples(masks)}.",) if masks else ()


def examples(paths: Sequence[PurePosixPath], limit: int = 3) -> str:
    """Return the first paths as text: ``a/b.png, a/c.png and 4 more``."""
    return printable(listed([path.as_posix() for path in paths], limit))
