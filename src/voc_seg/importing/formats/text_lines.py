"""Small text files of data sets: lists of images, names of classes."""

from pathlib import Path

from voc_seg.system.errors import VocSegError

from . import text_files


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file without surrounding blanks; empty lines and comments (``#``) are left away.

    Raises VocSegError as `voc_seg.importing.formats.text_files.read_text` does.
    """
    return tuple(line for line in text_files.read_lines(path) if not line.startswith("#"))


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
