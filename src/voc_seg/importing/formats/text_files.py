"""Small text files of other tools: any usual encoding, any line ending."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable

LARGEST = 64 << 20
"""Bytes; a larger text file is no list."""


def read_text(path: Path) -> str:
    """Return the text of a file: UTF-8 or UTF-16 with or without byte order mark, else Windows' Western encoding.

    Raises VocSegError if the file cannot be read, is too large or is binary.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise VocSegError(f"{path} has more than {LARGEST >> 20} MB, which is too large for a list.")
        content = path.read_bytes()
    except OSError as error:
        raise VocSegError(f"{path} cannot be read: {error.strerror or error}.") from error
    return decode_text(content, path)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file without surrounding blanks; blank lines are dropped. Raises as `read_text`."""
    return [stripped for line in read_text(path).splitlines() if (stripped := line.strip())]


def first_line(path: Path) -> str:
    """Return the first line of a file that is not blank; empty if there is none or the file is no text."""
    try:
        with path.open("rb") as file:
            text = decode_text(file.read(1 << 16), path)
    except (OSError, VocSegError):
        return ""
    return next((stripped for line in text.splitlines() if (stripped := line.strip())), "")


def decode_text(content: bytes, path: Path) -> str:
    """Decode the bytes of a text file; see `read_text`."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise VocSegError(f"{printable(str(path))} is not a text file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start > len(content) - 4:  # a letter cut in two by a limit on the bytes
            return content[: error.start].decode("utf-8-sig")
        return content.decode("cp1252", errors="replace")
