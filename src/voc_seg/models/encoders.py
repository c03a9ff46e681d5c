"""The encoder that ``model.encoder`` names."""

from voc_seg.config import ModelConfig

from .encoder import Encoder, ResNetEncoder


def build_encoder(config: ModelConfig, channels: int) -> Encoder:
    """A randomly initialised encoder for images of this many channels."""
    return ResNetEncoder(config.encoder, config.output_stride, config.stride_in_1x1, channels)
