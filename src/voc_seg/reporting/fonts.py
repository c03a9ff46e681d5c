"""Fonts for names in any script: system fonts for letters missing from matplotlib's own, else a substitute text."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import count, groupby
from pathlib import Path

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font

from voc_seg.voc.classes import Classes

logger = logging.getLogger(__name__)

_UNKNOWN = "?"
"""Shown for a letter that no font has."""
_NAMED = 12
"""Number of missing letters that the log shows."""
_NOT_LETTERS = ("lastresort", "blank", "notdef")  # fonts that draw every letter as a box, or not at all
_LESS_FIT = ("mono", "serif", "italic", "oblique", "condensed", "narrow", "thin", "light", "black", "bold", "emoji")

_SELECTORS = range(0xE0100, 0xE01F0)
"""Variation selectors: invisible, they choose a form of the letter before."""

_found: dict[str, str | None] = {}
"""The system font of each letter looked up so far; None if no font has the letter."""


@cache
def default_font(bold: bool = False) -> str:
    """The file of the default font of the figures, which is part of matplotlib."""
    return font_manager.findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal"))


@cache
def _load_font(path: str) -> FT2Font:
    return FT2Font(path)


def _default_font_has(letter: str) -> bool:
    return letter.isascii() or ord(letter) in _SELECTORS or _load_font(default_font()).get_char_index(ord(letter)) != 0


def drawable(text: str) -> bool:
    """Whether the installed fonts have every letter; missing letters are logged once."""
    return all(path is not None for path in _fonts(text).values())


def shown_names(names: Iterable[str], indices: Iterable[int] | None = None) -> list[str]:
    """Class names for figures: the name, or ``class 3`` if no font has its letters; indices default to 0, 1, 2 ..."""
    shown = list(names)
    _fonts("".join(shown))  # all at once, so that one log line lists all missing letters
    for position, (name, index) in enumerate(zip(list(shown), indices if indices is not None else count())):
        if not drawable(name):
            shown[position] = f"class {index}"
            while shown[position] in shown[:position] + shown[position + 1 :]:
                shown[position] += "_"
    return shown


def shown_classes(classes: Classes) -> Classes:
    """The classes with the names as figures show them."""
    return replace(classes, names=tuple(shown_names(classes.names)))


def replace_unknown_letters(text: str) -> str:
    """The text with a question mark for every letter that no font has."""
    fonts = _fonts(text)
    return "".join(_UNKNOWN if fonts.get(letter, "") is None else letter for letter in text)


def families(text: str) -> list[str]:
    """The font families that a text needs in addition to the default font."""
    paths = dict.fromkeys(path for path in _fonts(text).values() if path)
    return [_family(path) for path in paths]


def split_by_font(text: str, bold: bool = False) -> Iterator[tuple[str, str]]:
    """Split a text into pairs of font file and piece, as Pillow draws a text in a single font."""
    fonts = _fonts(text)
    for path, letters in groupby(replace_unknown_letters(text), lambda letter: fonts.get(letter) or default_font(bold)):
        yield path, "".join(letters)


def _fonts(text: str) -> dict[str, str | None]:
    """For each letter that the default font lacks, a system font that has it."""
    lacking = {letter for letter in text if not _default_font_has(letter)}
    if new := lacking.difference(_found):
        _find_fonts(new)
    return {letter: _found[letter] for letter in lacking}


def _find_fonts(letters: set[str]) -> None:
    first_time = None not in _found.values()
    wanted = set(letters)
    for path in _system_fonts():
        if not wanted:
            break
        for letter in _letters_of(path, wanted):
            _found[letter] = path
            wanted.discard(letter)
    _found.update(dict.fromkeys(wanted))
    if wanted and first_time:
        shown = " ".join(sorted(wanted)[:_NAMED])
        more = f" and {len(wanted) - _NAMED} more" if len(wanted) > _NAMED else ""
        logger.warning(
            "No installed font has %s%s: figures show the class number (class 3) for such class names, and ? in other "
            "names. To show them, install a font and run again: apt install fonts-noto-cjk for Chinese, Japanese and "
            "Korean, or fonts-noto-core for other scripts; on other systems a Noto font.",
            shown, more,
        )  # fmt: skip


@cache
def _system_fonts() -> list[str]:
    """Currently installed font files, upright sans first; matplotlib's own list is cached on its first use."""
    paths = [path for path in font_manager.findSystemFonts() if not _has_any(path, _NOT_LETTERS)]
    return sorted(paths, key=lambda path: (_has_any(path, _LESS_FIT), "sans" not in Path(path).name.lower(), path))


def _has_any(path: str, words: Iterable[str]) -> bool:
    return any(word in Path(path).name.lower().replace("sansserif", "") for word in words)


def _letters_of(path: str, wanted: set[str]) -> list[str]:
    """The wanted letters that a font has and matplotlib can draw."""
    try:
        font = FT2Font(path)
        if not font.scalable:
            return []
        has = [letter for letter in sorted(wanted) if font.get_char_index(ord(letter))]
        if has:
            font.set_size(10, 72)
            font.load_char(ord(has[0]))  # fails for fonts with colour bitmaps
            _family(path)
        return has
    except Exception:  # a damaged font file
        return []


@contextmanager
def quiet_fonts() -> Iterator[None]:
    """Silence matplotlib's warnings about fonts without bold letters."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            yield
    finally:
        log.setLevel(level)


@cache
def _family(path: str) -> str:
    """The family name of a font file; registers a new font with matplotlib."""
    if all(entry.fname != path for entry in fontManager.ttflist):
        fontManager.addfont(path)
    return font_manager.ttfFontProperty(FT2Font(path)).name
