"""Settings of the data: classes, mask values, channels, rejected images."""

import re
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import class_name_problem, name_key
from voc_seg.voc.classes import RESERVED_NAMES, VOC_CLASSES, VOID, Classes, Colour, name_classes, voc_palette
from voc_seg.voc.pairs import Reading
from voc_seg.voc.pixel_format import PixelFormat

from .block import Block, Fraction, SpaceSeparated
from .model_input import MEAN, STD, ModelInput


def _accept_bare_name(value: Any) -> Any:
    """Accept a class written as its name alone, instead of a block with name and colour."""
    if value is None or isinstance(value, (bool, int, float, date)):
        raise ValueError(f"YAML reads this name as {'null' if value is None else repr(value)}: put it in quotes")
    return {"name": value} if isinstance(value, str) else value


Byte = Annotated[int, Field(ge=0, le=255)]
_COLOUR = re.compile("#[0-9a-fA-F]{6}")
MAX_CHANNELS = 64


def _normalise_values(values: Any) -> Any:
    """Convert ``values`` to one form: stored value or colour to class name, class index or ``void``.

    Two forms are accepted: ``{255: object}``, and ``{object: [1, 2]}``, which is shorter for merging values. Colours
    are written ``"#ff0000"``.
    """
    if not isinstance(values, dict):
        return values
    found: dict[int | str, str | int] = {}
    # Text keys come from --params (data.values.255=object), which overrides the files.
    overridden = {int(key) for key in values if isinstance(key, str) and key.strip().isdecimal()}
    for key, value in values.items():
        if isinstance(key, int) and key in overridden:
            continue
        stored_first = isinstance(key, int) or (isinstance(key, str) and (key.strip().isdecimal() or key[:1] == "#"))
        pairs = [(key, value)] if stored_first else [(stored, key) for stored in _listed(value)]
        for stored, meaning in pairs:
            number = _stored_value(stored)
            if isinstance(meaning, (bool, float)) or not isinstance(meaning, (str, int)):
                raise ValueError(f"mask value {number} means {meaning!r}: give a class name, a class index or void")
            if found.setdefault(number, meaning) != meaning:
                raise ValueError(f"mask value {number} means both {found[number]} and {meaning}")
    if len({type(stored) for stored in found}) > 1:
        raise ValueError("use either mask values or colours, not both")
    return found


def _stored_value(stored: Any) -> int | str:
    if isinstance(stored, str) and _COLOUR.fullmatch(stored.strip()):
        return stored.strip().lower()
    try:
        number = int(stored)
    except (TypeError, ValueError):
        number = -1
    if isinstance(stored, (bool, float)) or not 0 <= number <= 255:
        raise ValueError(
            f'{stored!r} is not a mask value: use whole numbers from 0 to 255, or colours such as "#ff0000"'
        )
    return number


def _listed(values: Any) -> list[Any]:
    if isinstance(values, str):  # a list from --params
        return values.split()
    return list(values) if isinstance(values, (list, tuple)) else [values]


class ClassConfig(Block):
    """One class of the data."""

    name: str = Field(min_length=1, description="class name in tables and legends")
    colour: tuple[Byte, Byte, Byte] | None = Field(
        None, description="red, green and blue, 0 to 255 each; null uses the colour of the class index in VOC's palette"
    )


Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel."""
NameOrBlock = Annotated[ClassConfig, BeforeValidator(_accept_bare_name)]


class DataConfig(Block):
    """What mask values mean, and what happens to images that cannot be used."""

    classes: Annotated[tuple[NameOrBlock, ...] | None, SpaceSeparated] = Field(
        None,
        description="class names by index, from 0 (background), 2 to 255 of them; null uses VOC's 21 classes",
    )
    values: Annotated[dict[int | str, str | int] | None, BeforeValidator(_normalise_values)] = Field(
        None,
        description="meaning of stored mask values (0 to 255): {255: object, 4: void}, or {object: [1, 2], void: [4, "
        "255]} to merge values. A class named here has only these values; other classes keep their index, and 255 is "
        'void unless named. Or of colours, for masks in colours: {"#000000": background, "#ff0000": roof}; no other '
        "colour has a meaning then. null: every value is its class index",
    )
    exif: Literal["refuse", "apply", "ignore"] = Field(
        "refuse",
        description="images with an EXIF orientation: apply rotates them upright, as labelling tools show them; ignore "
        "reads them as stored; refuse decides by the size of the mask and rejects an image that would fit both ways",
    )
    longer_side: int | None = Field(
        None,
        ge=64,
        description="longer side in pixels to which larger images are reduced when packed; scores are then at that "
        "size; null keeps the original size",
    )
    on_invalid: Literal["quarantine", "fail"] = Field(
        "quarantine",
        description="images that cannot be used: quarantine excludes and lists them; fail stops the run with the list",
    )
    channels: int = Field(
        3,
        ge=1,
        le=MAX_CHANNELS,
        description="channels of the images: 3 reads every image as RGB; another number reads bands as stored, such as "
        "1 (grey) or 4 (RGB and infra-red), and rejects files with a different number",
    )
    range: Annotated[tuple[float, float] | None, SpaceSeparated] = Field(
        None,
        description="lowest and highest stored value of images with more than 8 bits, which become 0 and 255; null: 0 "
        "and 65535 for unsigned 16 bits, and other values are rejected",
    )
    mean: Annotated[tuple[Fraction, ...] | None, SpaceSeparated] = Field(
        None,
        description="mean of each channel in [0, 1], for normalisation; null: for 3 channels what the encoder was "
        "trained with (ImageNet's for ResNets), else measured on train",
    )
    std: Annotated[tuple[PositiveFloat, ...] | None, SpaceSeparated] = Field(
        None, description="standard deviation of each channel, like mean"
    )
    shard_images: PositiveInt = Field(
        20_000, description="largest number of images in one packed file; larger splits get several files"
    )

    @field_validator("classes")
    @classmethod
    def _classes_are_distinct(cls, classes: tuple[ClassConfig, ...] | None) -> tuple[ClassConfig, ...] | None:
        table = _class_table(classes)
        if not 2 <= len(table) <= VOID:
            raise ValueError(f"number of classes: {len(table)}; a mask can hold 2 to {VOID}")
        void = tuple(voc_palette()[VOID].tolist())
        names: dict[str, str] = {}
        for name in table.names:
            if fault := class_name_problem(name):
                raise ValueError(f"{name!r} cannot be a class name: {fault}; give the class another name")
            twin = names.setdefault(name_key(name), name)
            if twin != name:
                raise ValueError(f"{name!r} and {twin!r} differ only in case: give one of the classes another name")
        seen = {void: "void"}
        for name, colour in zip(table.names, table.colours):
            if table.names.count(name) > 1:
                raise ValueError(f"two classes have the name {name}")
            if colour in seen:
                raise ValueError(f"{seen[colour]} and {name} have the same colour {colour}: give {name} another one")
            seen[colour] = name
        taken = sorted(RESERVED_NAMES.intersection(table.names))
        if taken:
            raise ValueError(f"{taken[0]} cannot be a class name: tables have a column of that name")
        return classes

    @model_validator(mode="after")
    def _values_name_classes(self) -> "DataConfig":
        _meanings(self.values or {}, _class_table(self.classes).names)
        return self

    @model_validator(mode="after")
    def _channels_agree(self) -> "DataConfig":
        if self.range and not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)} must be [low, high] with low < high")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together: set both or neither")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} values, but channels is {self.channels}")
        return self

    @property
    def class_table(self) -> Classes:
        """The classes with all colours, and the meaning of stored values."""
        table = _class_table(self.classes)
        if not self.values:
            return table
        meanings = _meanings(self.values, table.names)
        by_value = tuple((stored, index) for stored, index in meanings if isinstance(stored, int))
        by_colour = tuple((_rgb(stored), index) for stored, index in meanings if isinstance(stored, str))
        return replace(table, values=by_value, mask_colours=by_colour)

    @property
    def reading(self) -> Reading:
        """How image and mask files are read."""
        return Reading(self.class_table, self.exif, self.longer_side, PixelFormat(self.channels, self.range))

    def with_statistics(self, measured: Statistics, encoder: Statistics | None = None) -> "DataConfig":
        """These settings with a mean and std where they are needed and not set.

        Args:
            measured: Of train, for images that are not RGB.
            encoder: What the encoder expects of RGB images; None for ImageNet's, which are the default.
        """
        found = measured if self.channels != 3 else encoder
        if self.mean or found is None:
            return self
        return self.model_copy(update={"mean": found[0], "std": found[1]})

    @property
    def model_input(self) -> ModelInput:
        """The input of a network for this data; raises VocSegError if mean and std are needed and not known."""
        mean, std = (self.mean, self.std) if self.mean and self.std else (MEAN, STD)
        if len(mean) != self.channels:
            raise VocSegError(
                f"The mean and std of the {self.channels} channels of train are not known. Measure them with: "
                "kedro run --pipelines data_processing, or set data.mean and data.std"
            )
        return ModelInput(mean, std, self.range)


def _class_table(classes: tuple[ClassConfig, ...] | None) -> Classes:
    if classes is None:
        return VOC_CLASSES
    return name_classes([one.name for one in classes], [one.colour for one in classes])


def _text(stored: int | str) -> str:
    return f"mask value {stored}" if isinstance(stored, int) else f"colour {stored}"


def _rgb(code: str) -> Colour:
    """``#ff0000`` as (255, 0, 0)."""
    red, green, blue = bytes.fromhex(code[1:])
    return red, green, blue


def _meanings(values: dict[int | str, str | int], names: tuple[str, ...]) -> tuple[tuple[int | str, int], ...]:
    """Pairs of stored value or colour and class index (or `VOID`) from ``data.values``."""
    indices = {"void": VOID} | {name: index for index, name in enumerate(names)}
    for stored, meaning in values.items():
        if isinstance(meaning, int) and str(meaning) in names:
            raise ValueError(
                f"values: {meaning} is ambiguous, an index or the class {meaning}: put class names in quotes"
            )
        if meaning not in indices and not (isinstance(meaning, int) and 0 <= meaning < len(names)):
            raise ValueError(
                f"values: {_text(stored)} means {meaning!r}, which is not a class; known: void, {', '.join(names)}"
            )
    found = [(stored, indices[one] if isinstance(one, str) else one) for stored, one in values.items()]
    return tuple(sorted(found, key=lambda pair: (isinstance(pair[0], str), pair[0])))
