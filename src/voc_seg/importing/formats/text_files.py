"""Text files of other tools, such as lists of images and of classes: any usual encoding, any line ending."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable
from voc_seg.voc.file_checks import require_file

_LARGEST = 64 << 20
"""Bytes; a larger text file is not a list."""
_HEAD = 1 << 16
"""Bytes that show which keys a JSON file has; its lists may be a hundred megabytes long."""


def read_text(path: Path) -> str:
    """Return the text of a file: UTF-8 or UTF-16 with or without byte order mark, else Windows' Western encoding.

    Raises VocSegError if the file cannot be read, is too large, binary, or not a regular file.
    """
    try:
        require_file(path)
        if path.stat().st_size > _LARGEST:
            raise VocSegError(f"{path} has more than {_LARGEST >> 20} MB, which is too large for a list.")
        content = path.read_bytes()
    except OSError as error:
        raise VocSegError(f"{path} cannot be read: {error.strerror or error}.") from error
    return _decode(content, path)


def read_lines(path: Path, comment: str = "") -> list[str]:
    """Return the lines of a text file without surrounding blanks; blank lines and comments are dropped.

    Args:
        path: The file.
        comment: The sign of comments, such as ``#``; empty keeps all lines.

    Raises VocSegError as `read_text` does.
    """
    lines = _filled_lines(read_text(path))
    return [line for line in lines if not line.startswith(comment)] if comment else lines


def first_words(path: Path) -> list[str]:
    """Return the first word of each line except comments (``#``): lists of images may have numbers after the name."""
    return [line.split()[0] for line in read_lines(path, comment="#")]


def read_head(path: Path) -> str:
    """Return the first 64 KB of a text file without leading blanks; empty if it cannot be read or is binary."""
    try:
        require_file(path)
        with path.open("rb") as file:
            return _decode(file.read(_HEAD), path).lstrip()
    except (OSError, VocSegError):
        return ""


def first_line(path: Path) -> str:
    """Return the first line of a file that is not blank; empty if there is none or the file is not text."""
    return next(iter(_filled_lines(read_head(path))), "")


def _filled_lines(text: str) -> list[str]:
    return [stripped for line in text.splitlines() if (stripped := line.strip())]


def _decode(content: bytes, path: Path) -> str:
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
