"""What every block of settings is made of."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _split_on_spaces(value: Any) -> Any:
    """``--params`` splits at commas, so lists are written with spaces there: ``augmentation.scale=0.5 1.0``."""
    if isinstance(value, str):
        return value.split()
    return [value] if isinstance(value, (int, float)) else value


FromSpaces = BeforeValidator(_split_on_spaces)
Share = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A group of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted key, ``a.b``, as ``--params`` names them."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value  # keys may be numbers: data.values.255
