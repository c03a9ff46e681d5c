"""The linear head: batch normalisation and one 1x1 convolution."""

from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig

from .decoder import Decoder, Part
from .encoder import Encoder, count_parameters

LEAST_STRIDE = 8
"""Finer maps show edges rather than objects, and cost the most."""


class LinearDecoder(Decoder):
    """Logits at stride 8 that are a linear function of the features, as in DINOv2 (Oquab et al., 2023).

    All maps of stride 8 and above are normalised, enlarged bilinearly to the finest of them and concatenated; a 1x1
    convolution gives the logits. Of ResNets these are stages 3 to 5, of a plain ViT the outputs of all its blocks that
    the encoder returns.
    """

    def __init__(self, config: ModelConfig, encoder: Encoder, classes: int) -> None:
        super().__init__()
        least = min(LEAST_STRIDE, encoder.strides[-1])
        self.first = next(index for index, stride in enumerate(encoder.strides) if stride >= least)
        self.channels, self.stride = encoder.channels[self.first :], encoder.strides[self.first]
        self.stages = tuple(range(encoder.first_stage + self.first, encoder.first_stage + len(encoder.strides)))
        self.normalise = nn.ModuleList(nn.BatchNorm2d(channels) for channels in self.channels)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(sum(self.channels), classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits ``float (N, classes, H / 8, W / 8)`` of the encoder's features.

        Both steps are linear, so the 1x1 convolution may come first: a few logits are enlarged instead of thousands of
        channels.
        """
        used = features[self.first :]
        size = used[0].shape[-2:]
        logits: list[Tensor] = []
        for maps, normalise, weight in zip(used, self.normalise, self.classify.weight.split(self.channels, dim=1)):
            bias = None if logits else self.classify.bias
            part = functional.conv2d(self.dropout(normalise(maps)), weight, bias)
            logits.append(part if part.shape[-2:] == size else functional.interpolate(part, size, mode="bilinear"))
        return sum(logits[1:], logits[0])

    def parts(self) -> list[Part]:
        """The one layer."""
        classes = self.classify.out_channels
        return [Part(f"batch norm, 1x1 to {classes}", classes, self.stride, count_parameters(self), self.stages)]
