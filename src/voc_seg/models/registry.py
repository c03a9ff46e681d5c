"""Networks built from settings, ImageNet weights or saved models."""

import logging
from collections.abc import Sequence
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import get_weight

from voc_seg.config import DataConfig, ModelConfig
from voc_seg.config.model_input import RGB_INPUT, ModelInput
from voc_seg.system.errors import VocSegError
from voc_seg.voc.pixel_format import PixelFormat

from .decoders import ignored_settings, used_settings
from .encoder import RGB_CHANNELS, count_parameters
from .ensemble import Ensemble
from .foreign_weights import find_encoder
from .initial_weights import load_initial_weights, read_initial_weights
from .members import member_weights
from .saved import UNNAMED_NETWORK, require_fields, require_network
from .segmentation_net import SegmentationNet, bare_model, require_timm_network
from .timm_networks import download, require_pretrained, socket_timeout

logger = logging.getLogger(__name__)

# The first release of torchvision's weights: plain training, what published fine-tuning results start from.
_IMAGENET = {name: f"ResNet{name[6:]}_Weights.IMAGENET1K_V1" for name in ("resnet18", "resnet34", "resnet50")}


def build_model(
    config: ModelConfig, classes: int, model_input: ModelInput = RGB_INPUT, class_names: Sequence[str] = ()
) -> SegmentationNet:
    """A network with the weights that the settings ask for, and fresh ones elsewhere, channels-last.

    Args:
        config: Its settings.
        classes: Number of classes.
        model_input: What images it takes.
        class_names: Their names: a model that ``config.weights`` names has a row of its classifier for each of its own.
            Without them the classifier starts fresh.

    Raises:
        VocSegError: The weights cannot be downloaded, or as
            :func:`voc_seg.models.initial_weights.read_initial_weights`.
    """
    model = bare_model(config, classes, model_input)
    if config.downloads_weights:
        _load_pretrained(model, config)
    elif config.weights is not None:
        load_initial_weights(model, config, class_names)
    logger.info(
        "SegmentationNet: %s from %s, %s decoder%s, %.1f M parameters",
        config.encoder, config.weights or "scratch", config.decoder, _described(config), count_parameters(model) / 1e6,
    )  # fmt: skip
    if ignored := ignored_settings(config):
        logger.warning("Without effect with model.decoder=%s: %s", config.decoder, ", ".join(ignored))
    return model


def _described(config: ModelConfig) -> str:
    """The settings that the decoder uses, and the auxiliary loss, for the log."""
    used = used_settings(config) | ({"auxiliary loss": config.auxiliary} if config.auxiliary else {})
    texts = {key: " ".join(map(str, value)) if isinstance(value, tuple) else value for key, value in used.items()}
    return f" ({', '.join(f'{key} {text}' for key, text in texts.items())})" if texts else ""


def restore_model(saved: dict[str, Any]) -> SegmentationNet | Ensemble:
    """The network of a ``best_model.pth`` or a checkpoint, or the ensemble of the former, in evaluation mode.

    Raises:
        VocSegError: As :func:`voc_seg.models.saved.require_network`.
    """
    config = require_network(saved)
    members = []
    for weights in member_weights(saved):
        members.append(bare_model(config, len(saved["class_names"]), ModelInput.of(saved)))
        members[-1].load_state_dict(weights)
    return (members[0] if len(members) == 1 else Ensemble(members)).eval()


def require_trained_for(saved: dict[str, Any], data: DataConfig) -> None:
    """Refuse a model that was trained for other classes, or on images that were read in another way.

    Raises:
        VocSegError: With both lists of classes, or both settings.
    """
    require_classes(saved, data.class_table.names)
    _require_pixels(saved, data.reading.pixels)


def require_classes(saved: dict[str, Any], names: Sequence[str]) -> None:
    """Refuse a model that was trained for other classes.

    Raises:
        VocSegError: With both lists of names.
    """
    require_fields(saved, UNNAMED_NETWORK, "class_names")
    known = saved["class_names"]
    if list(known) != list(names):
        raise VocSegError(
            f"The model was trained for the {len(known)} classes {', '.join(known)}; data.classes are "
            f"{', '.join(names)}. Use the data.classes (or the --env) it was trained with, or train again: "
            "kedro run --pipelines training"
        )


def _require_pixels(saved: dict[str, Any], pixels: PixelFormat) -> None:
    trained = ModelInput.of(saved).pixels
    if trained != pixels:
        raise VocSegError(
            f"The model was trained with {_settings(trained)}; this run has {_settings(pixels)}. Use the settings (or "
            "the --env) it was trained with, or train again: kedro run --pipelines training"
        )


def _settings(pixels: PixelFormat) -> str:
    return f"data.channels={pixels.channels}, data.range={list(pixels.range) if pixels.range else 'null'}"


def _load_pretrained(model: SegmentationNet, config: ModelConfig) -> None:
    """Fill the encoder from the weights of torchvision or timm.

    Raises:
        VocSegError: They could not be downloaded, or do not fit.
    """
    state = download(config.timm_name) if config.timm_name else _download(config.encoder)
    found = find_encoder(state, model.encoder.state_dict(), model.model_input.channels, config, model.encoder.unused)
    model.encoder.load_state_dict(found.tensors, strict=False)


def _download(encoder: str) -> dict[str, Tensor]:
    weights = get_weight(_IMAGENET[encoder])
    try:
        with socket_timeout():
            return weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, RuntimeError, OSError) as error:
        raise VocSegError(
            f"Could not download the ImageNet weights of {encoder} from {weights.url}: {error}. "
            f"Download that file yourself and set model.weights to its path, move it to "
            f"{torch.hub.get_dir()}/checkpoints, or train from scratch with model.weights=null."
        ) from error


def require_weights(config: ModelConfig, channels: int = RGB_CHANNELS) -> None:
    """Refuse a network of timm that cannot be used, and unusable weights; quick enough to check before the run.

    Downloads are not tried.

    Raises:
        VocSegError: As :func:`require_timm_network` and
            :func:`voc_seg.models.initial_weights.read_initial_weights`.
    """
    if config.timm_name:
        require_timm_network(config, channels)
    if config.downloads_weights:
        if config.timm_name:
            require_pretrained(config.timm_name)
    elif config.weights is not None:
        read_initial_weights(bare_model(config, 2, ModelInput((0.5,) * channels, (0.5,) * channels)), config)
