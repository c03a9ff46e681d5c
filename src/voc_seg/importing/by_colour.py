"""Whether masks are read by stored values or by colours."""

from collections.abc import Sequence

from voc_seg.voc.classes import VOID, voc_palette

from .inspect import PairFacts
from .layout import Colour, Found
from .overrides import Overrides
from .stored import text_of

BLACK: Colour = (0, 0, 0)
VOID_COLOUR: Colour = tuple(voc_palette()[VOID].tolist())
"""VOC's colour of void."""


def is_by_colour(facts: Sequence[PairFacts], found: Found, overrides: Overrides, notes: list[str]) -> bool:
    """Return whether masks are read by colours, of RGB or of their palettes, not by stored values."""
    if any(isinstance(key, tuple) for key in overrides.names) or any(one.colours for one in facts):
        return True
    if found.values or found.draw:
        return False
    if found.colours:
        # Three equal channels look like values, but may be greys that the layout lists.
        listed = {*found.colours, BLACK, VOID_COLOUR}
        fits = all({one.palette.get(value, (value,) * 3) for value in one.values} <= listed for one in facts)
        if not fits and not overrides.names:
            notes.append(
                "The masks do not have the colours that the layout lists, so they are read by stored values, and its "
                'class names are not used. Give the names with --classes "0=background,1=..."'
            )
        return fits
    if any(one.mask_mode != "P" or not one.palette for one in facts):
        return False
    shown: dict[int, Colour] = {}
    for one in facts:
        for value, colour in one.palette.items():
            if value != VOID and shown.setdefault(value, colour) != colour:
                notes.append(
                    f"Masks are read by the colours of their palettes: value {value} is {text_of(shown[value])} in "
                    f"some and {text_of(colour)} in others, such as {one.image_id}."
                )
                return True
    return False
