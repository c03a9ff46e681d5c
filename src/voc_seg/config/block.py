"""What every block of settings is made of."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator


def _split_on_spaces(value: Any) -> Any:
    """``--params`` splits at commas, so lists are written with spaces there: ``augmentation.scale=0.5 1.0``."""
    if isinstance(value, str):
        return value.split()
    return [value] if isinstance(value, (int, float)) else value


SpaceSeparated = BeforeValidator(_split_on_spaces)
Fraction = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A group of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_bool_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic would make 1 of true."""
        types = _types_in(cls.model_fields[info.field_name or ""].annotation)
        if bool not in types and types & {int, float}:
            items = value if isinstance(value, (list, tuple)) else [value]
            if any(isinstance(item, bool) for item in items):
                raise ValueError("true and false are no numbers; give a number")
        return value


def _types_in(annotation: Any) -> set[Any]:
    """The plain types that an annotation such as ``tuple[int, int] | None`` is made of."""
    parts = get_args(annotation)
    return set().union(*map(_types_in, parts)) if parts else {annotation} if isinstance(annotation, type) else set()


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted key, ``a.b``, as ``--params`` names them."""
    for key, found in settings.items():
        value = dict(found) if isinstance(found, BaseModel) else found
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value  # keys may be numbers: data.values.255
