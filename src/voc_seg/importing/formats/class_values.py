"""Stored values for classes that come as names: background is 0, void is 255, the others follow from 1."""

import re
from collections.abc import Iterable, Mapping

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed
from voc_seg.voc.classes import VOID

from ..layout import VOID_NAME

BACKGROUND = "background"
_SAME_AS_BACKGROUND = ("_background_", "__background__", BACKGROUND)


def clean_label(label: object) -> str:
    """Return a label without surrounding blanks and line breaks; empty if it is not text or a number.

    Every spelling of background that tools use becomes "background", labelme's ``__ignore__`` becomes "void".
    """
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        return ""
    text = re.sub(r"\s+", " ", str(label)).strip().strip("\ufeff")
    if text == "__ignore__":
        return VOID_NAME
    return BACKGROUND if text.lower() in _SAME_AS_BACKGROUND else text


def number_classes(labels: Iterable[str]) -> dict[str, int]:
    """Return the stored value of each label, in the order given; background and void are always among them.

    Labels that differ only in case stay two classes: ``--merge`` may join them.

    Raises VocSegError for more than 255 classes, as 255 is void.
    """
    names = [name for name in dict.fromkeys(labels) if name not in (BACKGROUND, VOID_NAME)]
    if len(names) >= VOID:
        raise VocSegError(
            f"There are {len(names)} classes ({listed(names, 3)}), and {VOID - 1} and the background is the limit, "
            "as masks have 8 bits. Remove classes in the annotation tool and export again."
        )
    return {BACKGROUND: 0} | {name: value for value, name in enumerate(names, 1)} | {VOID_NAME: VOID}


def value_names(values: Mapping[str, int]) -> dict[int, str]:
    """Return the names by stored value, as `voc_seg.importing.layout.Found` has them."""
    return {value: name for name, value in values.items()}
