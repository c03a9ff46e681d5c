"""Settings as YAML, each with its reason as a comment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A setting, and why it has its value."""

    key: str  # dotted: training.batch_size
    value: Any
    reason: str


_COLUMN = 26
"""Where comments begin, as in ``conf/base``."""


def block_lines(settings: Sequence[Setting], block: str) -> str:
    """Return the lines below ``block:`` as YAML, indented by two, with the reasons as comments."""
    lines: list[tuple[str, str]] = []
    open_block = ""
    for one in settings:
        first, *middle, last = one.key.split(".")
        if first != block:
            continue
        if middle and middle[0] != open_block:
            lines.append((f"  {middle[0]}:", ""))
        open_block = middle[0] if middle else ""
        lines.append((f"{'    ' if middle else '  '}{last}: {_value(one.value)}", one.reason))
    width = max((_COLUMN, *(len(text) for text, reason in lines if reason)))
    return "".join(f"{text:<{width}} # {reason}\n" if reason else f"{text}\n" for text, reason in lines)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return "null" if value is None else str(value)
