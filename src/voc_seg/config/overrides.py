"""How ``key=value,key=value`` is split."""

import re

_CLOSING = {"[": "]", "{": "}", "'": "'", '"': '"'}


def split_params(text: str) -> list[str]:
    """Split at commas, but not within ``[2,3]``, ``{a: 1, b: 2}`` or quotes where a value begins with them.

    A bracket or quote that is not closed is a letter like others.
    """
    items, start, position = [], 0, 0
    while position < len(text):
        if text[position] == ",":
            items.append(text[start:position])
            start = position + 1
        elif text[position] in _CLOSING and text[start:position].partition("=")[2].strip() == "":
            position = max(position, _end(text, position))
        position += 1
    return [*items, text[start:]]


def _end(text: str, start: int) -> int:
    """Where a bracket or quote at ``start`` closes; -1 if it does not."""
    if text[start] in "'\"":
        quoted = re.compile(r"'(?:[^']|'')*'" if text[start] == "'" else r'"(?:[^"\\]|\\.)*"').match(text, start)
        return quoted.end() - 1 if quoted else -1
    depth = 0
    for position in range(start, len(text)):
        depth += {text[start]: 1, _CLOSING[text[start]]: -1}.get(text[position], 0)
        if depth == 0:
            return position
    return -1
