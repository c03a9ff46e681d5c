"""Mask values whose meaning cannot be guessed: the import stops and says which option gives it."""

from collections.abc import Mapping, Sequence

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed
from voc_seg.voc.classes import VOID

from .inspect import PairFacts
from .layout import Stored
from .stored import StoredTotal, text_of, texts_of

MAX_UNNAMED = 64
"""Number of different values or colours without a name above which they cannot be classes."""
_BLURRED_VALUES, _MAIN_SHARE, _HIGHEST_INDEX = 8, 0.7, 64
"""Blurred borders: at least this many values, beside a few that cover this fraction of the pixels. Higher values are
unlikely to be class indices."""


def require_clear_values(facts: Sequence[PairFacts], totals: Mapping[int, StoredTotal], known: set[Stored]) -> None:
    """Refuse values that could mean several things.

    Args:
        facts: The usable masks.
        totals: Their values.
        known: Values whose meaning the layout or the user has given; they are not doubted.

    Raises:
        VocSegError: Blurred borders, instance numbers, objects stored as 1 in some masks and as 255 in others, or too
            many values. The message says what to do.
    """
    unknown = [value for value in totals if value not in known]
    if unknown:
        _refuse_blurred(totals, unknown)
        _refuse_two_voids(totals, unknown)
        _refuse_instances(facts, unknown)
        _refuse_two_conventions(facts, totals, known)
        _refuse_too_many(unknown)


def _refuse_blurred(totals: Mapping[int, StoredTotal], unknown: Sequence[int]) -> None:
    """Refuse many values between those of the two or three largest areas, if some are too high for indices."""
    pixels = {value: total.pixels for value, total in totals.items()}
    main = sorted(pixels, key=lambda value: -pixels[value])[:3]
    between = [value for value in unknown if value not in main and min(main) < value < max(main)]
    high = sum(value > _HIGHEST_INDEX for value in between)
    main_share = sum(pixels[value] for value in main) / sum(pixels.values())
    if len(between) < _BLURRED_VALUES or high < len(between) / 4 or main_share < _MAIN_SHARE:
        return
    low, top = min(between), max(between)
    raise VocSegError(
        f"The masks hold {len(between)} values between {min(main)} and {max(main)} that cover only "
        f"{100 * (1 - main_share):.2g} % of the pixels: borders blurred by anti-aliasing or resizing. Export the masks "
        f"without them (nearest neighbour), or leave these pixels unlabelled with --void {low}-{top}"
    )


def _refuse_instances(facts: Sequence[PairFacts], unknown: Sequence[int]) -> None:
    """Refuse masks in which the values of each are 1, 2 ... up to a number that differs."""
    objects = [{value for value in one.values if value not in (0, VOID)} for one in facts]
    filled = [values for values in objects if values]
    counts = {len(values) for values in filled}
    numbered = all(values == set(range(1, len(values) + 1)) for values in filled)
    if len(unknown) < 4 or len(counts) < 3 or not numbered or len(filled) < 4:
        return
    most = max(counts)
    raise VocSegError(
        f"The masks look like instance numbers: each holds the values 1, 2, 3 ... up to the number of its objects (up "
        f"to {most}). If all objects are of one class: --classes 0=background,1-{most}=object. If the values are "
        f"classes after all, name them: --classes 0=background,1=cat,2=dog ..."
    )


def _refuse_two_conventions(facts: Sequence[PairFacts], totals: Mapping[int, StoredTotal], known: set[Stored]) -> None:
    """Refuse 0 and 1 in some masks, 0 and 255 in others."""
    if set(totals) != {0, 1, VOID} or {1, VOID} <= known or any({1, VOID} <= set(one.values) for one in facts):
        return
    raise VocSegError(
        f"{totals[1].images} masks hold 1 (such as {totals[1].example}) and {totals[VOID].images} others {VOID} (such "
        f"as {totals[VOID].example}), but no mask holds both. If both mean the object: --classes "
        f"0=background,1=object,{VOID}=object. If {VOID} is void: --void {VOID}"
    )


def _refuse_two_voids(totals: Mapping[int, StoredTotal], unknown: Sequence[int]) -> None:
    """Refuse 254 beside 255: one may be background or void, or 254 is 255 after lossy compression."""
    if not {VOID - 1, VOID} <= {*unknown}:
        return
    raise VocSegError(
        f"The masks hold {VOID - 1} and {VOID} (such as {totals[VOID - 1].example}), which programs use for void, for "
        f"background or, after lossy compression, for the same object. Say what they mean: --classes "
        f"{VOID - 1}=background --void {VOID}, or --classes {VOID - 1}-{VOID}=object"
    )


def _refuse_too_many(unknown: Sequence[int]) -> None:
    if len(unknown) <= MAX_UNNAMED:
        return
    raise VocSegError(
        f"The masks hold {len(unknown)} different values ({texts_of(unknown[:8])} ...), too many for classes without "
        "a name. They may be photographs, depth, or instance numbers. If they are classes, name them: --classes "
        "0=background,1-40=first,41-80=second"
    )


def require_one_kind(facts: Sequence[PairFacts], known: set[Stored]) -> None:
    """Refuse masks in colours beside masks of plain values, which may be indices of the same classes."""
    plain = [one for one in facts if one.mask_mode not in ("P", "RGB", "RGBA", "drawn")]
    unknown = {(value,) * 3 for one in plain for value in one.values if value} - known
    if not unknown or len(plain) == len(facts):
        return
    example = next(one for one in plain if any((value,) * 3 in unknown for value in one.values))
    coloured = next(one for one in facts if one not in plain)
    named = ",".join(f"{text_of(key)}=name" for key in sorted(unknown)[:3])
    raise VocSegError(
        f"Some masks are in colours, such as {coloured.image_id}, and {len(plain)} hold plain values, such as "
        f"{example.image_id}: nothing says which colour a value is. Save all masks in the same way, or name the values "
        f'as greys: --classes "{named}"'
    )


def require_clear_colours(totals: Mapping[Stored, StoredTotal], known: set[Stored], named: bool) -> None:
    """Refuse colours without a meaning: all of them if the layout names colours, else if there are too many."""
    unknown = [key for key in totals if key not in known]
    if len(unknown) > MAX_UNNAMED:
        raise VocSegError(
            f"The masks hold {len(unknown)} colours without a name, such as {listed([*map(text_of, unknown[:3])])} in "
            f"{totals[unknown[0]].example}: photographs, or borders blurred by anti-aliasing or resizing. Export the "
            "masks without anti-aliasing."
        )
    if named and unknown:
        shown = ", ".join(f"{text_of(key)} in {totals[key].images} masks such as {totals[key].example}"
                          for key in unknown[:3])  # fmt: skip
        first = text_of(unknown[0])
        raise VocSegError(
            f"The masks hold {len(unknown)} colours that no class has: {shown}. Name them with --classes "
            f"{first}=name, or leave them unlabelled with --void {','.join(map(text_of, unknown))}"
        )
