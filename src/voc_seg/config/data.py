"""Settings of the data: classes, what to do about bad images, crops."""

from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from voc_seg.system.names import class_name_problem, name_key
from voc_seg.voc.classes import RESERVED_NAMES, VOC_CLASSES, VOID, Classes, name_classes, voc_palette
from voc_seg.voc.pairs import Reading

from .block import Block, FromSpaces, Share


def _name_alone(value: Any) -> Any:
    """A class may be written as its name, or as a block with name and colour."""
    if value is None or isinstance(value, (bool, int, float, date)):
        raise ValueError(f"YAML reads this name as {'null' if value is None else repr(value)}: write it in quotes")
    return {"name": value} if isinstance(value, str) else value


ColourValue = Annotated[int, Field(ge=0, le=255)]
MAX_SIDE = 16384
"""Of an image that all others are resized to, in pixels: a square of that size takes 800 MB."""
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
StoredValue = Annotated[int, Field(ge=0, le=255)]


def _stored_to_meaning(values: Any) -> Any:
    """``values`` in one form: stored value to class name, class index or ``void``.

    Two spellings are read: ``{255: object}``, and ``{object: [1, 2]}``, which is shorter where values are merged.
    """
    if not isinstance(values, dict):
        return values
    found: dict[int, str | int] = {}
    # Numbers that are text come from --params, which are laid over the files: data.values.255=object.
    overridden = {int(key) for key in values if isinstance(key, str) and key.strip().isdecimal()}
    for key, value in values.items():
        if isinstance(key, int) and key in overridden:
            continue
        stored_first = isinstance(key, int) or (isinstance(key, str) and key.strip().isdecimal())
        pairs = [(key, value)] if stored_first else [(stored, key) for stored in _listed(value)]
        for stored, meaning in pairs:
            try:
                number = int(stored)
            except (TypeError, ValueError):
                number = -1
            if isinstance(stored, (bool, float)) or not 0 <= number <= 255:
                raise ValueError(f"{stored!r} is not a mask value: whole numbers from 0 to 255 are")
            if isinstance(meaning, (bool, float)) or not isinstance(meaning, (str, int)):
                raise ValueError(f"mask value {number} means {meaning!r}: give a class name, a class index or void")
            if found.setdefault(number, meaning) != meaning:
                raise ValueError(f"mask value {number} means both {found[number]} and {meaning}")
    return found


def _listed(values: Any) -> list[Any]:
    if isinstance(values, str):  # as --params has lists
        return values.split()
    return list(values) if isinstance(values, (list, tuple)) else [values]


class ClassConfig(Block):
    """One class of the data."""

    name: str = Field(min_length=1, description="what tables and legends call it")
    colour: tuple[ColourValue, ColourValue, ColourValue] | None = Field(
        None, description="red, green, blue; null takes that of VOC's palette at the class's place"
    )


class DataConfig(Block):
    """What the masks mean, and what to do about images that cannot be used."""

    classes: Annotated[tuple[Annotated[ClassConfig, BeforeValidator(_name_alone)], ...] | None, FromSpaces] = Field(
        None,
        description="class of mask value 0 (background), 1, 2 ...; null takes the 21 of VOC",
    )
    values: Annotated[dict[StoredValue, str | int] | None, BeforeValidator(_stored_to_meaning)] = Field(
        None,
        description="what stored mask values mean: {255: object, 4: void}, or {object: [1, 2], void: [4, 255]} to "
        "merge several; a class named here has these values alone, the others keep their index, and 255 is void unless "
        "named",
    )
    exif: Literal["refuse", "apply", "ignore"] = Field(
        "refuse",
        description="images with an EXIF orientation: apply turns them upright, as labelling tools show them; ignore "
        "takes them as stored; refuse decides by the size of the mask and rejects an image where both would fit",
    )
    longer_side: int | None = Field(
        None,
        ge=64,
        description="pixels to which the longer side of larger images is reduced when they are packed; scores are at "
        "that size; null keeps every image's own",
    )
    on_invalid: Literal["quarantine", "fail"] = Field(
        "quarantine", description="images that cannot be used: leave them out and list them, or stop with the list"
    )
    shard_images: PositiveInt = Field(20_000, description="images a packed file holds; more go into several files")

    @field_validator("classes")
    @classmethod
    def _classes_are_distinct(cls, classes: tuple[ClassConfig, ...] | None) -> tuple[ClassConfig, ...] | None:
        table = _class_table(classes)
        if not 2 <= len(table) <= VOID:
            raise ValueError(f"there are {len(table)} of them; a mask can tell 2 to {VOID} apart")
        void = tuple(voc_palette()[VOID].tolist())
        names: dict[str, str] = {}
        for name in table.names:
            if fault := class_name_problem(name):
                raise ValueError(f"{name!r} cannot be a class name: {fault}; give the class another name")
            twin = names.setdefault(name_key(name), name)
            if twin != name:
                raise ValueError(f"{name!r} and {twin!r} differ in case alone: give one of the classes another name")
        seen = {void: "void"}
        for name, colour in zip(table.names, table.colours):
            if table.names.count(name) > 1:
                raise ValueError(f"two classes have the name {name}")
            if colour in seen:
                raise ValueError(f"{seen[colour]} and {name} have the same colour {colour}: give {name} another one")
            seen[colour] = name
        taken = sorted(RESERVED_NAMES.intersection(table.names))
        if taken:
            raise ValueError(f"{taken[0]} cannot be a class name: tables have a column called that")
        return classes

    @model_validator(mode="after")
    def _values_name_classes(self) -> "DataConfig":
        _meanings(self.values or {}, _class_table(self.classes).names)
        return self

    @property
    def class_table(self) -> Classes:
        """The classes with every colour filled in, and what stored values mean."""
        table = _class_table(self.classes)
        return replace(table, values=_meanings(self.values, table.names)) if self.values else table

    @property
    def reading(self) -> Reading:
        """How image and mask files are read."""
        return Reading(self.class_table, self.exif, self.longer_side)


def _class_table(classes: tuple[ClassConfig, ...] | None) -> Classes:
    if classes is None:
        return VOC_CLASSES
    return name_classes([one.name for one in classes], [one.colour for one in classes])


def _meanings(values: dict[int, str | int], names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Stored value and class index (or `VOID`) of each entry of ``data.values``."""
    indices = {"void": VOID} | {name: index for index, name in enumerate(names)}
    for stored, meaning in values.items():
        if isinstance(meaning, int) and str(meaning) in names:
            raise ValueError(f"values: {meaning} may be an index or the class called so: give the class in quotes")
        if meaning not in indices and not (isinstance(meaning, int) and 0 <= meaning < len(names)):
            raise ValueError(
                f"values: mask value {stored} means {meaning!r}, which is no class; known are void, {', '.join(names)}"
            )
    found = ((stored, indices[one] if isinstance(one, str) else one) for stored, one in values.items())
    return tuple(sorted(found))


class AugmentationConfig(Block):
    """How a training crop is cut from an image."""

    image_size: Annotated[tuple[Side, Side] | None, FromSpaces] = Field(
        None,
        description="height, width in pixels to which images are resized first; null keeps their own size",
    )
    crop_size: PositiveInt = Field(224, ge=64, le=4096, description="side of the square crop, pixels")
    scale: Annotated[tuple[float, float], FromSpaces] = Field(
        (0.9, 1.1), description="smallest and largest random factor on the image's size, drawn log-uniformly"
    )
    flip: Share = Field(0.5, description="probability of a left-right flip")
    colour_jitter: Share = Field(
        0.0, description="largest relative change of brightness, contrast and saturation; 0 is off"
    )

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> "AugmentationConfig":
        low, high = self.scale
        if not 0.05 <= low <= high <= 20:
            raise ValueError(f"scale {list(self.scale)} must be [low, high] with 0.05 <= low <= high <= 20")
        return self
