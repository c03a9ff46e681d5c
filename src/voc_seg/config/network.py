"""Settings of the model."""

import re
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .block import Block, Fraction, SpaceSeparated

RESNETS = ("resnet18", "resnet34", "resnet50")
"""Encoders of torchvision."""
RESNET_STAGES = 5
TIMM = "timm:"
"""Prefix of encoders of timm, PyTorch Image Models."""


class ModelConfig(Block):
    """Encoder and decoder of the network."""

    encoder: str = Field(
        "resnet18",
        description="resnet18 (the fastest of the three), resnet34, resnet50, or timm:NAME, a network of timm such as "
        "timm:convnext_tiny or timm:vit_small_patch14_dinov2; needs the extra timm",
    )
    weights: str | None = Field(
        None,
        description="initial weights: null (random), pretrained (of the encoder, downloaded; imagenet is the same), or "
        "a path: a model of voc_seg (best_model.pth, a checkpoint, model.safetensors), or weights of an encoder from "
        "elsewhere",
    )
    decoder: Literal["transposed", "aspp", "linear"] = Field(
        "transposed",
        description="what turns the encoder's features into class scores: transposed convolutions with skips; aspp, "
        "the atrous pyramid of DeepLabV3+; or linear, a single 1x1 convolution",
    )
    skips: Annotated[tuple[Annotated[int, Field(ge=1, le=4)], ...], SpaceSeparated] = Field(
        (2, 3, 4),
        min_length=1,
        description="encoder stages that the transposed decoder fuses, 1 to 4; undilated they have strides 2, 4, 8, "
        "16; transformers and ConvNeXt have no stage 1",
    )
    width: int = Field(
        128,
        ge=8,
        le=1024,
        multiple_of=4,
        description="decoder channels, 8 to 1024, a multiple of 4; DeepLabV3+ has 256; linear has none",
    )
    context: Literal["none", "pyramid"] = Field(
        "pyramid",
        description="context module of the transposed decoder at the coarsest stage: none, or pyramid pooling",
    )
    output_stride: Literal[8, 16, 32] = Field(
        32,
        description="stride of the coarsest features; 16 dilates the last stage, 8 the last two: finer, but slower",
    )
    stride_in_1x1: bool = Field(
        False,
        description="put the stride of bottleneck blocks on the 1x1 convolution, as in the 2015 ResNet; for weights "
        "trained that way",
    )
    dropout: Fraction = Field(
        0.1, description="probability of dropping a decoder channel before the classifier, 0 to 1"
    )
    auxiliary: Fraction = Field(
        0.0,
        description="weight of an auxiliary loss on the features of stage 4, 0 to 1; 0 is none, 0.4 is usual; counted "
        "in train_loss",
    )

    @field_validator("encoder")
    @classmethod
    def _encoder_is_known(cls, encoder: str) -> str:
        if encoder in RESNETS or re.fullmatch(rf"{TIMM}[a-z0-9_]+(\.[a-z0-9_]+)?", encoder):
            return encoder
        close = get_close_matches(encoder.lower(), RESNETS, 1, 0.8)
        if encoder.lower().startswith(TIMM):
            hint = "names of timm have only small letters, digits and '_', and may end with '.' and a tag of weights"
        elif re.fullmatch(r"[a-z0-9_]+", encoder):
            hint = f"did you mean {' or '.join([*close, TIMM + encoder])}, if timm has such a network?"
        else:
            hint = f"did you mean {close[0]}?" if close else f"networks of timm are written {TIMM}NAME"
        raise ValueError(f"it must be {', '.join(RESNETS)} or {TIMM}NAME; {hint}")

    @property
    def timm_name(self) -> str | None:
        """The name of the encoder in timm, perhaps with a tag of weights; None for another encoder."""
        return self.encoder.removeprefix(TIMM) if self.encoder.startswith(TIMM) else None

    @property
    def downloads_weights(self) -> bool:
        """Whether the initial weights are downloaded, or read from the cache of an earlier download."""
        return self.weights in ("imagenet", "pretrained")

    @model_validator(mode="after")
    def _skips_are_distinct(self) -> "ModelConfig":
        if len(set(self.skips)) != len(self.skips):
            raise ValueError(f"skips {list(self.skips)} contains a stage twice")
        return self
