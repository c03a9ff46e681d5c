"""What users say about classes on the command line: ``--classes``, ``--merge`` and ``--void``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed

from .layout import VOID_NAME, Stored

Key = Stored | str
"""A stored mask value, a colour, or a class name."""

_RANGE = re.compile(r"(\d{1,3})(?:\s*-\s*(\d{1,3}))?")
_COLOUR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


_OPTIONS = ("--classes", "--merge", "--void")


def join_lists(arguments: Sequence[str]) -> list[str]:
    """Join arguments that a shell has split at a blank after a comma, as in ``--classes 0=background, 255=tree``."""
    joined: list[str] = []
    for argument in arguments:
        before, last = ["", "", *joined][-2:]
        option = last.partition("=")[0] if last.startswith("--") else before
        if option in _OPTIONS and last.endswith(",") and not argument.startswith("--"):
            joined[-1] += argument
        else:
            joined.append(argument)
    return joined


@dataclass(frozen=True)
class Overrides:
    """Names by stored value, colour or name as found; the name ``void`` for void."""

    names: Mapping[Key, str] = field(default_factory=dict)  # in the order given

    def __bool__(self) -> bool:
        return bool(self.names)


def parse_overrides(classes: str = "", merge: str = "", void: str = "") -> Overrides:
    """Parse the options.

    Args:
        classes: ``0=background,255=tree``; also ranges (``1-9=cell``), colours (``#ff0000=roof``) and names as found
            (``class_1=cat``). Equal names are merged.
        merge: ``animal=cat+dog,vehicle=car+bus``.
        void: ``4,250-255,#e0e0c0,unknown``.

    Raises:
        VocSegError: An option is malformed, or gives something two meanings.
    """
    found: dict[Key, str] = {}

    def add(text: str, name: str, option: str) -> None:
        for key in _keys(text, option):
            if found.setdefault(key, name) != name:
                raise VocSegError(f"{option}: {text.strip()} has two meanings, {found[key]} and {name}. Give it one.")

    if (names := _entries(classes)) and "=" not in classes:
        example = ",".join(f"{value}={name}" for value, name in enumerate(names))
        raise VocSegError(
            f'--classes: name the mask value of each class, as in --classes "{example}" if the masks hold '
            f"{listed(range(len(names)))}"
        )
    for entry in names:
        key, name = _assignment(entry, "--classes", "--classes 0=background,255=tree")
        add(key, name, "--classes")
    for entry in _entries(merge):
        name, several = _assignment(entry, "--merge", "--merge animal=cat+dog")
        for key in several.split("+"):
            add(key, name, "--merge")
    for entry in _entries(void):
        add(entry, VOID_NAME, "--void")
    return Overrides(found)


def _entries(text: str) -> list[str]:
    return [entry for entry in (part.strip() for part in text.split(",")) if entry]


def _assignment(entry: str, option: str, example: str) -> tuple[str, str]:
    left, equals, right = (part.strip() for part in entry.partition("="))
    if not (left and equals and right):
        raise VocSegError(f"{option}: {entry!r} is not of the form A=B, as in {example}. A name cannot have a comma.")
    return left, right


def _keys(text: str, option: str) -> list[Key]:
    text = text.strip()
    if found := _COLOUR.fullmatch(text):
        red, green, blue = (int(part, 16) for part in found.groups())
        return [(red, green, blue)]
    if found := _RANGE.fullmatch(text):
        low, high = int(found[1]), int(found[2] or found[1])
        if not low <= high <= 255:
            raise VocSegError(f"{option}: {text} is not a mask value or a range of them: use 0 to 255")
        return list(range(low, high + 1))
    if not text or text.startswith("#"):
        raise VocSegError(f"{option}: {text!r} is not a value, range (1-9), colour (#ff0000) or class name")
    return [text]
