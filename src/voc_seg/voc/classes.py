"""The 21 classes of PASCAL VOC segmentation, their order and their colours."""

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
