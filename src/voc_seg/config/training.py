"""Settings of training and of the sanity check."""

import re
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from .block import Block, Fraction
from .loss import LossConfig
from .optimisation import OptimizerConfig, ScheduleConfig


class CheckpointConfig(Block):
    """When checkpoints are written, and how many are kept."""

    every_epochs: PositiveInt = Field(
        1, description="epochs between checkpoints; one is always written after the last epoch"
    )
    every_minutes: float | None = Field(
        None, gt=0, description="write another checkpoint within an epoch after this many minutes; null is off"
    )
    keep_last: PositiveInt | None = Field(3, description="number of newest checkpoints to keep; null keeps all")


class TrainingConfig(Block):
    """Length, batches, regularisation and resuming of training."""

    epochs: PositiveInt = Field(50, description="passes over the training split; ignored with minutes")
    minutes: float | None = Field(
        None,
        gt=0,
        description="train for this many minutes, validations included, instead of epochs: once the speed has been "
        "measured, the schedule is fitted to it; null is off",
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        4,
        description="crops in one forward pass, over all ranks together; with auto, a step has 4 x accumulation "
        "crops, as many at a time as fit into the memory of a GPU",
    )
    accumulation: PositiveInt = Field(1, description="batches whose gradients make up one optimiser step")
    validate_every: PositiveInt = Field(1, description="epochs between validations; the last epoch is always validated")
    early_stopping: PositiveInt | None = Field(
        None, description="stop after this many validations without a better score (monitor); null is off"
    )
    select: Literal["best", "last", "ema"] = Field(
        "best",
        description="the epoch that becomes the model: best has the best validation score (monitor), which makes that "
        "score optimistic; last is the last one; ema is the moving average (ema_decay) at the last one",
    )
    monitor: str = Field(
        "miou",
        description="the validation score that says which epoch is the best: miou, boundary_iou (docs/confidence.md), "
        "which takes a GPU longer, or the IoU of one class, such as class:cat",
    )
    frozen_stages: Literal["all"] | NonNegativeInt = Field(
        0,
        description="number of encoder stages, from the first, with frozen weights; a ResNet has 5, and freezing 2 "
        "(up to stride 4) saves a fifth of a step. With all, the encoder's features are computed once and stored, and "
        "only the decoder is trained, on random windows of them (docs/recipes.md)",
    )
    freeze_batch_norm: bool = Field(
        False,
        description="keep the encoder's pretrained batch-norm statistics, which is more stable with small batches",
    )
    clip_gradient: float | None = Field(
        None, gt=0, description="largest norm of the gradient of a step, over all weights; null does not limit it"
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="validate and save an exponential moving average of the weights with this decay, such as 0.99; "
        "null is off",
    )
    ema_warmup: bool = Field(
        False,
        description="start the moving average with a small decay that rises to ema_decay, so that the first weights "
        "are soon forgotten; for short runs with a decay near 1",
    )
    sync_batch_norm: bool = Field(
        False,
        description="in distributed runs: compute batch-norm statistics over the whole batch instead of each rank's "
        "part",
    )
    deterministic: bool = Field(
        False,
        description="on GPUs: use only deterministic operations where torch has them, and warn about the others; "
        "CPU runs are always deterministic",
    )
    compile: bool = Field(
        False,
        description="run the network of training steps through torch.compile, on NVIDIA GPUs with CUDA graphs; "
        "measure first whether that is faster (docs/gpu.md)",
    )
    fold: str | None = Field(
        None,
        pattern=r"^[1-9]\d{0,3}/[1-9]\d{0,3}$",
        description="hold out a fold of train and validate on it: 2/5 is the second of five folds, which depend on "
        "seed; null trains on all of train and validates on val (docs/sweeps.md)",
    )
    resume: bool = Field(False, description="resume from the newest checkpoint")
    accept_changed_data: bool = Field(
        False, description="resume even if images or masks have changed under the same ids"
    )
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @property
    def crops(self) -> int:
        """``batch_size`` as a number, after ``engine.batch_size`` has settled what ``auto`` means."""
        assert self.batch_size != "auto"
        return self.batch_size

    @property
    def monitored_class(self) -> str:
        """The class that ``monitor`` names; empty if it names another score."""
        return self.monitor.removeprefix("class:") if self.monitor.startswith("class:") else ""

    @field_validator("monitor")
    @classmethod
    def _monitor_is_known(cls, monitor: str) -> str:
        if monitor not in ("miou", "boundary_iou") and not re.fullmatch(r"class:.*\S.*", monitor):
            raise ValueError("write miou, boundary_iou, or class: and the name of a class, as in class:cat")
        return monitor

    @field_validator("fold")
    @classmethod
    def _fold_exists(cls, fold: str | None) -> str | None:
        if fold is not None:
            number, folds = map(int, fold.split("/"))
            if folds < 2 or number > folds:
                raise ValueError("write the number of a fold and the number of folds, at least 2, as in 2/5")
        return fold

    @model_validator(mode="after")
    def _compile_goes_with_the_others(self) -> "TrainingConfig":
        if self.compile and self.deterministic:
            raise ValueError(
                "compile and deterministic exclude each other: compiling measures which kernels are fastest"
            )
        if self.compile and self.sync_batch_norm:
            raise ValueError("compile and sync_batch_norm exclude each other: ranks exchange sums within the network")
        return self

    @model_validator(mode="after")
    def _moving_average_and_selection_agree(self) -> "TrainingConfig":
        if self.ema_warmup and self.ema_decay is None:
            raise ValueError("ema_warmup is true, but there is no moving average: set ema_decay, such as 0.99")
        if self.select == "ema" and self.ema_decay is None:
            raise ValueError("select is ema, but there is no moving average: set ema_decay, such as 0.99")
        if self.select == "last" and self.ema_decay is not None:
            raise ValueError(
                f"select is last, but ema_decay {self.ema_decay:g} keeps a moving average: choose select=ema, or "
                "ema_decay=null"
            )
        if self.select != "best" and self.early_stopping is not None:
            raise ValueError(
                f"early_stopping {self.early_stopping} waits for a better score, but select is {self.select}: choose "
                "early_stopping=null, or select=best"
            )
        return self

    @model_validator(mode="after")
    def _warmup_ends_before_training(self) -> "TrainingConfig":
        warmup = self.schedule.warmup_epochs
        if self.minutes is None and warmup and warmup >= self.epochs:
            raise ValueError(f"schedule.warmup_epochs {warmup:g} must be less than epochs {self.epochs}")
        return self


class SanityConfig(Block):
    """Overfitting a single image."""

    image: str | int | None = Field(
        None,
        description="image id, or position in the training split from 0; null takes the first image that has at "
        "least two classes, each covering a large area",
    )
    longer_side: int = Field(
        224,
        ge=64,
        description="longer side in pixels to which the image is reduced, at least 64; a shorter side below 64 is "
        "enlarged to 64",
    )
    epochs: PositiveInt = Field(60, description="optimiser steps, one per epoch, as there is one image")
    learning_rate: float = Field(0.05, gt=0, le=10, description="learning rate, above 0 up to 10")
    pass_miou: Fraction = Field(0.9, description="mIoU on that image, 0 to 1, below which the run fails")
