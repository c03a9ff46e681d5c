"""The contract of a decoder, and the decoder that ``model.decoder`` names."""

from collections.abc import Callable

from torch import nn

from voc_seg.config import ModelConfig

from .decoder import Decoder
from .encoder import Encoder


def _transposed(config: ModelConfig, encoder: Encoder, classes: int) -> nn.Module:
    return Decoder(
        encoder.channels, encoder.strides, config.skips, config.width, config.context, classes, config.dropout
    )


DECODERS: dict[str, Callable[[ModelConfig, Encoder, int], nn.Module]] = {"transposed": _transposed}
"""Decoders by ``model.decoder``.

Each is a module that takes the encoder's feature maps, finest first, and returns logits
``float (N, classes, H / s, W / s)`` of any stride s. Its last convolution, ``classify``, is 1x1 and has a filter for
each class.
"""


def build_decoder(config: ModelConfig, encoder: Encoder, classes: int) -> nn.Module:
    """A randomly initialised decoder for the feature maps of an encoder."""
    return DECODERS[config.decoder](config, encoder, classes)
