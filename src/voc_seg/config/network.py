"""Settings of the network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .block import Block, Fraction, SpaceSeparated


class ModelConfig(Block):
    """The network."""

    encoder: Literal["resnet18", "resnet34", "resnet50"] = Field("resnet18", description="ResNet encoder")
    weights: str | None = Field(
        None, description="null, imagenet (torchvision downloads them), or a .pth or .safetensors state dict"
    )
    skips: Annotated[tuple[Annotated[int, Field(ge=1, le=4)], ...], SpaceSeparated] = Field(
        (2, 3, 4),
        min_length=1,
        description="encoder stages the decoder fuses; 1, 2, 3, 4 have stride 2, 4, 8, 16",
    )
    width: int = Field(128, ge=8, le=1024, multiple_of=4, description="channels inside the decoder")
    context: Literal["none", "pyramid"] = Field(
        "pyramid", description="what widens the view at the coarsest stage: nothing, or pyramid pooling"
    )
    output_stride: Literal[16, 32] = Field(
        32, description="stride of the coarsest features; 16 dilates the last stage: finer, slower"
    )
    stride_in_1x1: bool = Field(
        False, description="bottleneck stride on the 1x1 convolution: for weights trained so (ResNet of 2015)"
    )
    dropout: Fraction = Field(0.1, description="share of decoder channels dropped before the classifier")

    @model_validator(mode="after")
    def _skips_are_distinct(self) -> "ModelConfig":
        if len(set(self.skips)) != len(self.skips):
            raise ValueError(f"skips {list(self.skips)} names a stage twice")
        return self
