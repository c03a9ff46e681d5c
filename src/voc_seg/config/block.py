"""The base class of all settings, and types they share."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator


def _split_on_spaces(value: Any) -> Any:
    """Split text at spaces; ``--params`` splits at commas, so its lists have spaces: ``augmentation.scale=0.5 1.0``."""
    if isinstance(value, str):
        return value.split()
    return [value] if isinstance(value, (int, float)) else value


SpaceSeparated = BeforeValidator(_split_on_spaces)
Fraction = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A group of settings: immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_bool_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number; pydantic would convert them to 1 and 0."""
        types = _types_in(cls.model_fields[info.field_name or ""].annotation)
        if bool not in types and types & {int, float}:
            items = value if isinstance(value, (list, tuple)) else [value]
            if any(isinstance(item, bool) for item in items):
                raise ValueError("true and false are not numbers; give a number")
        return value


def _types_in(annotation: Any) -> set[Any]:
    """The plain types in an annotation such as ``tuple[int, int] | None``."""
    parts = get_args(annotation)
    return set().union(*map(_types_in, parts)) if parts else {annotation} if isinstance(annotation, type) else set()


def filled(settings: Any, defaults: Any) -> Any:
    """Nested settings, with those that are missing at any depth taken from the defaults."""
    if not isinstance(settings, Mapping) or not isinstance(defaults, Mapping):
        return settings
    nested = {key: filled(settings[key], value) for key, value in defaults.items() if key in settings}
    return {**defaults, **settings, **nested}


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings with dotted keys, ``a.b``, as in ``--params``."""
    for key, found in settings.items():
        value = dict(found) if isinstance(found, BaseModel) else found
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value  # keys may be numbers: data.values.255


def value_fault(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, from an item of pydantic's ``ValidationError.errors()``, without its own prefix."""
    return str(error["msg"]).removeprefix("Value error, ")
