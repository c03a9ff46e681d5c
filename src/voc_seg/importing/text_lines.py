"""Small text files of data sets: lists of images, names of classes."""

from pathlib import Path

from voc_seg.system.errors import VocSegError

_LARGEST = 50 * 2**20
"""Bytes; a list of a million names has 20 million."""


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file without surrounding blanks; empty lines and comments (``#``) are left away.

    A byte-order mark and Windows line ends are accepted. Raises VocSegError if the file is unreadable or too large.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise VocSegError(f"{path} has more than 50 MB, which is too large for a list.")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise VocSegError(f"{path} cannot be read: {error.strerror or error}.") from error
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def first_words(path: Path) -> tuple[str, ...]:
    """Return the first word of every line; lists of images have numbers or a second file behind it."""
    return tuple(line.split()[0] for line in read_lines(path))


def read_colour_names(path: Path) -> dict[tuple[int, int, int], str]:
    """Read ``label_colors.txt``: red, green, blue and a name in every line, separated by blanks or tabs.

    Raises VocSegError for a line that is something else, and for a colour that is listed twice.
    """
    found: dict[tuple[int, int, int], str] = {}
    for line in read_lines(path):
        *numbers, name = line.split(maxsplit=3)
        if len(numbers) != 3 or not all(one.isdecimal() and int(one) <= 255 for one in numbers):
            raise VocSegError(f"{path} has the line {line!r}, not red, green, blue (0 to 255) and a class name.")
        colour = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        if found.setdefault(colour, name) != name:
            raise VocSegError(f"{path} gives the colour {colour} to {found[colour]} and to {name}.")
    return found
