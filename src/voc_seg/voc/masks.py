"""Mask files as class indices: by stored value, by the colours of the classes, or by a palette in those colours."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from voc_seg.system.errors import VocSegError

from .classes import VOC_CLASSES, VOID, Classes, voc_palette
from .mask_modes import (
    BY_BLACK_AND_WHITE,
    BY_EQUAL_CHANNELS,
    has_equal_channels,
    raw_mode,
    require_lossless,
    single_channel,
)
from .reading import exif_orientation, read_image_file, short_name

BY_GREY = "mask read by the grey of its class colours"
BY_PALETTE = "mask read by the colours of its palette, which numbers the classes in another order"
BY_RGB = "mask read by its RGB colours"
NUMBERED_FROM_ONE = "if the masks number the classes from 1"

_NAMED = 5
"""Colours or labels that a message lists."""
_HIGHEST_INDEX = 64
"""Greys below look like indices rather than colours."""
_STRIP = 2**18
"""Pixels that are counted or looked up at once: for all of a large mask that would take ten times its own memory."""


@dataclass(frozen=True)
class Mask:
    """A mask as class indices.

    | field   | type  | shape  | meaning                                                            |
    |---------|-------|--------|--------------------------------------------------------------------|
    | indices | uint8 | (H, W) | class index, 255 for void                                          |
    | mode    | str   |        | how the file stores it, in Pillow's words: P, L, RGB, RGBA         |
    | note    | str   |        | empty, or how the indices were read from colours                   |
    | palette | str   |        | JSON of value to colour (``{"1": "e69f00"}``) of the values in use, |
    |         |       |        | where a palette was there and the stored values were taken         |
    """

    indices: np.ndarray
    mode: str
    note: str = ""
    palette: str = ""


def decode_mask(path: Path, classes: Classes = VOC_CLASSES) -> Mask:
    """Read a mask.

    Stored values mean what `Classes.meaning` says. Where every class has a colour of its own, masks that show those
    colours otherwise are read by them, and noted: RGB, a palette whose order is another one, and greys. Noted, too, are
    values in one bit, in more than eight, beside an alpha channel and in three equal channels.

    Args:
        path: PNG, TIFF, BMP or WebP file.
        classes: Their colours and values; void has the colour of VOC.

    Raises:
        VocSegError: The file is missing, empty, no image, cannot be decoded to its end, has a mode that cannot
            hold indices, or values or colours that mean no class.
    """
    return read_image_file(path, "mask", lambda image: _as_indices(image, classes))


def count_values(stored: np.ndarray) -> np.ndarray:
    """How many pixels of ``uint8 (H, W)`` have each value, ``int64 (256,)``."""
    pixels = stored.reshape(-1)
    parts = (pixels[start : start + _STRIP] for start in range(0, pixels.size, _STRIP))
    return sum((np.bincount(part, minlength=256) for part in parts), np.zeros(256, np.int64))


def _as_indices(image: Image.Image, classes: Classes) -> Mask:
    name = short_name(Path(image.filename))
    require_lossless(image, name)
    # Pillow turns a TIFF when it loads the pixels, and drops the tag; a PNG may have it behind its pixels.
    turn = exif_orientation(image) if image.format == "TIFF" else 1
    mask = _of_any_mode(image, name, classes)
    if (turn := max(turn, exif_orientation(image))) != 1:
        raise VocSegError(
            f"mask with an EXIF orientation: {name} has {turn}, which some programs obey and others do not; save it "
            "without this tag"
        )
    return mask


def _of_any_mode(image: Image.Image, name: str, classes: Classes) -> Mask:
    if image.mode == "L":
        return _from_grey(_grey_indices(image), name, classes)
    if image.mode == "P":
        return _from_palette(image, name, classes)
    if image.mode == "RGBA" and image.getextrema()[3][0] < 255:
        raise VocSegError(f"mask with transparency: {name} is RGBA and not opaque; save it with a palette (P)")
    if image.mode in ("RGB", "RGBA"):
        return _from_rgb(image, name, classes)
    if (found := single_channel(image, name)) is not None:
        return _from_other_grey(*found, image.mode, name, classes)
    raise VocSegError(f"mask mode: {name} is {image.mode}, not palette (P), 8-bit grey (L) or RGB in class colours")


def _grey_indices(image: Image.Image) -> np.ndarray:
    """Grey values as stored: Pillow stretches those of 2 and 4 bits over 0..255."""
    step = {"L;2": 85, "L;4": 17}.get(raw_mode(image))
    return np.asarray(image) // np.uint8(step) if step else np.asarray(image)


def _from_grey(stored: np.ndarray, name: str, classes: Classes) -> Mask:
    """By value; by colour where the values are greys of class colours and, as values, would mean anything else."""
    used = np.flatnonzero(count_values(stored))
    if classes.coded and not classes.values:
        shown = _class_of(np.repeat(used[:, None].astype(np.uint8), 3, axis=1), classes)
        if (shown >= 0).all() and (shown != used).any():
            meaning = np.zeros(256, np.uint8)
            meaning[used] = shown
            return Mask(meaning[stored], "L", BY_GREY)
    return Mask(_from_values(stored, used, name, classes), "L")


def _from_other_grey(stored: np.ndarray, note: str, mode: str, name: str, classes: Classes) -> Mask:
    """As `_from_grey`, where values were not 8-bit grey; the one bit of a mask shows as black and white."""
    meaning = classes.meaning()
    if mode == "1" and classes.values and meaning[1] < 0 <= meaning[VOID]:  # white is 1 in the file and shows as 255
        stored, note = stored * np.uint8(255), BY_BLACK_AND_WHITE
    by_colour = _from_grey(stored * np.uint8(255), name, classes) if mode == "1" and classes.coded else None
    found = by_colour if by_colour and by_colour.note else _from_grey(stored, name, classes)
    return Mask(found.indices, mode, "; ".join(filter(None, [note, found.note])))


def _from_rgb(image: Image.Image, name: str, classes: Classes) -> Mask:
    """By class colours; by value where three equal channels hold indices, as programs save arrays that repeat them."""
    stored = _common_channel(image)
    if stored is not None:
        used = np.flatnonzero(count_values(stored))
        if not classes.coded or _are_indices(used, classes):
            return Mask(_from_values(stored, used, name, classes), image.mode, BY_EQUAL_CHANNELS)
        _require_agreement(used, name, image.mode, classes)
    return Mask(_from_colours(image, name, classes), image.mode, BY_RGB)


def _require_agreement(used: np.ndarray, name: str, mode: str, classes: Classes) -> None:
    """Refuse greys that are colours of classes while ``data.values`` says that they mean others."""
    shown = _class_of(np.repeat(used[:, None].astype(np.uint8), 3, axis=1), classes)
    declared = dict(classes.values)
    for value, index in zip(used.tolist(), shown.tolist()):
        if index >= 0 and declared.get(value, index) != index:
            raise VocSegError(
                f"colours and values disagree: {name} is {mode} and has ({value}, {value}, {value}), the colour of "
                f"{_meant(index, classes)} in data.classes, but {value} means {_meant(declared[value], classes)} in "
                "data.values. Make both say the same"
            )


def _meant(index: int, classes: Classes) -> str:
    return "void" if index == VOID else classes.names[index]


def _are_indices(used: np.ndarray, classes: Classes) -> bool:
    """Whether grey RGB values are class indices: not all are class colours, and they are more than black and white."""
    if (_class_of(np.repeat(used[:, None].astype(np.uint8), 3, axis=1), classes) >= 0).all():
        return False
    declared = [value for value, _ in classes.values]
    return (classes.meaning()[used] >= 0).all() and not np.isin(used, sorted({0, VOID} - {*declared})).all()


def _common_channel(image: Image.Image) -> np.ndarray | None:
    """The values ``uint8 (H, W)`` of an RGB image whose channels are the same; None where they are not."""
    values = np.empty((image.height, image.width), dtype=np.uint8)
    for rows, pixels in _strips(image):
        if not has_equal_channels(pixels):
            return None
        values[rows] = pixels[..., 0]
    return values


def _from_palette(image: Image.Image, name: str, classes: Classes) -> Mask:
    """By value; by colour where the palette shows every value in use in the colour of another class.

    Programs that shrink PNGs number the values anew and keep their colours; such values would mean other classes.
    """
    stored = np.asarray(image)
    used = np.flatnonzero(count_values(stored))
    palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    if used[-1] >= len(palette):
        return Mask(_from_values(stored, used, name, classes), "P")
    colours = palette[used]
    if (colours == used[:, None]).all():  # no palette but greys
        return replace(_from_grey(stored, name, classes), mode="P")
    if classes.coded and _tells(colours):
        shown = _class_of(colours, classes)
        shown = np.where((shown < 0) & (used == VOID), VOID, shown)  # of whatever colour the border is
        declared = np.isin(used, [value for value, _ in classes.values])
        wrong = (shown >= 0) & (shown != classes.meaning()[used]) & ~declared
        if wrong.any() and not classes.values and (shown >= 0).all() and np.unique(shown).size == used.size:
            meaning = np.zeros(256, np.uint8)
            meaning[used] = shown
            return Mask(meaning[stored], "P", BY_PALETTE)
        if wrong.any():
            value, index = used[wrong][0], shown[wrong][0]
            raise VocSegError(
                f"palette and values disagree: {name} shows value {value} in the colour of {_meant(index, classes)}, "
                "but not all of its colours are those of classes. Give the classes these colours in data.classes, or "
                "say in data.values what each stored value means"
            )
    return Mask(_from_values(stored, used, name, classes), "P", palette=_describe_palette(used, colours))


def _tells(colours: np.ndarray) -> bool:
    """Whether colours ``uint8 (K, 3)`` of a palette tell values apart; a single black may be black all over."""
    distinct = len({tuple(colour) for colour in colours.tolist()}) == len(colours)
    return distinct and not (len(colours) == 1 and not colours.any())


def _describe_palette(used: np.ndarray, colours: np.ndarray) -> str:
    """Colours by value, for `voc_seg.voc.consistency`; empty where they tell nothing. That of void may be any.

    A colour of several values tells nothing about them, nor does the only colour if it is black.
    """
    if len(colours) == 1 and not colours.any():
        return ""
    shown = {value: bytes(colour).hex() for value, colour in zip(used.tolist(), colours.tolist())}
    several = Counter(shown.values())
    told = {str(value): colour for value, colour in shown.items() if value != VOID and several[colour] == 1}
    return json.dumps(told) if told else ""


def _from_values(stored: np.ndarray, used: np.ndarray, name: str, classes: Classes) -> np.ndarray:
    """Class indices of stored values, each of which must mean something."""
    meaning = classes.meaning()
    unknown = [value for value in used.tolist() if meaning[value] < 0]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        known = _ranges(np.flatnonzero(meaning >= 0).tolist())
        advice = f"data.values says what others mean, such as data.values.{unknown[0]}=void"
        labels = set(used.tolist()) - {VOID}
        if unknown == [len(classes)] and 0 not in labels and len(labels) > 1 and not classes.values:
            advice = (
                f"{NUMBERED_FROM_ONE}, as 0 does not occur, set {shifted_values(classes.names)}; otherwise {advice}"
            )
        raise VocSegError(
            f"unknown labels: {name} has {', '.join(map(str, unknown[:_NAMED]))}{more} (known are {known}; {advice})"
        )
    return meaning.astype(np.uint8)[stored] if classes.values else stored


def shifted_values(names: Sequence[str]) -> str:
    """The setting for masks whose first class is 1: ``data.values={1: background, 2: cat}``."""
    listed = [f"{stored}: {name}" for stored, name in enumerate(names, 1)]
    if len(listed) > _NAMED:
        listed[2:-1] = ["..."]
    return f"data.values={{{', '.join(listed)}}}"


def _ranges(values: list[int]) -> str:
    """``[0, 1, 2, 255]`` as "0 to 2 and 255"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _from_colours(image: Image.Image, name: str, classes: Classes) -> np.ndarray:
    if not classes.coded:
        raise VocSegError(
            f"mask without known colours: {name} is {image.mode}; give every class in data.classes its colour"
        )
    indices = np.empty((image.height, image.width), dtype=np.uint8)
    unknown, unknown_pixels = [], 0
    for rows, pixels in _strips(image):
        codes, inverse = np.unique(_codes(pixels), return_inverse=True)
        meant = _class_of_codes(codes, classes)
        indices[rows] = meant.astype(np.uint8)[inverse].reshape(pixels.shape[:2])
        if (meant < 0).any():
            unknown.append(codes[meant < 0])
            unknown_pixels += int((meant < 0)[inverse].sum())
    if unknown:
        share = f"{unknown_pixels} of {indices.size} pixels"
        raise VocSegError(_unknown_colours(np.unique(np.concatenate(unknown)), share, name, image.mode))
    return indices


def _strips(image: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """RGB pixels ``uint8 (h, W, 3)`` of some rows at a time."""
    step = max(1, _STRIP // image.width)
    for top in range(0, image.height, step):
        bottom = min(image.height, top + step)
        yield slice(top, bottom), np.asarray(image.crop((0, top, image.width, bottom)).convert("RGB"))


def _unknown_colours(codes: np.ndarray, share: str, name: str, mode: str) -> str:
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    listed = ", ".join(str(tuple(colour)) for colour in colours[:_NAMED].tolist())
    more = f" and {len(colours) - _NAMED} more" if len(colours) > _NAMED else ""
    grey = (colours == colours[:, :1]).all() and colours.max() < _HIGHEST_INDEX
    void = tuple(voc_palette()[VOID].tolist())
    hint = (
        "these look like class indices saved as RGB, but some are larger than any class index"
        if grey
        else f"add the colour to a class in data.classes, or paint void pixels {void}"
    )
    return f"mask colours: {name} is {mode} and has {listed}{more}, which no class has ({share}); {hint}"


def _codes(colours: np.ndarray) -> np.ndarray:
    """Each colour ``uint8 (..., 3)`` as one number ``uint32``."""
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _class_of(colours: np.ndarray, classes: Classes) -> np.ndarray:
    """Class index or 255 of each colour ``uint8 (K, 3)``, -1 where no class has it: ``int (K,)``."""
    return _class_of_codes(_codes(colours), classes)


def _class_of_codes(codes: np.ndarray, classes: Classes) -> np.ndarray:
    values = np.array([*range(len(classes)), VOID])
    known = _codes(classes.palette()[values])
    order = np.argsort(known)
    places = order[np.searchsorted(known[order], codes).clip(max=len(known) - 1)]
    return np.where(known[places] == codes, values[places], -1)
