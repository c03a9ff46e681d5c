"""Settings of the optimiser and of the learning rate."""

from typing import Literal

from pydantic import Field, model_validator

from .block import Block


class OptimizerConfig(Block):
    """Stochastic gradient descent with momentum, or AdamW."""

    name: Literal["sgd", "adamw"] = Field(
        "sgd",
        description="sgd with momentum, or adamw, which suits transformers and needs much smaller rates and more "
        "weight decay: 0.0005 and 0.05 for example",
    )
    learning_rate: float = Field(0.006, gt=0, le=10, description="peak learning rate, above 0 up to 10")
    encoder_factor: float = Field(
        1.0, ge=0, le=1, description="factor on the learning rate for the encoder, 0 to 1; 0 freezes its weights"
    )
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor on the learning rate from each encoder stage (in a transformer: block) to the one before "
        "it, above 0 up to 1; the last stage has the encoder's rate; null is off, the same as 1",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd, from 0 to below 1")
    weight_decay: float = Field(
        1e-4, ge=0, lt=1, description="weight decay, from 0 to below 1; as an L2 penalty with sgd, decoupled with adamw"
    )


class ScheduleConfig(Block):
    """How the learning rate changes over the steps of a run."""

    name: Literal["constant", "poly", "cosine"] = Field(
        "poly", description="constant, or decay to zero: poly (polynomial) or cosine"
    )
    power: float = Field(0.9, gt=0, le=10, description="exponent of poly, above 0 up to 10")
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        description="epochs of linear warm-up to the peak, fewer than epochs; fractions are allowed; 0 is off",
    )


MAX_FINDER_RATE = 20.0
"""Half of a rate is suggested, and training allows up to 10."""


class LrFinderConfig(Block):
    """The learning-rate range test: the rate rises exponentially from step to step."""

    steps: int = Field(100, ge=20, description="optimiser steps, at least 20")
    start: float = Field(1e-6, gt=0, le=10, description="learning rate of the first step, above 0 up to 10")
    end: float = Field(
        1.0, gt=0, le=MAX_FINDER_RATE, description="learning rate of the last step, above start up to "
        f"{MAX_FINDER_RATE:g}; the test ends earlier if the loss diverges"
    )  # fmt: skip

    @model_validator(mode="after")
    def _rate_rises(self) -> "LrFinderConfig":
        if self.end <= self.start:
            raise ValueError(f"end {self.end:g} must be above start {self.start:g}")
        return self
