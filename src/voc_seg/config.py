"""Every setting of the project: one frozen, typed block for each key of the ``parameters*.yml`` files.

A hook checks all of them before any node runs (``voc_seg.hooks``), so an unknown key, a wrong type or a value
out of range ends a run before it has begun. Kedro builds the blocks that a node takes from its type hints.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, field_validator, model_validator

from voc_seg.voc.classes import RESERVED_NAMES, VOC_CLASSES, VOID, Classes, name_classes, voc_palette


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


def _name_alone(value: Any) -> Any:
    """A class may be written as its name, or as a block with name and colour."""
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"YAML reads this name as {value!r}: write it in quotes")
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


class ModelConfig(Block):
    """The network."""

    encoder: Literal["resnet18", "resnet34", "resnet50"] = Field("resnet18", description="ResNet encoder")
    weights: str | None = Field(
        None, description="null, imagenet (torchvision downloads them), or a .pth or .safetensors state dict"
    )
    skips: Annotated[tuple[Annotated[int, Field(ge=1, le=4)], ...], FromSpaces] = Field(
        (2, 3, 4),
        min_length=1,
        description="encoder stages the decoder fuses; 1, 2, 3, 4 have stride 2, 4, 8, 16",
    )
    width: int = Field(128, ge=8, le=1024, multiple_of=4, description="channels inside the decoder")
    context: Literal["none", "pyramid"] = Field(
        "pyramid", description="what widens the view at the coarsest stage: nothing, or pyramid pooling"
    )
    output_stride: Literal[16, 32] = Field(
        32, description="stride of the coarsest features; 16 dilates the last stage: finer, slower"
    )
    stride_in_1x1: bool = Field(
        False, description="bottleneck stride on the 1x1 convolution: for weights trained so (ResNet of 2015)"
    )
    dropout: Share = Field(0.1, description="share of decoder channels dropped before the classifier")

    @model_validator(mode="after")
    def _skips_are_distinct(self) -> "ModelConfig":
        if len(set(self.skips)) != len(self.skips):
            raise ValueError(f"skips {list(self.skips)} names a stage twice")
        return self


class OptimizerConfig(Block):
    """Stochastic gradient descent."""

    learning_rate: float = Field(0.006, gt=0, le=10, description="peak learning rate of the decoder")
    encoder_factor: float = Field(1.0, ge=0, le=1, description="factor on the encoder's learning rate")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0, lt=1)


class ScheduleConfig(Block):
    """Learning rate over the steps of a run."""

    name: Literal["constant", "poly", "cosine"] = Field("poly", description="shape of the decay to zero")
    power: float = Field(0.9, gt=0, le=10, description="exponent of poly")
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear rise from zero to the peak")


class CheckpointConfig(Block):
    """When checkpoints are written and how many stay."""

    every_epochs: PositiveInt = Field(1, description="epochs between checkpoints; the last epoch always has one")
    every_minutes: float | None = Field(
        None, gt=0, description="minutes after which one is written in the middle of an epoch as well; null never does"
    )
    keep_last: PositiveInt | None = Field(3, description="newest checkpoints kept; null keeps them all")


class TrainingConfig(Block):
    """Full training."""

    epochs: PositiveInt = Field(50, description="passes over the training split")
    batch_size: PositiveInt = Field(4, description="crops a forward pass")
    accumulation: PositiveInt = Field(1, description="batches summed into one optimiser step")
    validate_every: PositiveInt = Field(1, description="epochs between validations; the last epoch always has one")
    early_stopping: PositiveInt | None = Field(
        None, description="stop after so many validations without a better mIoU; null never stops early"
    )
    frozen_stages: int = Field(
        0, ge=0, le=5, description="first encoder stages that keep their weights; 2 (stride 4) saves a fifth of a step"
    )
    freeze_batch_norm: bool = Field(
        False, description="keep the encoder's pretrained batch-norm statistics: steadier with small batches"
    )
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="score and keep a moving average of the weights, 0.99 say; null is off"
    )
    sync_batch_norm: bool = Field(
        False,
        description="with several processes: batch-norm statistics of the whole batch instead of each one's part",
    )
    deterministic: bool = Field(
        False, description="on GPUs: only operations that repeat to the bit, where torch has them; a CPU repeats anyway"
    )
    resume: bool = Field(False, description="go on from the newest checkpoint")
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _warm_up_comes_to_an_end(self) -> "TrainingConfig":
        if self.schedule.warmup_epochs and self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs {self.schedule.warmup_epochs:g} must be less than epochs {self.epochs}"
            )
        return self


class SanityConfig(Block):
    """Overfitting one image."""

    image: str | int | None = Field(
        None, description="image id or position in the training split; null takes the first whose classes are all large"
    )
    longer_side: int = Field(224, ge=64, description="size the image is reduced to before it is learnt, pixels")
    epochs: PositiveInt = Field(60, description="optimiser steps, one an epoch: there is one image")
    learning_rate: float = Field(0.05, gt=0, le=10)
    pass_miou: Share = Field(0.9, description="mIoU on the image itself below which the run fails")


class EvaluationConfig(Block):
    """Scoring a split, always at each image's own size."""

    split: Literal["train", "val", "test"] = Field("val", description="split to score")
    scale: float = Field(
        1.0,
        gt=0,
        le=4,
        description="factor on an image's size before the network; scores stay at native size",
    )
    flip: bool = Field(False, description="average with the scores of the mirrored image")
    pictures: int = Field(8, ge=0, description="images drawn beside truth, prediction and errors")


class InferenceConfig(Block):
    """Segmenting pictures of one's own; scale and flip are those the model was validated with."""

    images: str | None = Field(None, description="folder, file or pattern (pictures/*.jpg, ./*.jpg); as --params only")
    longer_side: int | None = Field(
        500,
        ge=32,
        description="pixels to which larger pictures are reduced before the network, so that things in them are as "
        "large as in the training images (VOC's have 500); masks keep the picture's size; null reduces nothing",
    )
    tile: int = Field(
        1024,
        ge=128,
        le=8192,
        description="what is still longer than this goes through the network in tiles of so many pixels, which overlap "
        "by a quarter",
    )

    @field_validator("images", mode="before")
    @classmethod
    def _images_is_text(cls, images: Any) -> Any:
        if images is not None and not isinstance(images, str):
            raise ValueError(
                "YAML does not read this as a path: begin it with ./ or put it in quotes within the quotes"
            )
        return images


class ComparisonConfig(Block):
    """Runs side by side."""

    runs: Annotated[tuple[str, ...] | None, FromSpaces] = Field(
        None, description="names of the runs to compare, with * for any text; null compares all"
    )


class RuntimeConfig(Block):
    """Where and how to compute."""

    device: str = Field("auto", description="auto takes a GPU if there is one; or cpu, mps, cuda, cuda:1 and so on")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto is bf16 where the device has it")
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto", description="processes that prepare batches; 0 prepares them in place; auto is 0 unless on a GPU"
    )
    distributed_timeout: PositiveInt = Field(
        600, description="with several processes: seconds after which one that does not answer counts as lost"
    )
    keep_memory: bool = Field(
        True, description="on CPUs with glibc: memory stays with the process from step to step, and goes at the end"
    )

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError("it must be auto (a GPU if there is one), cpu, mps, cuda, or cuda:1 and so on")
        return device


class TrackingConfig(Block):
    """Copies of what a run leaves, for tools that compare runs; nothing is computed otherwise because of them."""

    mlflow: bool = Field(False, description="to MLflow; needs the extra mlflow")
    uri: str = Field(
        "sqlite:///mlflow.db",
        description="MLflow's store: a file of SQLite, relative to the project, or the address of a server",
    )
    experiment: str = Field("voc_seg", min_length=1, max_length=500, description="MLflow's name for runs of a kind")
    tensorboard: bool = Field(False, description="to TensorBoard, in logs/tensorboard; needs the extra tensorboard")

    @field_validator("uri")
    @classmethod
    def _uri_has_a_scheme(cls, uri: str) -> str:
        if "://" not in uri and not uri.startswith("databricks"):
            raise ValueError("it must be an address: sqlite:///mlflow.db, http://host:5000 and so on")
        return uri


class Parameters(Block):
    """Everything that ``parameters*.yml`` and ``--params`` may hold."""

    run: str | None = Field(
        None,
        description="name of the run: its outputs go into data/runs/NAME instead of data; as --params only",
    )
    seed: int = Field(0, ge=0, description="fixes initial weights, order and augmentation")
    voc_root: Path | None = Field(None, description="a VOCdevkit already on disk; as --params only")
    voc_archive: Path | None = Field(None, description="a downloaded archive, or a folder of them; as --params only")
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    sanity: SanityConfig = SanityConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    inference: InferenceConfig = InferenceConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tracking: TrackingConfig = TrackingConfig()

    @field_validator("run", mode="before")
    @classmethod
    def _run_is_the_name_of_a_folder(cls, run: Any) -> Any:
        if run is None:
            return None
        if not isinstance(run, str):
            raise ValueError("YAML does not read this as text: begin the name with a letter")
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", run) or run.upper() in _DEVICES:
            raise ValueError(
                "a run's name is that of its folder: up to 100 letters (a-z), digits, '.', '_' and '-', with a letter "
                "or digit first and no '.' last"
            )
        return run


_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
"""What Windows takes for no folder."""


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted key, ``a.b``, as ``--params`` names them."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
