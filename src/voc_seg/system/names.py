"""Names: which image ids and class names are valid, and how names and lists of them appear in messages."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

LONGEST_ID = 200
"""Bytes in UTF-8: file systems allow 255, and file names add ``prediction_`` and an ending to the id."""
LONGEST_CLASS = 100
"""Letters; figures and legends have no room for more."""

# Control characters, lone surrogates, and invisible, line-breaking or direction-changing characters.
# Joiners are allowed: Persian and emoji need them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_LINES = re.compile(_HIDDEN.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))  # all but tab and newline

WINDOWS_MARKS = '<>:"|?*'
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\..*)?", re.IGNORECASE)


def listed(items: Sequence[object], limit: int = 5) -> str:
    """Return the first items as text: ``a, b and 3 more``."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number of things: "1 image", "2 classes"; with `several`, "1 mask has" or "2 masks have"."""
    several = several or f"{one}{'es' if one.endswith('s') else 's'}"
    return f"{count:,} {one if count == 1 else several}"


def shortened(text: str, letters: int) -> str:
    """Return the text, cut to this many letters with an ellipsis if it is longer."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one of these, in which ``*`` and the other signs of ``fnmatch`` match any text."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def name_key(name: str) -> str:
    """Return a key that is equal for names that look the same or differ only in case (one file on a Mac)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def printable(text: str, lines: bool = False) -> str:
    r"""Escape characters that move the cursor or hide text, as in ``\x1b``; keep tabs and newlines if ``lines``.

    For untrusted text; file names may hold bytes that are not text.
    """
    return (_LINES if lines else _HIDDEN).sub(lambda found: ascii(found[0])[1:-1], text)


def formula_sign(text: str) -> str:
    """Return the sign that makes a spreadsheet evaluate this text as a formula; empty if there is none.

    Some spreadsheets split at semicolons, and Japanese and Chinese ones also accept full-width signs.
    """
    starts = (unicodedata.normalize("NFKC", part.strip()[:1]) for part in text.split(";"))
    return next((start for start in starts if start in set("=+-@")), "")


def windows_name_problem(name: str) -> str | None:
    """Return why Windows, NTFS or exFAT allow no file of this name, with any extension; None if they do."""
    if mark := next((mark for mark in name if mark in WINDOWS_MARKS), None):
        return f"it holds {mark}"
    if _WINDOWS_DEVICES.fullmatch(name):
        return "it is a device name on Windows"
    return None


def name_problem(name: str) -> str | None:
    """Return why a name is invalid for images and classes; None if it is valid."""
    if not name.strip():
        return "it is blank"
    if name != name.strip():
        return "it begins or ends with a blank"
    if hidden := _HIDDEN.search(name):
        return f"it holds the control character U+{ord(hidden[0]):04X}"
    if sign := formula_sign(name):
        return f"it begins with {sign}, or has it after a semicolon, which spreadsheets read as a formula"
    return None


def image_id_problem(image_id: str, windows: bool = os.name == "nt") -> str | None:
    """Return why an image id cannot name files; None if it can. Windows allows fewer names."""
    if any(mark in image_id for mark in "/\\"):
        return "it must be a file name without folder and ending"
    if image_id.startswith(".") or image_id.endswith("."):
        return "it begins or ends with a dot"
    size = len(image_id.encode(errors="replace"))
    if size > LONGEST_ID:
        return f"it has {size} bytes, and {LONGEST_ID} is the limit"
    if windows and (problem := windows_name_problem(image_id)):
        return problem
    return name_problem(image_id)


def class_name_problem(name: str) -> str | None:
    """Return why a class name is invalid; None if it is valid."""
    if len(name) > LONGEST_CLASS:
        return f"it has {len(name)} letters, and {LONGEST_CLASS} is the limit"
    return name_problem(name)
