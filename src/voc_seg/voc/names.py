"""What image ids and class names may be: anything that files, tables, figures and consoles show as it is."""

import unicodedata

LONGEST_ID = 200
"""Bytes in UTF-8: file systems take 255, and files made of an id have ``prediction_`` and endings besides."""
LONGEST_CLASS = 100
"""Letters: what figures and legends have room for."""

_LETTERS_OF_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
# They reverse the text around them, or cannot be seen. Joiners are not among them: Persian and emoji need those.
_MARKS_OF_DIRECTION = set("\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def same_name(name: str) -> str:
    """A key that is equal for names that look the same or differ in case alone, as files do on a Mac or Windows."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def fault_of_name(name: str) -> str | None:
    """Why neither an id nor a class may be called so; None if it may."""
    if not name.strip():
        return "it is blank"
    if name != name.strip():
        return "it begins or ends with a blank"
    hidden = next((c for c in name if unicodedata.category(c) in _LETTERS_OF_CONTROL or c in _MARKS_OF_DIRECTION), None)
    if hidden is not None:
        return f"it holds the control character U+{ord(hidden):04X}"
    if name[0] in "=+-@":
        return f"it begins with {name[0]}, which spreadsheets take for a formula"
    return None


def fault_of_id(image_id: str) -> str | None:
    """Why an image id cannot name files; None if it can."""
    if any(mark in image_id for mark in "/\\"):
        return "it must be a file name without folder and ending"
    if image_id.startswith(".") or image_id.endswith("."):
        return "it begins or ends with a dot"
    size = len(image_id.encode(errors="replace"))
    if size > LONGEST_ID:
        return f"it has {size} bytes, and {LONGEST_ID} is the limit"
    return fault_of_name(image_id)


def fault_of_class(name: str) -> str | None:
    """Why no class may be called so; None if one may."""
    if len(name) > LONGEST_CLASS:
        return f"it has {len(name)} letters, and {LONGEST_CLASS} is the limit"
    return fault_of_name(name)
