"""Checks that the values mean the same in all masks of a data set, which no single file can show."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from voc_seg.system.errors import VocSegError

from .classes import VOID, Classes
from .mask_modes import BY_EQUAL_CHANNELS
from .masks import BY_GREY, BY_PALETTE, BY_RGB

_LEAST_VOID = 0.02
"""Fraction of a mask, and of all masks, above which void is suspected to be an object."""
_BLACK = "000000"
_REMEDY = (
    "give every class its colour in data.classes, so that masks are read by colour; or, if the stored values are "
    "right, set their meaning in data.values"
)
_REMEDY_WITH_COLOURS = (
    "these are not the colours in data.classes. Declare the colours of the masks there, or set the meaning of each "
    "stored value in data.values"
)


def require_consistent_masks(indices: Mapping[str, pd.DataFrame], classes: Classes) -> None:
    """Refuse a data set in which a value or colour means different classes in different masks.

    Colours and values are compared between the files of all splits; values declared in ``classes`` are trusted.
    """
    usable = pd.concat([index[index["rejected"] == ""] for index in indices.values()], ignore_index=True)
    _require_same_palette(usable, classes)
    if not classes.values:
        _require_same_grey_meaning(usable, classes.names)


def void_objects_warning(indices: Mapping[str, pd.DataFrame], classes: Classes) -> str:
    """Return a warning if masks seem to store objects as 255, which is void (where others store 1); else empty.

    With more than two classes, this needs a split without any object, or a train split that lacks only the last class.
    """
    several = len(classes.names) > 2
    for split, index in indices.items():
        usable = index[index["rejected"] == ""]
        objects = usable[list(classes.names[1:])].sum(axis=1)
        suspects = usable[(objects == 0) & (usable["void"] > _LEAST_VOID * (usable["height"] * usable["width"]))]
        if len(suspects) < max(min(2, len(usable)), _LEAST_VOID * len(usable), 1) or (several and objects.any()):
            continue
        return (
            f"{len(suspects)} masks of {split} hold only {classes.names[0]} and void, such as "
            f"{suspects['image_id'].iloc[0]}, while others hold {classes.names[1]}. If {VOID} is {classes.names[1]} "
            f"there, set data.values.{VOID}={classes.names[1]},data.values.1={classes.names[1]}"
        )
    return _void_class_warning(indices["train"], classes) if several else ""


def _void_class_warning(train: pd.DataFrame, classes: Classes) -> str:
    """Return a warning if there is void and only the last class never occurs (0, 1, 255 of three); else empty."""
    usable = train[train["rejected"] == ""]
    absent = [name for name in classes.names if not usable[name].any()]
    area = (usable["height"] * usable["width"]).sum()
    if absent != [classes.names[-1]] or classes.values or usable["void"].sum() <= _LEAST_VOID * area:
        return ""
    return (
        f"train has no pixel of {absent[0]}, but {100 * usable['void'].sum() / area:.2g} % of its pixels are void "
        f"({VOID}). If {VOID} is {absent[0]} in these masks, set data.values.{VOID}={absent[0]}"
    )


def require_more_than_void(train: pd.DataFrame, classes: Classes) -> None:
    """Refuse masks with only background and 255: tools export two classes like this, with 255 as the object."""
    usable = train[train["rejected"] == ""]
    void = [str(stored) for stored, meaning in enumerate(classes.meaning().tolist()) if meaning == VOID]
    all_void = train["rejected"].str.startswith("no labelled pixel").sum()
    if not usable["void"].sum() + all_void or usable[list(classes.names[1:])].to_numpy().any():
        return
    white = usable["void"].sum() > usable[classes.names[0]].sum()
    swapped = f" (or {classes.names[1]} and {classes.names[0]} exchanged, if {VOID} is the ground)" if white else ""
    stored = f" (stored as {' or '.join(void)})" if void else ""
    first = "name the classes of these masks in data.classes, " if len(classes) > 2 else ""
    background, other = classes.names[:2]
    raise VocSegError(
        f"The masks of train hold only {background} and void{stored}: no pixel of {', '.join(classes.names[1:4])}"
        f"{' ...' if len(classes) > 4 else ''}. If {VOID} is a class in these masks, as programs save masks "
        f"of two classes, {first}set data.values={{0: {background}, {VOID}: {other}}} in the parameters file, or "
        f"--params data.values.0={background},data.values.{VOID}={other}{swapped}, and run data_processing again."
    )


def black_value_warning(indices: Mapping[str, pd.DataFrame], classes: Classes) -> str:
    """Return a warning if palettes show a value other than 0 in black, most likely the background; else empty."""
    if classes.coded or classes.values:
        return ""
    for index in indices.values():
        rows = index.loc[(index["rejected"] == "") & (index["mask_palette"] != ""), ["image_id", "mask_palette"]]
        for image_id, palette in rows.itertuples(index=False):
            shown = json.loads(palette)
            black = next((value for value, colour in shown.items() if colour == _BLACK), "0")
            if shown.get("0", _BLACK) != _BLACK and black != "0":
                return (
                    f"The palettes of the masks show value {black} in black and value 0 in #{shown['0']} (such as "
                    f"{image_id}), but 0 is {classes.names[0]} here. If black is {classes.names[0]}, {_REMEDY}."
                )
    return ""


def _require_same_palette(usable: pd.DataFrame, classes: Classes) -> None:
    """Compare the palettes in the index, which omits shared colours and grey ramps."""
    declared = {str(value) for value, _ in classes.values}
    by_colour: dict[str, dict[str, str]] = defaultdict(dict)
    by_value: dict[str, dict[str, str]] = defaultdict(dict)
    rows = usable.loc[usable["mask_palette"] != "", ["image_id", "mask_palette"]]
    for image_id, palette in rows.itertuples(index=False):
        for value, colour in json.loads(palette).items():
            by_colour[colour].setdefault(value, image_id)
            by_value[value].setdefault(colour, image_id)
    for what, found in (
        ("the colour #{} is value {} in {} and value {} in {}", by_colour),
        ("value {} is #{} in {} and #{} in {}", by_value),
    ):
        for key, others in found.items():
            if len(others) > 1 and not declared.issuperset([*others] if found is by_colour else [key]):
                (one, first), (other, second) = list(others.items())[:2]
                raise VocSegError(
                    f"The masks have different palettes: {what.format(key, one, first, other, second)}. The same value "
                    f"would mean different classes: {_REMEDY_WITH_COLOURS if classes.coded else _REMEDY}."
                )


def _require_same_grey_meaning(usable: pd.DataFrame, names: Sequence[str]) -> None:
    noted = {note: usable["note"].str.contains(note, regex=False) for note in (BY_GREY, BY_PALETTE, BY_RGB)}
    by_value = ~(noted[BY_GREY] | noted[BY_PALETTE] | noted[BY_RGB])
    by_channels = usable["note"].str.contains(BY_EQUAL_CHANNELS, regex=False)
    objects = usable[list(names[1:])].sum(axis=1) > 0
    for what, by_colour, others in (
        ("greys", noted[BY_GREY], by_value & objects),
        ("RGB values", noted[BY_RGB] & objects, by_channels),  # an all-black mask is background either way
    ):
        if by_colour.any() and others.any():
            raise VocSegError(
                f"The {what} of {usable.loc[by_colour, 'image_id'].iloc[0]} are the colours of classes, those of "
                f"{usable.loc[others, 'image_id'].iloc[0]} are class indices. Set the meaning of stored values in "
                "data.values, or save all masks the same way."
            )
