"""What a network takes of a file of weights: the tensors, and a table of them for the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from .foreign_weights import FoundEncoder

ENCODER = "encoder."
"""Beginning of the encoder's keys in the state dict of a network."""


class TakenPart(NamedTuple):
    """A row of the table that is logged: what was taken of a part of the network or of the file, and what was not."""

    name: str
    taken: str = "-"
    not_taken: str = "-"
    why: str = ""


@dataclass
class TakenWeights:
    """Tensors for a network by the keys of its state dict, and what to log."""

    origin: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    parts: list[TakenPart] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def table(self) -> str:
        """A line for the file and one for each part."""
        rows = [TakenPart("part", "taken", "not taken", "why"), *self.parts]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
        return "\n  ".join((self.origin, *lines))

    def take_encoder(self, found: FoundEncoder) -> None:
        """Add the tensors of an encoder and their row of the table."""
        self.tensors |= {ENCODER + key: value for key, value in found.tensors.items()}
        notes = [f"from {found.prefix}*"] if found.prefix not in ("", ENCODER) else []
        notes += ["first filters of RGB adapted to the channels"] if found.widened else []
        self.parts.append(TakenPart("encoder", count(len(found.tensors), "tensor"), why="; ".join(notes)))


def other_parts(state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Keys of a network's state dict by top-level module, without the encoder's."""
    parts: dict[str, list[str]] = {}
    for key in state:
        if not key.startswith(ENCODER):
            parts.setdefault(key.partition(".")[0], []).append(key)
    return parts


def count(number: int, what: str) -> str:
    """The number and the noun, in the plural where it is not 1."""
    if number == 1:
        return f"1 {what}"
    return f"{number} {what}{'es' if what.endswith('s') else 's'}"
