"""The 21 classes of PASCAL VOC segmentation, their order and their colours; and how to have others."""

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
"""Mask value of pixels that nobody labelled: object borders and difficult regions."""


def voc_palette() -> np.ndarray:
    """The colour of every mask value, ``uint8 (256, 3)`` RGB.

    The formula is that of ``VOClabelcolormap.m`` in the VOC development kit: the bits of the index, lowest
    first, are dealt in turn to red, green and blue, highest bit of the colour first.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


RESERVED_NAMES: frozenset[str] = frozenset(
    {"image_id", "split", "height", "width", "void", "mask_mode", "note", "rejected", "fingerprint", "truth"}
    | {"image", "file", "mask_palette", "image_file", "mask_file"}
)
"""What no class may be called: columns of tables that have one column a class."""

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    | field   | type               | meaning                                                       |
    |---------|--------------------|---------------------------------------------------------------|
    | names   | tuple[str, ...]    | name by mask value 0, 1, 2 ...; 0 is background               |
    | colours | tuple[Colour, ...] | colour by mask value                                          |
    | coded   | bool               | whether masks may be read by these colours: all were declared |
    | values  | tuple of int pairs | stored mask value and what it means: class index or `VOID`    |
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    coded: bool = True
    values: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> np.ndarray:
        """The colour of every mask value, ``uint8 (256, 3)`` RGB: VOC's where there is no class."""
        palette = voc_palette()
        palette[: len(self)] = self.colours
        return palette

    def meaning(self) -> np.ndarray:
        """What each stored mask value means, ``int16 (256,)``: class index, `VOID`, or -1 for nothing.

        A class that `values` mentions has these stored values alone, so that no value means a class by accident. Any
        other class has its own index. 255 is void unless `values` says otherwise.
        """
        meaning = np.full(256, -1, dtype=np.int16)
        meaning[: len(self)] = np.arange(len(self))
        meaning[VOID] = VOID
        meaning[[index for _, index in self.values if index != VOID]] = -1
        for stored, index in self.values:
            meaning[stored] = index
        return meaning


def name_classes(names: Sequence[str], colours: Sequence[Colour | None] = ()) -> Classes:
    """Classes by name; those without a colour get that of the VOC palette at their place, for pictures only."""
    palette = [tuple(colour) for colour in voc_palette().tolist()]
    given = [*colours, *[None] * (len(names) - len(colours))]
    filled = tuple(colour or palette[index] for index, colour in enumerate(given))
    return Classes(tuple(names), filled, coded=None not in given)


VOC_CLASSES: Classes = name_classes(CLASS_NAMES, [tuple(colour) for colour in voc_palette()[:21].tolist()])
