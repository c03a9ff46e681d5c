"""Mask files as class indices: by stored value, or by the colours of the classes; and masks as palette images."""

import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from voc_seg.system.errors import VocSegError

from .classes import VOC_CLASSES, VOID, Classes
from .file_checks import read_image_file, short_name
from .images import exif_orientation
from .mask_colours import classes_of_colours, classes_of_greys, common_channel, map_colours, map_declared_colours
from .mask_modes import (
    BY_BLACK_AND_WHITE,
    BY_EQUAL_CHANNELS,
    raw_mode,
    require_lossless,
    require_opaque,
    single_channel,
)
from .mask_values import count_values, map_values

# These notes are stored in the index, where `voc_seg.voc.consistency` looks for them.
BY_GREY = "mask read by the grey of its class colours"
BY_PALETTE = "mask read by the colours of its palette, which numbers the classes in another order"
BY_RGB = "mask read by its RGB colours"


@dataclass(frozen=True)
class Mask:
    """A mask as class indices."""

    indices: np.ndarray  # ``uint8 (H, W)``, class index, 255 for void
    mode: str  # Pillow's mode of the file: P, L, RGB, RGBA
    note: str = ""  # empty, or how the indices were read from colours
    palette: str = ""  # for palette masks read by stored values: JSON of value to colour, ``{"1": "e69f00"}``


def decode_mask(path: Path, classes: Classes = VOC_CLASSES) -> Mask:
    """Read a PNG, TIFF, BMP or WebP mask.

    `Classes.meaning` maps stored values to classes. If every class has a declared colour, masks that show these
    colours in another way are read by colour: RGB, palettes in another order, and greys. The note says so; it also
    reports values in one bit, in more than eight, beside an alpha channel and in three equal channels.

    Raises:
        VocSegError: The file is missing, empty, not an image or cannot be decoded to its end; or its mode cannot hold
            indices, or a value or colour belongs to no class.
    """
    return read_image_file(path, "mask", lambda image: _as_indices(image, classes))


def palette_image(mask: np.ndarray, classes: Classes = VOC_CLASSES) -> Image.Image:
    """Return a mask ``uint8 (H, W)`` as a palette image in the colours of the classes, the format of the VOC server."""
    image = Image.fromarray(mask)
    image.putpalette(classes.palette().tobytes())
    return image


def _as_indices(image: ImageFile.ImageFile, classes: Classes) -> Mask:
    name = short_name(Path(os.fsdecode(image.filename)))
    require_lossless(image, name)
    # Pillow turns a TIFF while loading it and drops the tag; a PNG may have the tag after its pixels.
    turn = exif_orientation(image) if image.format == "TIFF" else 1
    mask = _decode_mode(image, name, classes)
    if (turn := max(turn, exif_orientation(image))) != 1:
        raise VocSegError(
            f"mask with an EXIF orientation: {name} has {turn}, which only some programs apply; save it without "
            "this tag"
        )
    return mask


def _decode_mode(image: ImageFile.ImageFile, name: str, classes: Classes) -> Mask:
    if classes.mask_colours:
        require_opaque(image, name)
        return Mask(map_declared_colours(image, name, classes), image.mode)
    if image.mode == "L":
        return _from_grey(grey_indices(image), name, classes)
    if image.mode == "P":
        return _from_palette(image, name, classes)
    require_opaque(image, name)
    if image.mode in ("RGB", "RGBA"):
        return _from_rgb(image, name, classes)
    if (found := single_channel(image, name)) is not None:
        return _from_other_grey(*found, image.mode, name, classes)
    raise VocSegError(f"mask mode: {name} is {image.mode}, not palette (P), 8-bit grey (L) or RGB in class colours")


def grey_indices(image: ImageFile.ImageFile) -> np.ndarray:
    """Return grey values as stored: Pillow scales those of 2 and 4 bits to 0..255."""
    step = {"L;2": 85, "L;4": 17}.get(raw_mode(image))
    return np.asarray(image) // np.uint8(step) if step else np.asarray(image)


def _from_grey(stored: np.ndarray, name: str, classes: Classes) -> Mask:
    """Read by value, or by colour if all values are greys of class colours and would mean other classes as values."""
    used = np.flatnonzero(count_values(stored))
    if classes.coded and not classes.values:
        shown = classes_of_greys(used, classes)
        if (shown >= 0).all() and (shown != used).any():
            meaning = np.zeros(256, np.uint8)
            meaning[used] = shown
            return Mask(meaning[stored], "L", BY_GREY)
    return Mask(map_values(stored, used, name, classes), "L")


def _from_other_grey(stored: np.ndarray, note: str, mode: str, name: str, classes: Classes) -> Mask:
    """Do the same as `_from_grey` for values that were not 8-bit grey; a 1-bit mask shows black and white."""
    meaning = classes.meaning()
    if mode == "1" and classes.values and meaning[1] < 0 <= meaning[VOID]:  # white is 1 in the file and shows as 255
        stored, note = stored * np.uint8(255), BY_BLACK_AND_WHITE
    by_colour = _from_grey(stored * np.uint8(255), name, classes) if mode == "1" and classes.coded else None
    found = by_colour if by_colour and by_colour.note else _from_grey(stored, name, classes)
    return Mask(found.indices, mode, "; ".join(filter(None, [note, found.note])))


def _from_rgb(image: Image.Image, name: str, classes: Classes) -> Mask:
    """Read by class colours, or by value if three equal channels hold indices (an array repeated per channel)."""
    stored = common_channel(image)
    if stored is not None:
        used = np.flatnonzero(count_values(stored))
        if not classes.coded or _are_indices(used, classes):
            return Mask(map_values(stored, used, name, classes), image.mode, BY_EQUAL_CHANNELS)
        _require_agreement(used, name, image.mode, classes)
    return Mask(map_colours(image, name, classes), image.mode, BY_RGB)


def _require_agreement(used: np.ndarray, name: str, mode: str, classes: Classes) -> None:
    """Refuse greys that are class colours but mean other classes in ``data.values``."""
    shown = classes_of_greys(used, classes)
    declared = dict(classes.values)
    for value, index in zip(used.tolist(), shown.tolist()):
        if index >= 0 and declared.get(value, index) != index:
            raise VocSegError(
                f"colours and values disagree: {name} is {mode} and has ({value}, {value}, {value}), the colour of "
                f"{_class_name(index, classes)} in data.classes, but {value} means "
                f"{_class_name(declared[value], classes)} in data.values. Make both agree"
            )


def _class_name(index: int, classes: Classes) -> str:
    return "void" if index == VOID else classes.names[index]


def _are_indices(used: np.ndarray, classes: Classes) -> bool:
    """Return whether grey RGB values are class indices: some are no class colour, and not all are black or white."""
    if (classes_of_greys(used, classes) >= 0).all():
        return False
    declared = [value for value, _ in classes.values]
    return (classes.meaning()[used] >= 0).all() and not np.isin(used, sorted({0, VOID} - {*declared})).all()


def _from_palette(image: Image.Image, name: str, classes: Classes) -> Mask:
    """Read by value, or by colour if the palette shows the values in use in the colours of other classes.

    PNG optimisers renumber the values and keep the colours; by value, such masks would show other classes.
    """
    stored = np.asarray(image)
    used = np.flatnonzero(count_values(stored))
    palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    if used[-1] >= len(palette):
        return Mask(map_values(stored, used, name, classes), "P")
    colours = palette[used]
    if (colours == used[:, None]).all():  # a grey ramp, not a palette
        return replace(_from_grey(stored, name, classes), mode="P")
    if classes.coded and _distinguishes(colours):
        shown = classes_of_colours(colours, classes)
        shown = np.where((shown < 0) & (used == VOID), VOID, shown)  # void may have any colour
        declared = np.isin(used, [value for value, _ in classes.values])
        wrong = (shown >= 0) & (shown != classes.meaning()[used]) & ~declared
        if wrong.any() and not classes.values and (shown >= 0).all() and np.unique(shown).size == used.size:
            meaning = np.zeros(256, np.uint8)
            meaning[used] = shown
            return Mask(meaning[stored], "P", BY_PALETTE)
        if wrong.any():
            value, index = used[wrong][0], shown[wrong][0]
            raise VocSegError(
                f"palette and values disagree: {name} shows value {value} in the colour of "
                f"{_class_name(index, classes)}, but some of its colours belong to no class. Give the classes these "
                "colours in data.classes, or set in data.values what each stored value means"
            )
    return Mask(map_values(stored, used, name, classes), "P", palette=_describe_palette(used, colours))


def _distinguishes(colours: np.ndarray) -> bool:
    """Return whether palette colours ``uint8 (K, 3)`` distinguish values; a single black does not."""
    distinct = len({tuple(colour) for colour in colours.tolist()}) == len(colours)
    return distinct and not (len(colours) == 1 and not colours.any())


def _describe_palette(used: np.ndarray, colours: np.ndarray) -> str:
    """Return JSON of the colours by value for `voc_seg.voc.consistency`; empty if they carry no information.

    That is the case for a colour shared by several values, for a single black, and for the colour of void.
    """
    if len(colours) == 1 and not colours.any():
        return ""
    shown = {value: bytes(colour).hex() for value, colour in zip(used.tolist(), colours.tolist())}
    several = Counter(shown.values())
    informative = {str(value): colour for value, colour in shown.items() if value != VOID and several[colour] == 1}
    return json.dumps(informative) if informative else ""
