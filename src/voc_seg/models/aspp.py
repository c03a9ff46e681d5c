"""The decoder of DeepLabV3+: atrous spatial pyramid pooling, fused with fine features."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig

from .decoder import Decoder, Part, conv_bn_relu
from .encoder import Encoder, count_parameters

RATES = (6, 12, 18)
"""Dilations at stride 16. Other strides have the same reach in pixels of the image: the double at 8, half at 32."""
FINE_STRIDE, FINE_CHANNELS = 4, 48
"""Stride of the fine features, and the channels they are reduced to."""


def separable_conv_bn_relu(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 convolution, pointwise (1x1) convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False),
        *conv_bn_relu(inputs, outputs),
    )


class AtrousPyramid(nn.Module):
    """Context at several scales: dilated convolutions side by side, and the mean over the whole map.

    Args:
        inputs: Channels of the coarsest map.
        outputs: Channels of each branch and of the result.
        rates: Dilations of the 3x3 convolutions.
    """

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        dilated = (separable_conv_bn_relu(inputs, outputs, rate) for rate in rates)
        self.branches = nn.ModuleList([conv_bn_relu(inputs, outputs), *dilated])
        # No batch normalisation here, unlike in the paper: a batch of one has a single value a channel.
        self.pooled = nn.Conv2d(inputs, outputs, 1)
        self.project = conv_bn_relu((len(rates) + 2) * outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``float (N, outputs, h, w)`` of features ``float (N, inputs, h, w)``."""
        maps = [branch(features) for branch in self.branches]
        pooled = functional.relu(self.pooled(features.mean((2, 3), keepdim=True)))
        maps.append(pooled.expand(-1, -1, *features.shape[-2:]))
        return self.project(torch.cat(maps, dim=1))


class AsppDecoder(Decoder):
    """Logits at stride 4, after Chen et al., "Encoder-Decoder with Atrous Separable Convolution" (ECCV 2018).

    The coarsest map goes through the atrous pyramid and is enlarged bilinearly. The features of stride 4, reduced to 48
    channels, are concatenated with it, and two separable 3x3 convolutions mix both. An encoder without a map of
    stride 4 gives its finest one above that.
    """

    settings = ("width",)

    def __init__(self, config: ModelConfig, encoder: Encoder, classes: int) -> None:
        super().__init__()
        width, self.stride = config.width, encoder.strides[-1]
        self.rates = tuple(max(1, rate * 16 // self.stride) for rate in RATES)
        least = min(FINE_STRIDE, self.stride)
        self.fine = next(index for index, stride in enumerate(encoder.strides) if stride >= least)
        self.fine_stage, self.fine_stride = encoder.first_stage + self.fine, encoder.strides[self.fine]
        self.context = AtrousPyramid(encoder.channels[-1], width, self.rates)
        self.reduce = conv_bn_relu(encoder.channels[self.fine], FINE_CHANNELS)
        self.fuse = nn.Sequential(
            separable_conv_bn_relu(width + FINE_CHANNELS, width), separable_conv_bn_relu(width, width)
        )
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits ``float (N, classes, H / 4, W / 4)`` of the encoder's features."""
        fine = self.reduce(features[self.fine])
        context = functional.interpolate(self.context(features[-1]), fine.shape[-2:], mode="bilinear")
        maps = self.fuse(torch.cat([context, fine], dim=1))
        return self.classify(self.dropout(maps))

    def parts(self) -> list[Part]:
        """The atrous pyramid, the fusion at stride 4, and the classifier."""
        width, classes, stride = self.classify.in_channels, self.classify.out_channels, self.fine_stride
        fusion = count_parameters(self.reduce) + count_parameters(self.fuse)
        rates = ", ".join(map(str, self.rates))
        return [
            Part(f"ASPP, rates {rates}", width, self.stride, count_parameters(self.context)),
            Part("bilinear + skip, two 3x3", width, stride, fusion, (self.fine_stage,)),
            Part(f"1x1 to {classes}", classes, stride, count_parameters(self.classify)),
        ]
