"""Settings of the training loss."""

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from .block import Block


class LossConfig(Block):
    """What training minimises: a weighted sum of cross-entropy and further terms."""

    cross_entropy: float = Field(1.0, ge=0, description="weight of the cross-entropy")
    class_weights: Literal["balanced"] | tuple[float, ...] | None = Field(
        None,
        description="weights of the classes in the cross-entropy: null, balanced (rare classes count more), or one "
        "number per class, separated by spaces; scaled so that the mean over the pixels of train is 1",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="part of each pixel's label that is spread over all classes in the cross-entropy, from 0 to "
        "below 1",
    )
    ohem: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="part of the labelled pixels of each image that count in the cross-entropy, those with the highest "
        "loss, above 0 and below 1; null is off",
    )
    dice: float = Field(0.0, ge=0, description="weight of the Dice loss; 0 is off")
    lovasz: float = Field(0.0, ge=0, description="weight of the Lovász-softmax loss; 0 is off")
    focal: float = Field(0.0, ge=0, description="weight of the focal loss; 0 is off")
    boundary: float = Field(
        0.0,
        ge=0,
        description="weight of a second cross-entropy, over the pixels near another class; 0 is off",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _class_weights_from_text(cls, value: Any) -> Any:
        """Split text at spaces, as ``--params`` splits at commas."""
        if value is None or value == "balanced":
            return value
        items = value.split() if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        try:
            weights = tuple(math.nan if isinstance(item, bool) else float(item) for item in items)
        except (TypeError, ValueError):
            weights = ()
        if not weights or not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise ValueError(
                "must be null, balanced, or one number per class, separated by spaces, none below 0 and not all 0"
            )
        return weights

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "LossConfig":
        if self.cross_entropy:
            return self
        if not (self.dice or self.lovasz or self.focal or self.boundary):
            raise ValueError("all weights are 0: one of cross_entropy, dice, lovasz, focal, boundary must be above 0")
        changing = ("ohem",) if self.boundary else ("class_weights", "label_smoothing", "ohem")
        if found := [name for name in changing if getattr(self, name)]:
            raise ValueError(
                f"{', '.join(found)}: this changes the cross-entropy, whose weight cross_entropy is 0. Set "
                f"cross_entropy above 0, or remove {' and '.join(found)}"
            )
        return self
