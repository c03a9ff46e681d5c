"""SegmentationNet: an encoder, and a decoder that turns its feature maps into class scores."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig
from voc_seg.config.model_input import RGB_INPUT, ModelInput

from .auxiliary import AuxiliaryHead
from .decoder import Decoder
from .decoders import build_decoder
from .encoders import build_encoder
from .timm_encoder import require_any_size

AUXILIARY = "auxiliary."
"""Prefix of the auxiliary head's tensors in a state dict."""


class SegmentationNet(nn.Module):
    """Encoder and decoder for semantic segmentation, in training with an auxiliary head where the settings have one.

    Args:
        config: Which encoder and which decoder, and the weight of the auxiliary loss: with 0 there is no such head.
        classes: Number of classes, background included.
        model_input: Channels of the images, and how to normalise them; it is not part of the state dict.
    """

    def __init__(self, config: ModelConfig, classes: int = 21, model_input: ModelInput = RGB_INPUT) -> None:
        super().__init__()
        self.model_input = model_input
        self.encoder = build_encoder(config, model_input.channels)
        self.decoder: Decoder = build_decoder(config, self.encoder, classes)
        # Last, so the other initial weights are the same with and without it.
        self.auxiliary = AuxiliaryHead(config, self.encoder, classes) if config.auxiliary else None

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Class scores of every pixel.

        Args:
            images: ``float (N, C, H, W)``, normalised, any H and W of at least 1.

        Returns:
            Logits ``float (N, classes, H, W)``; in training mode, with an auxiliary head, a pair of such logits: the
            decoder's and the head's.
        """
        height, width = images.shape[-2:]
        padded = self.pad(images)
        return self.scores(self.encoder(padded), padded.shape[-2:], height, width)

    def scores(
        self, features: list[Tensor], size: Sequence[int], height: int, width: int
    ) -> Tensor | tuple[Tensor, Tensor]:
        """What ``forward`` returns for images of this height and width that were padded to ``size``."""
        logits = _enlarged(self.decoder(features), size, height, width)
        if self.auxiliary is None or not self.training:
            return logits
        return logits, _enlarged(self.auxiliary(features), size, height, width)

    def pad(self, images: Tensor) -> Tensor:
        """Normalised images, extended at the bottom and on the right to a size that the encoder takes."""
        height, width = images.shape[-2:]
        multiple = self.encoder.multiple
        padding = (0, _padded(width, multiple) - width, 0, _padded(height, multiple) - height)
        return functional.pad(images, padding)  # normalised, so 0 is the mean colour


def _enlarged(logits: Tensor, size: Sequence[int], height: int, width: int) -> Tensor:
    """Logits at the size of the padded images, without the padding."""
    return functional.interpolate(logits, tuple(size), mode="bilinear")[..., :height, :width]


def _padded(length: int, multiple: int) -> int:
    """The next multiple, in a form that lets an export for any size prove it is one."""
    return (length + multiple - 1) // multiple * multiple


def inference_weights(model: SegmentationNet) -> dict[str, Tensor]:
    """A copy of the state dict on the CPU, without the auxiliary head, which only training needs."""
    state = model.state_dict().items()
    return {key: value.detach().cpu().clone() for key, value in state if not key.startswith(AUXILIARY)}


def input_of(model: nn.Module) -> ModelInput:
    """The input of a network; RGB for another module."""
    return getattr(model, "model_input", RGB_INPUT)


def bare_model(config: ModelConfig, classes: int, model_input: ModelInput = RGB_INPUT) -> SegmentationNet:
    """A randomly initialised network, channels-last; no file is read."""
    return SegmentationNet(config, classes, model_input).to(memory_format=torch.channels_last)


def require_timm_network(config: ModelConfig, channels: int) -> None:
    """Refuse an encoder of timm that cannot be used, or does not fit the other settings; takes about a second.

    Raises:
        VocSegError: As :func:`voc_seg.models.timm_encoder.build_timm_encoder`, the network works only with images of
            one size, or ``model.skips`` names a stage that it does not have.
    """
    assert config.timm_name
    with torch.device("meta"):  # only shapes
        model = bare_model(config, 2, ModelInput((0.5,) * channels, (0.5,) * channels))
    require_any_size(model.encoder, config.timm_name, channels)
