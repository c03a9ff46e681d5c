"""The encoder that ``model.encoder`` names."""

from voc_seg.config import ModelConfig

from .encoder import Encoder, ResNetEncoder
from .timm_encoder import build_timm_encoder


def build_encoder(config: ModelConfig, channels: int) -> Encoder:
    """A randomly initialised encoder for images of this many channels.

    Raises:
        VocSegError: It is one of timm, and timm is not installed or its network cannot be used.
    """
    if config.timm_name:
        return build_timm_encoder(config.timm_name, config.output_stride, channels)
    return ResNetEncoder(config.encoder, config.output_stride, config.stride_in_1x1, channels)
