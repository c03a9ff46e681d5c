"""Settings of evaluation, inference and comparison."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .block import Block, SpaceSeparated


class EvaluationConfig(Block):
    """Scoring a split, always at the size of the packed images."""

    split: Literal["train", "val", "test"] = Field("val", description="split to score")
    scale: float = Field(
        1.0,
        gt=0,
        le=4,
        description="factor by which images are resized for the network, above 0 up to 4; scores stay at native size",
    )
    flip: bool = Field(False, description="average the predictions of the image and its mirror image; doubles the time")
    pictures: int = Field(
        8,
        ge=0,
        description="number of figures with image, truth, prediction and errors, from the worst to the best image",
    )


class InferenceConfig(Block):
    """Segmenting your own images; scale and flip are those the model was validated with."""

    images: str | None = Field(
        None,
        description="folder, file or glob pattern (photos/*.jpg, ./*.jpg) of images to segment; only with --params",
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
        "in tiles that overlap by at least a quarter",
    )

    @field_validator("images", mode="before")
    @classmethod
    def _images_is_text(cls, images: Any) -> Any:
        if images is not None and not isinstance(images, str):
            raise ValueError(
                "YAML does not read this as a path: start it with ./ or put it in quotes inside the quotes"
            )
        return images


class ComparisonConfig(Block):
    """Which runs are compared."""

    runs: Annotated[tuple[str, ...] | None, SpaceSeparated] = Field(
        None, description="names of the runs to compare; * matches any text, but cannot come first; null compares all"
    )
