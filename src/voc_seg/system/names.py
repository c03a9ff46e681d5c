"""What image ids and class names may be: anything that files, tables, figures and consoles show as it is."""

import os
import re
import unicodedata

LONGEST_ID = 200
"""Bytes in UTF-8: file systems take 255, and files made of an id have ``prediction_`` and endings besides."""
LONGEST_CLASS = 100
"""Letters: what figures and legends have room for."""

# Control characters, halves of characters, and marks that reverse the text around them, break the line or cannot be
# seen. Joiners are not among them: Persian and emoji need those.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_LINES = re.compile(_HIDDEN.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))  # all but tab and newline

WINDOWS_MARKS = '<>:"|?*'
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\..*)?", re.IGNORECASE)


def name_key(name: str) -> str:
    """A key that is equal for names that look the same or differ in case alone, as files do on a Mac or Windows."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def printable(text: str, lines: bool = False) -> str:
    r"""Text as consoles and tables can show it: characters that move the cursor or hide text become ``\x1b``.

    Args:
        text: Of any origin; file names may hold bytes that are no text.
        lines: Keep tabs and newlines, as messages of several lines need them.
    """
    return (_LINES if lines else _HIDDEN).sub(lambda found: ascii(found[0])[1:-1], text)


def formula_sign(text: str) -> str:
    """The sign that makes a spreadsheet evaluate this text as a formula; empty where there is none.

    Some spreadsheets split at semicolons, and Japanese and Chinese ones accept the full-width signs too.
    """
    starts = (unicodedata.normalize("NFKC", part.strip()[:1]) for part in text.split(";"))
    return next((start for start in starts if start in set("=+-@")), "")


def windows_name_problem(name: str) -> str | None:
    """Why Windows, NTFS and exFAT allow no file of this name, with any extension; None if they do."""
    if mark := next((mark for mark in name if mark in WINDOWS_MARKS), None):
        return f"it holds {mark}"
    if _WINDOWS_DEVICES.fullmatch(name):
        return "it is a device name on Windows"
    return None


def name_problem(name: str) -> str | None:
    """Why neither an id nor a class may be called so; None if it may."""
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
    """Why an image id cannot name files; None if it can. On Windows more names cannot than elsewhere."""
    if any(mark in image_id for mark in "/\\"):
        return "it must be a file name without folder and ending"
    if image_id.startswith(".") or image_id.endswith("."):
        return "it begins or ends with a dot"
    size = len(image_id.encode(errors="replace"))
    if size > LONGEST_ID:
        return f"it has {size} bytes, and {LONGEST_ID} is the limit"
    if windows and (fault := windows_name_problem(image_id)):
        return fault
    return name_problem(image_id)


def class_name_problem(name: str) -> str | None:
    """Why no class may be called so; None if one may."""
    if len(name) > LONGEST_CLASS:
        return f"it has {len(name)} letters, and {LONGEST_CLASS} is the limit"
    return name_problem(name)
