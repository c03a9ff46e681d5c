"""Settings of the data: classes, what to do about bad images, crops."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from voc_seg.voc.classes import RESERVED_NAMES, VOC_CLASSES, VOID, Classes, name_classes, voc_palette
from voc_seg.voc.names import fault_of_class, same_name

from .block import Block, FromSpaces, Share


def _name_alone(value: Any) -> Any:
    """A class may be written as its name, or as a block with name and colour."""
    if value is None or isinstance(value, (bool, int, float, date)):
        raise ValueError(f"YAML reads this name as {'null' if value is None else repr(value)}: write it in quotes")
    return {"name": value} if isinstance(value, str) else value


ColourValue = Annotated[int, Field(ge=0, le=255)]


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
            if fault := fault_of_class(name):
                raise ValueError(f"{name!r} cannot be a class name: {fault}; give the class another name")
            twin = names.setdefault(same_name(name), name)
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

    @property
    def class_table(self) -> Classes:
        """The classes with every colour filled in."""
        return _class_table(self.classes)


def _class_table(classes: tuple[ClassConfig, ...] | None) -> Classes:
    if classes is None:
        return VOC_CLASSES
    return name_classes([one.name for one in classes], [one.colour for one in classes])


class AugmentationConfig(Block):
    """How a training crop is cut from an image."""

    image_size: Annotated[tuple[PositiveInt, PositiveInt] | None, FromSpaces] = Field(
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
