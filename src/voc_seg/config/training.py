"""Settings of training, and of the sanity check before it."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from .block import Block, Fraction


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
    accept_changed_data: bool = Field(
        False, description="on resuming: go on although images or masks have changed under the same ids"
    )
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _warmup_ends_before_training(self) -> "TrainingConfig":
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
    pass_miou: Fraction = Field(0.9, description="mIoU on the image itself below which the run fails")
