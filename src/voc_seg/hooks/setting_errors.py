"""What is wrong with settings, one line each."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from voc_seg.config import Parameters
from voc_seg.config.block import value_fault
from voc_seg.config.user_keys import block_of, intended_key


def describe_validation_errors(error: ValidationError) -> str:
    """One line for each wrong setting: key, value and what is allowed."""
    lines: dict[Any, str] = {}
    for item in _merge_alternatives(error):
        key = ".".join(map(str, item["loc"]))
        if item["type"] == "value_error" and (not item["loc"] or isinstance(item["input"], dict)):
            # About several settings, which it names: those of a whole block would bury it.
            message = value_fault(item)
            lines[key, message] = f"  {key}: {message}" if key else f"  {message}"
            continue
        *above, last = item["loc"]
        if item["type"] == "extra_forbidden":
            known = _known_keys(above)
            if above:
                hint = "".join(f"; did you mean {close}?" for close in get_close_matches(str(last), known, 1))
            else:
                intended = intended_key(key, item["input"], Parameters)
                hint = f"; did you mean {intended}? A key of your own needs another name" if intended else ""
            lines[key] = f"  {key}: unknown key; known here: {', '.join(known)}{hint}"
        elif item["type"] == "missing" and isinstance(last, int):
            whole = ".".join(map(str, above))  # pydantic reports each missing value, the last one last
            lines[whole] = f"  {whole} = {item['input']!r}: it must have {last + 1} values, not {len(item['input'])}"
        else:
            lines[key] = f"  {key} = {item['input']!r}: {value_fault(item)}"
    return "\n".join(lines.values())


_ALTERNATIVE = re.compile(r"literal\[.*\]|(constrained-)?(int|float|str)")


def _merge_alternatives(error: ValidationError) -> list[dict[str, Any]]:
    """The errors, with one for a setting that may be a number or a word: pydantic reports each alternative.

    Pydantic also calls a list too short whose only values are wrong; that says nothing more.
    """
    merged: dict[Any, dict[str, Any]] = {}
    for item in error.errors():
        *above, last = item["loc"] or [""]
        if item["type"] == "too_short" and any(tuple(known[:-1]) == item["loc"] for known in merged):
            continue
        if not _ALTERNATIVE.fullmatch(str(last)):
            merged[item["loc"]] = dict(item)
        elif (known := merged.get((*above, repr(item["input"])))) is None:
            merged[(*above, repr(item["input"]))] = {**item, "loc": tuple(above)}
        else:
            known["msg"] += " or " + item["msg"].removeprefix("Input should be ")
    return list(merged.values())


def _known_keys(location: Iterable[int | str]) -> list[str]:
    block: Any = Parameters
    for part in location:
        if isinstance(part, str):  # a number is an index into a list of blocks
            block = block_of(block.model_fields[part].annotation)
    return sorted(block.model_fields)
