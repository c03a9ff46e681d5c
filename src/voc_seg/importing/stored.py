"""What the masks hold, by stored value or by colour: pixels, images and an example of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from voc_seg.voc.mask_values import range_texts

from .inspect import PairFacts
from .layout import Stored


@dataclass(frozen=True)
class StoredTotal:
    """One stored value or colour over all masks."""

    images: int
    pixels: int
    example: str  # image id with most pixels of it


def stored_counts(facts: PairFacts, by_colour: bool) -> Mapping[Stored, int]:
    """Return the pixels of a mask by stored value, or by colour: of its palette, of RGB, or greys for plain values."""
    counts: dict[Stored, int] = {}
    if not by_colour or facts.colours:
        counts.update((key, pixels) for key, pixels in (facts.colours if by_colour else facts.values).items())
        return counts
    for value, pixels in facts.values.items():
        colour = facts.palette.get(value, (value, value, value))
        counts[colour] = counts.get(colour, 0) + pixels
    return counts


def stored_totals(facts: Iterable[PairFacts], by_colour: bool) -> dict[Stored, StoredTotal]:
    """Sum over all usable masks; sorted by value, or by pixels for colours."""
    images: dict[Stored, int] = {}
    pixels: dict[Stored, int] = {}
    largest: dict[Stored, tuple[int, str]] = {}
    for one in facts:
        for key, count in stored_counts(one, by_colour).items():
            images[key] = images.get(key, 0) + 1
            pixels[key] = pixels.get(key, 0) + count
            if count > largest.get(key, (0, ""))[0]:
                largest[key] = (count, one.image_id)
    order = sorted(pixels, key=lambda key: (-pixels[key] if by_colour else 0, text_of(key).zfill(3)))
    return {key: StoredTotal(images[key], pixels[key], largest[key][1]) for key in order}


def text_of(key: Stored | str) -> str:
    """Return a value, colour or name as the options write it: ``255``, ``#ff0000``, ``cat``."""
    return "#{:02x}{:02x}{:02x}".format(*key) if isinstance(key, tuple) else str(key)


def texts_of(keys: Sequence[Stored]) -> str:
    """Return values with their runs as ranges, or colours: ``0, 3-7, 255``."""
    if not all(isinstance(key, int) for key in keys):
        return ", ".join(map(text_of, keys))
    return ", ".join(range_texts(sorted(key for key in keys if isinstance(key, int)), "-"))
