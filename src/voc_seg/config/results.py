"""Settings of what is done with trained networks."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .block import Block, SpaceSeparated


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

    runs: Annotated[tuple[str, ...] | None, SpaceSeparated] = Field(
        None, description="names of the runs to compare, with * for any text, though not first; null compares all"
    )
