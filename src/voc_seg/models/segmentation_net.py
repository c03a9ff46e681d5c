"""SegmentationNet: an encoder, and a decoder that turns its feature maps into class scores."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig
from voc_seg.config.model_input import RGB_INPUT, ModelInput

from .decoders import build_decoder
from .encoders import build_encoder


class SegmentationNet(nn.Module):
    """Encoder and decoder for semantic segmentation.

    Args:
        config: Which encoder and which decoder.
        classes: Number of classes, background included.
        model_input: Channels of the images, and how to normalise them; it is not part of the state dict.
    """

    def __init__(self, config: ModelConfig, classes: int = 21, model_input: ModelInput = RGB_INPUT) -> None:
        super().__init__()
        self.model_input = model_input
        self.encoder = build_encoder(config, model_input.channels)
        self.decoder: nn.Module = build_decoder(config, self.encoder, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of every pixel.

        Args:
            images: ``float (N, C, H, W)``, normalised, any H and W of at least 1.

        Returns:
            Logits ``float (N, classes, H, W)``.
        """
        height, width = images.shape[-2:]
        multiple = self.encoder.multiple
        padding = (0, _padded(width, multiple) - width, 0, _padded(height, multiple) - height)
        padded = functional.pad(images, padding)  # normalised, so 0 is the mean colour
        logits = self.decoder(self.encoder(padded))
        logits = functional.interpolate(logits, padded.shape[-2:], mode="bilinear")
        return logits[..., :height, :width]


def _padded(length: int, multiple: int) -> int:
    """The next multiple, in a form that lets an export for any size prove it is one."""
    return (length + multiple - 1) // multiple * multiple


def input_of(model: nn.Module) -> ModelInput:
    """The input of a network; RGB for another module."""
    return getattr(model, "model_input", RGB_INPUT)


def bare_model(config: ModelConfig, classes: int, model_input: ModelInput = RGB_INPUT) -> SegmentationNet:
    """A randomly initialised network, channels-last; no file is read."""
    return SegmentationNet(config, classes, model_input).to(memory_format=torch.channels_last)
