"""Settings of augmentation."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from .block import Block, Fraction, SpaceSeparated

MAX_SIDE = 16384
"""Largest height or width of ``image_size``, pixels: a square image of this size takes 800 MB."""
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]


class AugmentationConfig(Block):
    """How training crops are cut from images."""

    image_size: Annotated[tuple[Side, Side] | None, SpaceSeparated] = Field(
        None,
        description=f"height and width in pixels (up to {MAX_SIDE}) to which images are resized first; null keeps "
        "their size",
    )
    crop_size: PositiveInt = Field(224, ge=64, le=4096, description="side of the square crop in pixels, 64 to 4096")
    scale: Annotated[tuple[float, float], SpaceSeparated] = Field(
        (0.9, 1.1),
        description="smallest and largest random scale factor, drawn log-uniformly, 0.05 to 20; [1, 1] is off",
    )
    flip: Fraction = Field(0.5, description="probability of a horizontal flip; 0 is off")
    colour_jitter: Fraction = Field(
        0.0, description="largest relative change of brightness, contrast and saturation, 0 to 1; 0 is off"
    )
    strength: Literal["none", "light", "standard", "strong"] = Field(
        "none",
        description="random changes of colours and blur (light), also hue, grey images and rotation (standard), or "
        "more of each and holes (strong)",
    )
    max_class_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="another window is tried, up to ten times, while one class fills more than this fraction of a "
        "crop's labelled pixels; 1 is off",
    )
    rare_crops: Fraction = Field(
        0.0,
        description="probability of a crop around a pixel of a rare class, which is one with less than an equal share "
        "of the labelled training pixels; 0 is off",
    )
    copy_paste: Fraction = Field(
        0.0, description="probability of pasting a rare class from another image into a crop; 0 is off"
    )

    @property
    def uses_rare_classes(self) -> bool:
        """Whether crops depend on which classes are rare."""
        return self.rare_crops > 0 or self.copy_paste > 0

    def of_features(self, scale: float) -> "AugmentationConfig":
        """What of these settings acts on stored features of images at a scale: resizing, crop and flip."""
        kept = self.model_dump(include={"image_size", "crop_size", "flip"})
        return AugmentationConfig(**kept, scale=(scale, scale))

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> "AugmentationConfig":
        low, high = self.scale
        if not 0.05 <= low <= high <= 20:
            raise ValueError(f"scale {list(self.scale)} must be [low, high] with 0.05 <= low <= high <= 20")
        return self

    @model_validator(mode="after")
    def _colours_change_once(self) -> "AugmentationConfig":
        if self.colour_jitter and self.strength != "none":
            raise ValueError(
                f"colour_jitter is {self.colour_jitter:g} and strength is {self.strength}: both change colours. Set "
                "colour_jitter to 0 or strength to none"
            )
        return self
