"""Masks as colours, as overlays over the image, and maps of wrong pixels."""

import numpy as np
from PIL import Image

from voc_seg.voc.classes import VOC_CLASSES, VOID, Classes

# The three differ in lightness (Rec. 601 luma 89, 140, 190 and up), so that they are distinguishable in grey prints
# and for colour-blind readers.
WRONG_COLOUR = (214, 39, 20)
VOID_COLOUR = (140, 140, 140)
_DARKEST_PALE = 190
NOT_SURE = "not sure"
"""Void in legends of predictions: where the network is less sure than ``inference.min_confidence``."""


def colourise(mask: np.ndarray, classes: Classes = VOC_CLASSES) -> np.ndarray:
    """A mask ``uint8 (H, W)`` in the colours of its classes, ``uint8 (H, W, 3)``; void (255) is (224, 224, 192)."""
    return classes.palette()[mask]


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.55, classes: Classes = VOC_CLASSES) -> np.ndarray:
    """The image with each region tinted and outlined in the colour of its class; background is unchanged.

    Args:
        image: ``uint8 (H, W, 3)`` RGB, as is the result.
        mask: ``uint8 (H, W)``, class index or 255 for void.
        opacity: Strength of the tint, 0 (image only) to 1 (colour only). The outline is opaque.
        classes: Names and colours by mask value.
    """
    colours = colourise(mask, classes)
    region = mask != 0
    result = image.copy()
    mixed = (1 - opacity) * image[region] + opacity * colours[region]
    result[region] = np.rint(mixed).astype(np.uint8)
    # 1/250 of the longer side stays visible when the overlay is reduced to a panel a few hundred pixels wide.
    outline = region & _edges(mask, thickness=max(1, round(max(mask.shape) / 250)))
    result[outline] = colours[outline]
    return result


def tinted(image: np.ndarray, mask: np.ndarray, classes: Classes) -> np.ndarray:
    """The image with background unchanged and every other region in grey, tinted in the colour of its class.

    Grey first, because a tint mixes with the colours of the image: a blue bus would look like another class.
    """
    shades = np.array(Image.fromarray(image).convert("L").convert("RGB"))
    return overlay(np.where((mask == 0)[..., None], image, shades), mask, 0.6, classes)


def error_map(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Map of wrong pixels: correct ones show the image in pale grey, wrong ones ``WRONG_COLOUR``, void ``VOID_COLOUR``.

    Args:
        image: ``uint8 (H, W, 3)`` RGB, as is the result.
        truth: ``uint8 (H, W)``, class index or 255 for void.
        prediction: ``uint8 (H, W)``, class index.
    """
    result = pale_grey(image)
    result[truth != prediction] = WRONG_COLOUR
    result[truth == VOID] = VOID_COLOUR
    return result


def reduced(longest: int, image: np.ndarray, *masks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Image and masks reduced to at most ``longest`` pixels on the longer side; smaller ones are unchanged."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image, *masks
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.array(small), *(np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in masks)


def pale_grey(image: np.ndarray) -> np.ndarray:
    """An image ``uint8 (H, W, 3)`` in light greys from 190 to 255, same shape."""
    grey = image @ np.array([0.299, 0.587, 0.114])  # (H, W), Rec. 601 luma
    pale = np.rint(_DARKEST_PALE + grey * (255 - _DARKEST_PALE) / 255).astype(np.uint8)
    return np.repeat(pale[..., None], 3, axis=-1)


def _edges(mask: np.ndarray, thickness: int) -> np.ndarray:
    """Pixels within ``thickness`` steps of another value, ``bool (H, W)``; the border of the image is not an edge."""
    edges = np.zeros(mask.shape, dtype=bool)
    for step in range(1, thickness + 1):
        across = mask[:, step:] != mask[:, :-step]
        edges[:, step:] |= across
        edges[:, :-step] |= across
        down = mask[step:] != mask[:-step]
        edges[step:] |= down
        edges[:-step] |= down
    return edges
