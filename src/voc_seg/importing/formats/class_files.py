"""Class names beside the masks: ``classes.txt``, ``labels.txt``, ``label_colors.txt``, ``class_dict.csv``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID

from ..files import Files
from ..layout import VOID_NAME, Colour
from .class_values import BACKGROUND, clean_label
from .text_files import read_lines

FILE_NAMES = (
    *("class_names.txt", "classes.txt", "labels.txt", "label_colors.txt", "labelmap.txt", "label_map.txt"),
    *("class_dict.csv", "classes.csv", "label_colors.csv", "colors.txt", "class_list.txt"),
)
_VOID_NAMES = ("void", "ignore", "ignored", "_ignore_", "dontcare", "don't care")
_NUMBERS = re.compile(r"\s*[,;:\t ]\s*")


@dataclass(frozen=True)
class ClassFile:
    """What a file says about classes."""

    values: dict[int, str] = field(default_factory=dict)
    colours: dict[Colour, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """Return a class name as `clean_label` does, without quotes; names for pixels to ignore become void."""
    name = clean_label(name.strip().strip("\"'"))
    return VOID_NAME if name.casefold() in _VOID_NAMES else name


def find_class_file(files: Files, folder: PurePosixPath) -> ClassFile:
    """Read the class names in a folder, or in the nearest folder above it that has any."""
    for one in (folder, *folder.parents):
        for name in FILE_NAMES:
            for path in files.folders.get(one, ()):
                if path.name.lower() == name:
                    return _read(files.absolute(path), path)
    return ClassFile()


def _read(path: Path, shown: PurePosixPath) -> ClassFile:
    """Read a file of class names; one that is not well-formed gives a note only."""
    try:
        lines = read_lines(path, comment="#")
    except VocSegError as error:
        return ClassFile(notes=(str(error),))
    if colours := _colours(lines):
        return ClassFile(colours=colours, notes=(f"Class names and colours are those of {shown}.",))
    if values := _values(lines):
        return ClassFile(values=values, notes=(f"Class names are those of {shown}.",))
    return ClassFile(
        notes=(
            f"{shown} is not used: it does not say which mask value each name has. If it lists class names, give them "
            'with --classes "0=background,1=...".',
        )
    )


def _colours(lines: Sequence[str]) -> dict[Colour, str]:
    """Return names by colour of lines ``name,r,g,b``, ``r g b name`` or ``name:r,g,b::``; empty for other lines."""
    found: dict[Colour, str] = {}
    for number, line in enumerate(lines):
        if number == 0 and not any(map(str.isdecimal, _parts(line))):
            continue  # the header: name,r,g,b
        parsed = _colour_of_line(line)
        if parsed is None or parsed[0] in found:
            return {}
        found[parsed[0]] = parsed[1]
    return found


def read_colour_names(path: Path) -> dict[Colour, str]:
    """Read ``label_colors.txt``: red, green, blue and a class name in every line.

    Raises VocSegError for a line that is something else, and for a colour that is listed twice.
    """
    found: dict[Colour, str] = {}
    for line in read_lines(path, comment="#"):
        if (parsed := _colour_of_line(line)) is None:
            raise VocSegError(f"{path} has the line {line!r}, not red, green, blue (0 to 255) and a class name.")
        colour, name = parsed
        if found.setdefault(colour, name) != name:
            raise VocSegError(f"{path} gives the colour {colour} to {found[colour]} and to {name}.")
    return found


def _colour_of_line(line: str) -> tuple[Colour, str] | None:
    """Return the colour and the class name of a line that has the three numbers first or last; else None."""
    parts = _parts(line)
    for numbers, name in ((parts[:3], parts[3:]), (parts[-3:], parts[:-3])):
        valid = len(numbers) == 3 and all(one.isdecimal() and int(one) <= 255 for one in numbers)
        if valid and name and not name[0].isdecimal():  # a number first may be an id, or a fourth channel
            return (int(numbers[0]), int(numbers[1]), int(numbers[2])), plain_name(" ".join(name))
    return None


def _parts(line: str) -> list[str]:
    return [part for part in _NUMBERS.split(line.strip(" ,;:")) if part]


def _values(lines: Sequence[str]) -> dict[int, str]:
    """Return names by value: of lines ``0 background``, or of names in order if the first is background."""
    numbered = [re.fullmatch(r"(\d{1,3})\s*[:,;=\t ]\s*(.*\S)", line) for line in lines]
    if lines and all(numbered):
        found = {int(one[1]): plain_name(one[2]) for one in numbered if one}
        return found if len(found) == len(lines) and max(found) <= 255 else {}
    return values_in_order(lines)


def values_in_order(lines: Sequence[str]) -> dict[int, str]:
    """Return names by value of a list that begins with background, after ``__ignore__`` if that is listed.

    Other lists do not say whether their first name is 0 or 1: labels.txt of YOLO leaves out the background.
    """
    names = [plain_name(line) for line in lines]
    ignored = {VOID: VOID_NAME} if names[:1] == [VOID_NAME] else {}
    names = names[len(ignored) :]
    if names[:1] != [BACKGROUND] or len(set(names)) != len(names) or len(names) > VOID:
        return {}
    return dict(enumerate(names)) | ignored
