"""The 21 classes of PASCAL VOC segmentation, their order and colours; and custom classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLASS_NAMES: tuple[str, ...] = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""Class names by index, as in the VOC development kit (VOCinit.m); 0 is background."""

VOID: int = 255
"""Mask value of unlabelled pixels: object borders and difficult regions."""


def voc_palette() -> np.ndarray:
    """Return the colour of every mask value, ``uint8 (256, 3)`` RGB, as ``VOClabelcolormap.m`` of the VOC devkit does.

    The bits of the index, lowest first, go to red, green and blue in turn, highest colour bit first.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


RESERVED_NAMES: frozenset[str] = frozenset(
    {"image_id", "split", "height", "width", "void", "mask_mode", "note", "rejected", "fingerprint", "truth"}
    | {"image", "file", "mask_palette", "image_file", "mask_file", "traits", "channel_sums"}
)
"""Names no class may have: they are columns in tables with one column per class."""

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""


@dataclass(frozen=True)
class Classes:
    """The classes of a data set."""

    names: tuple[str, ...]  # name by mask value 0, 1, 2 ...; 0 is background
    colours: tuple[Colour, ...]  # colour by mask value
    coded: bool = True  # whether every class has a declared colour to read masks by
    values: tuple[tuple[int, int], ...] = ()  # pairs of stored mask value and class index or `VOID`
    mask_colours: tuple[tuple[Colour, int], ...] = ()  # the same for colours; if set, masks are read by them only

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> np.ndarray:
        """Return the colour of every mask value, ``uint8 (256, 3)`` RGB; unused values have VOC's colour."""
        palette = voc_palette()
        palette[: len(self)] = self.colours
        return palette

    def meaning(self) -> np.ndarray:
        """Return the class index, `VOID` or -1 (no meaning) of each stored mask value, ``int16 (256,)``.

        A class in `values` has only the stored values listed there; every other class is stored as its index.
        255 is void unless `values` says otherwise.
        """
        meaning = np.full(256, -1, dtype=np.int16)
        meaning[: len(self)] = np.arange(len(self))
        meaning[VOID] = VOID
        meaning[[index for _, index in self.values if index != VOID]] = -1
        for stored, index in self.values:
            meaning[stored] = index
        return meaning


def name_classes(names: Sequence[str], colours: Sequence[Colour | None] = ()) -> Classes:
    """Return classes by name; a class without a colour is drawn in VOC's colour for its index."""
    palette = [tuple(colour) for colour in voc_palette().tolist()]
    given = [*colours, *[None] * (len(names) - len(colours))]
    filled = tuple(colour or palette[index] for index, colour in enumerate(given))
    return Classes(tuple(names), filled, coded=None not in given)


VOC_CLASSES: Classes = name_classes(CLASS_NAMES, [tuple(colour) for colour in voc_palette()[:21].tolist()])
