"""What the examination of a data set found."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data."""

    severity: Severity
    kind: str  # a short name for programs: "unreadable", "near-duplicates"
    message: str  # what was found, in a sentence
    remedy: str = ""  # what to do about it
    count: int = 1  # number of images (or classes) concerned
    examples: tuple[str, ...] = ()  # image ids, the first few
