"""JSON files of annotation tools: a cheap look at their first bytes, and reading them whole."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed
from voc_seg.voc.file_checks import LFS_POINTER, require_file, short_name

from ..findings import counted

T = TypeVar("T")
Counted = tuple[str, str]
"""A noun, and what was done with these things; see `count_notes`."""

_HEAD = 65_536
"""Bytes that are enough to see which keys a file has; its lists may be a hundred megabytes long."""


def json_head(path: Path) -> str:
    """Return the first 64 KB of a file as text; empty if it cannot be read."""
    try:
        require_file(path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, VocSegError):
        return ""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return head.decode(encoding, errors="ignore").lstrip()


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8 or UTF-16, with or without BOM. Raises VocSegError if it cannot be read."""
    name = short_name(path)
    try:
        require_file(path)
        data = path.read_bytes()
        if data.startswith(LFS_POINTER):
            raise VocSegError(f"Git LFS pointer instead of JSON: {name}; fetch the files with: git lfs pull")
        return json.loads(data)
    except OSError as error:
        raise VocSegError(f"unreadable JSON: {name} ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        empty = "" if path.stat().st_size else ", the file is empty"
        raise VocSegError(f"damaged JSON: {name} ({error}{empty}); export it again") from error


def rows_of(stored: object) -> list[dict[str, Any]]:
    """Return the objects in a list of a JSON file; none if it is no list."""
    return [one for one in stored if isinstance(one, dict)] if isinstance(stored, list) else []


def note_of(items: Sequence[object], noun: str, text: str) -> tuple[str, ...]:
    """Return one note with the number of items and the first of them: "3 files ignored: a, b, c."; none if empty."""
    return (f"{counted(len(items), noun)} {text}: {listed(list(dict.fromkeys(map(str, items))), 3)}.",) if items else ()


def count_notes(counts: Counter[Counted]) -> tuple[str, ...]:
    """Return a note for each count, keyed by a noun and what there is to say: "3 points ignored."."""
    return tuple(f"{counted(count, noun)} {text}." for (noun, text), count in counts.items() if count)


def spread(items: Sequence[T], count: int) -> Sequence[T]:
    """Return at most this many items, evenly spread over all."""
    step = max(1, -(-len(items) // count))
    return items[::step]
