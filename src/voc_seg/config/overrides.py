"""Split ``key=value,key=value`` of ``--params`` and ``--grid``."""

import re

_CLOSING = {"[": "]", "{": "}", "'": "'", '"': '"'}


def split_params(text: str) -> list[str]:
    """Split at commas, except inside ``[2,3]``, ``{a: 1, b: 2}`` or quotes at the start of a value.

    An unclosed bracket or quote is an ordinary character.
    """
    items, start, position = [], 0, 0
    while position < len(text):
        if text[position] == ",":
            items.append(text[start:position])
            start = position + 1
        elif text[position] in _CLOSING and text[start:position].partition("=")[2].strip() == "":
            position = max(position, _closing_position(text, position))
        position += 1
    return [*items, text[start:]]


def _closing_position(text: str, start: int) -> int:
    """The position where the bracket or quote at ``start`` is closed; -1 if it is not."""
    if text[start] in "'\"":
        quoted = re.compile(r"'(?:[^']|'')*'" if text[start] == "'" else r'"(?:[^"\\]|\\.)*"').match(text, start)
        return quoted.end() - 1 if quoted else -1
    depth = 0
    for position in range(start, len(text)):
        depth += {text[start]: 1, _CLOSING[text[start]]: -1}.get(text[position], 0)
        if depth == 0:
            return position
    return -1
