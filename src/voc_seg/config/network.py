"""Settings of the model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .block import Block, Fraction, SpaceSeparated


class ModelConfig(Block):
    """Encoder and decoder of the network."""

    encoder: Literal["resnet18", "resnet34", "resnet50"] = Field(
        "resnet18", description="ResNet encoder; resnet18 is the fastest"
    )
    weights: str | None = Field(
        None,
        description="initial weights: null (random), imagenet (of the encoder, downloaded by torchvision), or a path: "
        "a model of voc_seg (best_model.pth, a checkpoint, model.safetensors), or weights of an encoder from elsewhere",
    )
    decoder: Literal["transposed", "aspp", "linear"] = Field(
        "transposed",
        description="what turns the encoder's features into class scores: transposed convolutions with skips; aspp, "
        "the atrous pyramid of DeepLabV3+; or linear, a single 1x1 convolution",
    )
    skips: Annotated[tuple[Annotated[int, Field(ge=1, le=4)], ...], SpaceSeparated] = Field(
        (2, 3, 4),
        min_length=1,
        description="encoder stages that the transposed decoder fuses, 1 to 4; undilated they have strides 2, 4, 8, 16",
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
        description="weight of an auxiliary loss on the features of stage 4, 0 to 1; 0 is none, 0.4 is usual; part of "
        "train_loss",
    )

    @model_validator(mode="after")
    def _skips_are_distinct(self) -> "ModelConfig":
        if len(set(self.skips)) != len(self.skips):
            raise ValueError(f"skips {list(self.skips)} contains a stage twice")
        return self
