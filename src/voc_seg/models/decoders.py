"""The decoder that ``model.decoder`` names."""

from voc_seg.config import ModelConfig

from .aspp import AsppDecoder
from .decoder import Decoder, TransposedDecoder
from .encoder import Encoder
from .linear import LinearDecoder

DECODERS: dict[str, type[Decoder]] = {"transposed": TransposedDecoder, "aspp": AsppDecoder, "linear": LinearDecoder}
"""Decoders by ``model.decoder``."""

_SOME_DECODERS_ONLY = tuple(dict.fromkeys(key for decoder in DECODERS.values() for key in decoder.settings))
"""Settings of ``ModelConfig`` that not every decoder uses."""


def build_decoder(config: ModelConfig, encoder: Encoder, classes: int) -> Decoder:
    """A randomly initialised decoder for the feature maps of an encoder."""
    return DECODERS[config.decoder](config, encoder, classes)


def used_settings(config: ModelConfig) -> dict[str, object]:
    """The settings that the decoder uses, by name."""
    return {key: getattr(config, key) for key in DECODERS[config.decoder].settings}


def ignored_settings(config: ModelConfig) -> list[str]:
    """The settings that differ from their default but do nothing for this decoder, as ``model.key``."""
    default, used = ModelConfig(), DECODERS[config.decoder].settings
    changed = (key for key in _SOME_DECODERS_ONLY if getattr(config, key) != getattr(default, key))
    return [f"model.{key}" for key in changed if key not in used]
