"""The classes of imported data, from what the layout says, what the masks hold and what the user says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed
from voc_seg.voc.classes import VOID

from .by_colour import BLACK, VOID_COLOUR, is_by_colour
from .class_names import require_valid_names
from .class_plan import ClassPlan
from .doubtful_values import require_clear_colours, require_clear_values, require_one_kind
from .inspect import PairFacts
from .layout import VOID_NAME, Colour, Found, Stored
from .overrides import Overrides
from .stored import StoredTotal, stored_counts, stored_totals, text_of, texts_of

BACKGROUND, OBJECT = "background", "object"


_FIGURES: tuple[Colour, ...] = (
    BLACK, (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Colours for classes that have none: those of Okabe and Ito (https://jfly.uni-koeln.de/color), which people with any
colour vision tell apart."""


@dataclass(frozen=True)
class ClassRow:
    """One line of the table that is shown to the user."""

    stored: str  # values or colours, as the options write them
    name: str
    images: int
    pixels: int
    share: float  # fraction of all pixels, void included
    example: str  # image id


def plan_classes(facts: Sequence[PairFacts], found: Found, overrides: Overrides = Overrides()) -> ClassPlan:  # noqa: B008
    """Decide what the stored values or colours mean.

    Names given by the layout are used, and the overrides win. Without names, 0 or black is background, 255 is void
    beside values that look like indices, and other values are named by their number, colours by their code.

    Raises:
        VocSegError: No mask is usable, the meaning is not clear (see `doubtful_values`), or fewer than two classes
            result.
    """
    usable = [one for one in facts if not one.problem]
    if not usable:
        problems = listed([f"{one.image_id}: {one.problem}" for one in facts], 3)
        raise VocSegError(f"None of the {len(facts)} masks can be used. {problems}")
    notes: list[str] = []
    by_colour = is_by_colour(usable, found, overrides, notes)
    totals = stored_totals(usable, by_colour)
    given = _override_stored(totals, found, overrides, by_colour)
    if by_colour:
        require_one_kind(usable, {*found.colours, *given})
        names = _colour_names(totals, found, given, notes)
    else:
        names = _value_names(usable, totals, found, given, notes)
    names |= given
    ordered = _class_order(names, found.names)
    require_valid_names(names, ordered)
    if len(ordered) < 2:
        held = texts_of(list(totals))
        raise VocSegError(
            f"The masks hold only one class: {', '.join(ordered) or VOID_NAME} (stored as {held}). A network needs two "
            "or more. Name the stored values with --classes, as in --classes 0=background,255=tree"
        )
    colours = _class_colours(usable, found, names, ordered)
    return ClassPlan(ordered, colours, names, tuple(notes))


def class_rows(facts: Sequence[PairFacts], plan: ClassPlan) -> tuple[ClassRow, ...]:
    """Return a line for every class and void, in this order."""
    usable = [one for one in facts if not one.problem]
    totals = stored_totals(usable, plan.by_colour)
    everything = sum(total.pixels for total in totals.values()) or 1
    rows = []
    for name in (*plan.names, VOID_NAME):
        keys = [key for key, meaning in plan.values.items() if meaning == name]
        held = [totals[key] for key in keys if key in totals]
        if name == VOID_NAME and not held:
            continue
        pixels = sum(total.pixels for total in held)
        images = sum(any(stored_counts(one, plan.by_colour).get(key) for key in keys) for one in usable)
        example = max(held, key=lambda total: total.pixels).example if held else ""
        rows.append(ClassRow(texts_of(keys), name, images, pixels, pixels / everything, example))
    return tuple(rows)


def check_meanings(facts: Sequence[PairFacts], plan: ClassPlan, found: Found) -> tuple[PairFacts, ...]:
    """Return the facts with a problem for every mask that holds a value or colour without a meaning."""
    checked = []
    names = _layout_names(found, by_colour=True) | _layout_names(found, by_colour=False)
    for one in facts:
        unknown = [key for key in stored_counts(one, plan.by_colour) if key not in plan.values]
        if one.colours and not plan.by_colour:
            unknown = [*one.colours]
        if unknown and not one.problem:
            held = ", ".join(f"{text_of(key)} ({names[key]})" if key in names else text_of(key) for key in unknown[:5])
            one = replace(one, problem=f"unknown labels: the mask holds {held}, which data.values does not name")
        checked.append(one)
    return tuple(checked)


def class_pixels(facts: PairFacts, plan: ClassPlan) -> dict[str, int]:
    """Return the pixels of each class (and void) in one image; classes without a pixel are absent."""
    counts: dict[str, int] = {}
    for key, pixels in stored_counts(facts, plan.by_colour).items():
        if key not in plan.values:
            continue
        counts[plan.values[key]] = counts.get(plan.values[key], 0) + pixels
    return counts


def _override_stored(
    totals: Mapping[Stored, StoredTotal], found: Found, overrides: Overrides, by_colour: bool
) -> dict[Stored, str]:
    """Return the overrides by stored value or colour; those by name are looked up."""
    listed_names = _layout_names(found, by_colour)
    for stored in totals:
        listed_names.setdefault(stored, _name_of(stored, totals))
    given: dict[Stored, str] = {}

    def give(key: Stored, name: str) -> None:
        if given.setdefault(key, name) != name:
            raise VocSegError(f"{text_of(key)} has two meanings in the options, {given[key]} and {name}. Give it one.")

    for key, name in overrides.names.items():
        if isinstance(key, str):
            if not (keys := [one for one, named in listed_names.items() if named == key]):
                known = ", ".join(dict.fromkeys(listed_names.values()))
                raise VocSegError(f"No class is called {key!r}. The classes are: {known}.")
            for one in keys:
                give(one, name)
        elif isinstance(key, tuple) == by_colour:
            give(key, name)
        else:
            kind, other = ("colours", "value") if by_colour else ("stored values", "colour")
            raise VocSegError(f"The masks are read by {kind}, so the {other} {text_of(key)} has no meaning.")
    return given


def _layout_names(found: Found, by_colour: bool) -> dict[Stored, str]:
    names: dict[Stored, str] = {}
    names.update((key, name) for key, name in (found.colours if by_colour else found.values).items())
    return names


def _value_names(
    facts: Sequence[PairFacts], totals: Mapping[Stored, StoredTotal], found: Found, given: Mapping[Stored, str],
    notes: list[str],
) -> dict[Stored, str]:  # fmt: skip
    names = _layout_names(found, by_colour=False)
    known = {*names, *given}
    unknown = [key for key in totals if key not in known]
    if VOID in unknown and any(key in totals for key in names if key):  # else 255 may be the object of 0/255 masks
        names[VOID] = VOID_NAME
        unknown.remove(VOID)
    if names and unknown:
        held = ", ".join(f"{key} in {totals[key].images} masks such as {totals[key].example}" for key in unknown[:3])
        raise VocSegError(
            f"The masks hold {len(unknown)} values without a name: {held}. Name them with --classes {unknown[0]}=name, "
            f"or leave them unlabelled with --void {texts_of(unknown).replace(', ', ',')}"
        )
    by_value = {key: total for key, total in totals.items() if isinstance(key, int)}
    require_clear_values(facts, by_value, known)
    if VOID in unknown and _is_void(facts, totals):
        names[VOID] = VOID_NAME
        notes.append(f"{VOID} is read as void, as in VOC. If it is a class: --classes {VOID}=name")
        unknown.remove(VOID)
    for key in unknown:
        names[key] = _name_of(key, totals)
    if not found.values and not given and 0 not in totals:
        lowest = min(by_value)
        notes.append(f"No mask holds 0, so there is no background. If {lowest} is it: --classes {lowest}=background")
    return names


def _is_void(facts: Sequence[PairFacts], totals: Mapping[Stored, StoredTotal]) -> bool:
    """Return whether an unnamed 255 is void: shown in VOC's colour for it, or beside values that look like indices."""
    if {one.palette[VOID] for one in facts if VOID in one.palette} == {VOID_COLOUR}:
        return True
    others = [key for key in totals if isinstance(key, int) and key not in (0, VOID)]
    return bool(others) and max(others) <= 2 * len(others) + 8


def _colour_names(
    totals: Mapping[Stored, StoredTotal], found: Found, given: Mapping[Stored, str], notes: list[str]
) -> dict[Stored, str]:
    names = _layout_names(found, by_colour=True)
    if BLACK not in names and (BLACK in totals) and BACKGROUND not in names.values():
        names[BLACK] = BACKGROUND
    if VOID_COLOUR in totals and VOID_COLOUR not in names:
        names[VOID_COLOUR] = VOID_NAME
        notes.append(f"{text_of(VOID_COLOUR)}, VOC's colour of void, is read as void.")
    require_clear_colours(totals, {*names, *given}, bool(found.colours))
    for key in totals:
        names.setdefault(key, _name_of(key, totals))
    return names


def _name_of(key: Stored, totals: Mapping[Stored, StoredTotal]) -> str:
    """Return the name of a value or colour that nothing names."""
    if key in (0, BLACK):
        return BACKGROUND
    if len([other for other in totals if other not in (0, BLACK, VOID_COLOUR)]) == 1 and {0, BLACK} & {*totals}:
        return OBJECT
    return f"colour_{text_of(key)[1:]}" if isinstance(key, tuple) else f"class_{key}"


def _class_order(names: Mapping[Stored, str], stated: Sequence[str]) -> tuple[str, ...]:
    """Return the class names in the order of the layout, else background first, then by stored value or as listed."""
    values = sorted(key for key in names if isinstance(key, int))
    distinct = [name for name in dict.fromkeys(names[key] for key in values or names) if name != VOID_NAME]
    if {*distinct} <= {*stated}:
        return tuple(name for name in stated if name in distinct)
    first = [name for name in distinct if name.lower() in (BACKGROUND, "_background_", "bg")][:1]
    return (*first, *(name for name in distinct if name not in first))


def _class_colours(
    facts: Sequence[PairFacts], found: Found, names: Mapping[Stored, str], ordered: Sequence[str]
) -> tuple[Colour | None, ...]:
    """Return the first colour of each class for figures; None for all if they do not tell the classes apart."""
    shown: dict[str, Colour] = {}
    for stated, name in found.colours.items():
        shown.setdefault(name, stated)
    for key, name in names.items():
        if isinstance(key, tuple):
            shown.setdefault(name, key)
    for value, colour in sorted({pair for one in facts for pair in one.palette.items()}):
        if value in names:
            shown.setdefault(names[value], colour)
    if not shown and len(ordered) <= len(_FIGURES) and names.get(0, ordered[0]) == ordered[0]:
        return _FIGURES[: len(ordered)]
    colours = [shown.get(name) for name in ordered]
    distinct = {*colours} - {None, VOID_COLOUR}
    return tuple(colours) if len(distinct) == len(ordered) else (None,) * len(ordered)
