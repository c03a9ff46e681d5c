"""Settings of evaluation, inference, label review and comparison."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .block import Block, Fraction, SpaceSeparated

Scale = Annotated[float, Field(gt=0, le=4)]


class EvaluationConfig(Block):
    """Scoring a split, always at the size of the packed images."""

    split: Literal["train", "val", "test", "fold"] = Field(
        "val", description="split to score; fold is the part of train that a model with training.fold was validated on"
    )
    scale: float = Field(
        1.0,
        gt=0,
        le=4,
        description="factor by which images are resized for the network, above 0 up to 4; scores stay at native size",
    )
    scales: Annotated[tuple[Scale, ...] | None, SpaceSeparated] = Field(
        None,
        min_length=1,
        max_length=16,
        description="several factors, above 0 up to 4, whose class probabilities are averaged in evaluation and "
        "inference; validation in training keeps to scale; null is scale alone, and each factor takes the time of one "
        "prediction at its size",
    )
    flip: bool = Field(False, description="average the predictions of the image and its mirror image; doubles the time")
    tile: int = Field(
        1024,
        ge=128,
        le=8192,
        description="side of a tile in pixels, 128 to 8192: images whose network input is longer are scored in tiles, "
        "as inference segments them with inference.tile",
    )
    pictures: int = Field(
        8,
        ge=0,
        description="number of figures with image, truth, prediction and errors, from the worst to the best image",
    )

    @property
    def all_scales(self) -> tuple[float, ...]:
        """The factors whose predictions are averaged: ``scales``, or ``scale`` alone."""
        return self.scales or (self.scale,)

    @property
    def of_validation(self) -> "EvaluationConfig":
        """These settings for a validation in training, where one scale suffices to choose an epoch."""
        return self.model_copy(update={"scales": None})


class InferenceConfig(Block):
    """Segmenting your own images, with the scale and flip of the model's validation, or evaluation.scales."""

    images: str | None = Field(
        None,
        description="folder, file or glob pattern (photos/*.jpg, ./*.jpg) of images and videos to segment; only with "
        "--params",
    )
    longer_side: int | None = Field(
        500,
        ge=32,
        description="longer side in pixels to which larger images are reduced for the network, so that objects are as "
        "large as in training (VOC's images have 500); masks keep the size of the image; null reduces nothing",
    )
    tile: int = Field(
        1024,
        ge=128,
        le=8192,
        description="side of a tile in pixels, 128 to 8192: images that are longer after the reduction are segmented "
        "in tiles that overlap by at least a quarter and are blended",
    )
    confidence: bool = Field(
        False, description="write a confidence map of each image: 255 times the largest class probability, 8-bit grey"
    )
    min_confidence: Fraction | None = Field(
        None,
        description="0 to 1: pixels whose largest class probability is smaller become void in the mask; null is off",
    )
    label_next: int = Field(
        0,
        ge=0,
        le=1000,
        description="number of images to suggest for labelling, the most uncertain ones that differ from each other; "
        "0 suggests none",
    )
    formats: Annotated[tuple[Literal["labelme", "coco"], ...] | None, SpaceSeparated] = Field(
        None, description="export the masks for annotation tools: labelme (polygons), coco (run lengths), or both"
    )

    @field_validator("images", mode="before")
    @classmethod
    def _images_is_text(cls, images: Any) -> Any:
        if images is not None and not isinstance(images, str):
            raise ValueError(
                "YAML does not read this as a path: start it with ./ or put it in quotes inside the quotes"
            )
        return images


class LabelReviewConfig(Block):
    """Finding label errors with the best model; evaluation.scale, scales, flip and tile apply."""

    split: Literal["train", "val", "test", "all"] = Field(
        "val",
        description="split whose masks are reviewed; all: every split with masks; a model learns the errors of train",
    )
    shown: int = Field(
        60, ge=1, le=1000, description="number of regions on label_review.html; label_issues.csv has all"
    )


class EnsembleConfig(Block):
    """Several models as one, the mean of their class probabilities."""

    runs: Annotated[tuple[str, ...] | None, SpaceSeparated] = Field(
        None, description="names of the runs whose best models are joined; * matches any text, but cannot come first"
    )


class ComparisonConfig(Block):
    """Which runs are compared."""

    runs: Annotated[tuple[str, ...] | None, SpaceSeparated] = Field(
        None, description="names of the runs to compare; * matches any text, but cannot come first; null compares all"
    )
