"""SegmentationNet: ResNet encoder, skip connections, transposed-convolution decoder, 1x1 to the classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig
from voc_seg.config.model_input import RGB_INPUT, ModelInput

from .decoder import Decoder
from .encoder import ResNetEncoder

STRIDE = 32


class SegmentationNet(nn.Module):
    """Encoder-decoder for semantic segmentation.

    Args:
        encoder: ``resnet18``, ``resnet34`` or ``resnet50``.
        classes: Number of classes, background included.
        skips: Encoder stages fused in the decoder: 1, 2, 3, 4 for strides 2, 4, 8, 16.
        width: Channels inside the decoder.
        context: ``none`` or ``pyramid``, the module on the coarsest stage.
        output_stride: 32 or 16, the stride of the coarsest features.
        stride_in_1x1: See :class:`ResNetEncoder`.
        dropout: Share of decoder channels dropped before the classifier in training.
        model_input: Channels of the images, and how to normalise them; it is not part of the state dict.
    """

    def __init__(
        self,
        encoder: str = "resnet18",
        classes: int = 21,
        skips: tuple[int, ...] = (2, 3, 4),
        width: int = 128,
        context: str = "pyramid",
        output_stride: int = 32,
        stride_in_1x1: bool = False,
        dropout: float = 0.1,
        model_input: ModelInput = RGB_INPUT,
    ) -> None:
        super().__init__()
        self.model_input = model_input
        self.encoder = ResNetEncoder(encoder, output_stride, stride_in_1x1, model_input.channels)
        self.decoder = Decoder(self.encoder.channels, self.encoder.strides, skips, width, context, classes, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of every pixel.

        Args:
            images: ``float (N, C, H, W)``, normalised, any H and W of at least 1.

        Returns:
            Logits ``float (N, classes, H, W)``.
        """
        height, width = images.shape[-2:]
        padding = (0, _padded(width) - width, 0, _padded(height) - height)
        padded = functional.pad(images, padding)  # normalised, so 0 is the mean colour
        logits = self.decoder(self.encoder(padded))
        logits = functional.interpolate(logits, padded.shape[-2:], mode="bilinear")
        return logits[..., :height, :width]


def _padded(length: int) -> int:
    """The next multiple of the stride, in a form that lets an export for any size prove it is a multiple."""
    return (length + STRIDE - 1) // STRIDE * STRIDE


def input_of(model: nn.Module) -> ModelInput:
    """The input of a network; RGB for another module."""
    return getattr(model, "model_input", RGB_INPUT)


def bare_model(config: ModelConfig, classes: int, model_input: ModelInput = RGB_INPUT) -> SegmentationNet:
    """A randomly initialised network, channels-last; no file is read."""
    model = SegmentationNet(
        encoder=config.encoder,
        classes=classes,
        skips=config.skips,
        width=config.width,
        context=config.context,
        output_stride=config.output_stride,
        stride_in_1x1=config.stride_in_1x1,
        dropout=config.dropout,
        model_input=model_input,
    )
    return model.to(memory_format=torch.channels_last)
