"""Networks built from settings, ImageNet weights or saved models."""

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import get_weight

from voc_seg.config import ModelConfig
from voc_seg.config.model_input import RGB_INPUT, ModelInput
from voc_seg.system.errors import VocSegError
from voc_seg.voc.pixel_format import PixelFormat

from .encoder import RGB_CHANNELS, count_parameters, widen
from .saved import UNNAMED_NETWORK, require_fields, require_network
from .segmentation_net import SegmentationNet, bare_model
from .weights import find_encoders, identify_resnet, read_weights, weight_fault

logger = logging.getLogger(__name__)

# The first release of torchvision's weights: plain training, what published fine-tuning results start from.
_IMAGENET = {name: f"ResNet{name[6:]}_Weights.IMAGENET1K_V1" for name in ("resnet18", "resnet34", "resnet50")}

_TIMEOUT = 20
"""Seconds without an answer after which a download fails; torch.hub's own would wait forever behind some firewalls."""


_FILTERS = "conv1.weight"


def build_model(config: ModelConfig, classes: int, model_input: ModelInput = RGB_INPUT) -> SegmentationNet:
    """A network with fresh decoder weights and the encoder weights the settings ask for, channels-last."""
    model = bare_model(config, classes, model_input)
    if config.weights is not None:
        load_encoder_weights(model, config)
    logger.info(
        "SegmentationNet: %s from %s, skips %s, %s context, %.1f M parameters",
        config.encoder, config.weights or "scratch", list(config.skips), config.context, count_parameters(model) / 1e6,
    )  # fmt: skip
    return model


def restore_model(saved: dict[str, Any]) -> SegmentationNet:
    """The network of a ``best_model.pth`` or a checkpoint, in evaluation mode.

    Raises:
        VocSegError: As :func:`voc_seg.models.saved.require_network`.
    """
    config = require_network(saved)
    model = bare_model(config, len(saved["class_names"]), ModelInput.of(saved))
    model.load_state_dict(saved["model"])
    return model.eval()


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


def require_pixels(saved: dict[str, Any], pixels: PixelFormat) -> None:
    """Refuse a model that was trained on images that were read in another way.

    Raises:
        VocSegError: With both settings.
    """
    trained = ModelInput.of(saved).pixels
    if trained != pixels:
        raise VocSegError(
            f"The model was trained with {_settings(trained)}; this run has {_settings(pixels)}. Use the settings (or "
            "the --env) it was trained with, or train again: kedro run --pipelines training"
        )


def _settings(pixels: PixelFormat) -> str:
    return f"data.channels={pixels.channels}, data.range={list(pixels.range) if pixels.range else 'null'}"


def load_encoder_weights(model: SegmentationNet, config: ModelConfig) -> None:
    """Fill the encoder from ImageNet weights.

    Any floating-point dtype is converted to float32, and the classifier ``fc`` is ignored.

    Raises:
        VocSegError: No file at ``model.weights``.
        VocSegError: The file is damaged, would run code, or belongs to another architecture.
        VocSegError: torchvision could not download its weights.
    """
    if config.weights == "imagenet":
        state = _select_encoder_weights(_download(config.encoder), model, config)
    else:
        state = _from_file(model, config)
    model.encoder.load_state_dict(state, strict=False)


def _from_file(model: SegmentationNet, config: ModelConfig) -> dict[str, Tensor]:
    path = _weights_path(config)
    return _select_encoder_weights(read_weights(path), model, config)


def _select_encoder_weights(state: dict[str, Tensor], model: SegmentationNet, config: ModelConfig) -> dict[str, Tensor]:
    """The tensors for the encoder, as float32; refused unless all are present, finite and of the right shape."""
    expected = model.encoder.state_dict()
    state = _strip_encoder_prefix(state, config)
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    channels, filters = model.model_input.channels, state.get(_FILTERS)
    if channels != RGB_CHANNELS and filters is not None and filters.ndim == 4 and filters.shape[1] == RGB_CHANNELS:
        state |= {_FILTERS: widen(filters.float(), channels)}
        logger.info("model.weights: the first filters are those of RGB, adapted to %d channels", channels)
    wrong = [key for key, value in expected.items() if key in state and state[key].shape != value.shape]
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in expected]
    if wrong or missing or unknown:
        raise VocSegError(
            f"model.weights {config.weights} does not fit model.encoder {config.encoder}: "
            f"{len(missing)} tensors missing {missing[:3]}, {len(wrong)} of another shape {wrong[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}. {_encoder_advice(state, config)}"
        )
    for key, value in state.items():
        if fault := weight_fault(key, value):
            raise VocSegError(
                f"model.weights {config.weights}: {key} {fault}; weights are finite floating-point numbers. "
                "Use another file."
            )
    return {key: value.float() for key, value in state.items()}


def _strip_encoder_prefix(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Only the tensors of the encoder, without the common prefix of their keys: ``module.``, ``encoder.`` ..."""
    encoders = find_encoders(state)
    if len(encoders) > 1:
        raise VocSegError(
            f"model.weights {config.weights} holds {len(encoders)} encoders, under {', '.join(map(repr, encoders))}. "
            "Save the state_dict() of one of them."
        )
    for prefix, inner in encoders.items():
        if prefix:
            # Tensors with other keys belong to other parts of the network.
            logger.info("model.weights: loading only the tensors %s* into the encoder", prefix)
        return inner
    return state


def _encoder_advice(state: dict[str, Tensor], config: ModelConfig) -> str:
    """Advice on weights of another network."""
    found = identify_resnet(state)
    if found in _IMAGENET and found != config.encoder:
        return f"Its tensors are those of {found}: set model.encoder={found}, or use other weights."
    if found and found not in _IMAGENET:
        return f"Its tensors are those of {found}; model.encoder can be {', '.join(_IMAGENET)}. Use other weights."
    return "Name the encoder the weights were trained for; keys must be torchvision's."


def _download(encoder: str) -> dict[str, Tensor]:
    weights = get_weight(_IMAGENET[encoder])
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, RuntimeError, OSError) as error:
        raise VocSegError(
            f"Could not download the ImageNet weights of {encoder} from {weights.url}: {error}. "
            f"Download that file yourself and set model.weights to its path, move it to "
            f"{torch.hub.get_dir()}/checkpoints, or train from scratch with model.weights=null."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def require_weights(config: ModelConfig, channels: int = RGB_CHANNELS) -> None:
    """Refuse an unusable file of weights; quick enough to check before the run.

    Raises:
        VocSegError: As :func:`load_encoder_weights`.
    """
    if config.weights not in (None, "imagenet"):
        _from_file(bare_model(config, 2, ModelInput((0.5,) * channels, (0.5,) * channels)), config)


def _weights_path(config: ModelConfig) -> Path:
    path = Path(os.path.expanduser(config.weights or ""))  # noqa: PTH111 - Path's fails for unknown users
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file fails without permissions
        raise VocSegError(
            f"model.weights: there is no file {path.absolute()}. Use null, imagenet, or the path of a "
            ".pth or .safetensors state dict."
        )
    return path
