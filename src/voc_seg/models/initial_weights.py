"""The weights a training starts from: a model of this project by part and class name, or an encoder from elsewhere."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from voc_seg.config import ModelConfig
from voc_seg.system.errors import VocSegError

from .exchange import read_saved
from .foreign_weights import find_encoder
from .own_weights import take_own
from .segmentation_net import input_of
from .taken_weights import TakenPart, TakenWeights, count, other_parts
from .weights import flatten, read_content

logger = logging.getLogger(__name__)

_OURS = {"format_version", "model_config", "class_names"}
"""What the content of a best model, a checkpoint and an exported model has, and no other file."""

_MOST_LISTED = 6


def load_initial_weights(model: nn.Module, config: ModelConfig, class_names: Sequence[str] = ()) -> None:
    """Fill a network from the file ``model.weights``, and log what was taken; on an error it stays as it is.

    Args:
        model: With ``encoder`` and other parts.
        config: Its settings.
        class_names: The classifier's classes. Without them it starts fresh.

    Raises:
        VocSegError: As :func:`read_initial_weights`.
    """
    found = read_initial_weights(model, config, class_names)
    model.load_state_dict(found.tensors, strict=False)
    logger.info("%s", found.table())
    for warning in found.warnings:
        logger.warning("%s", warning)


def read_initial_weights(model: nn.Module, config: ModelConfig, class_names: Sequence[str] = ()) -> TakenWeights:
    """The tensors of the file ``model.weights`` for a network, which stays as it is.

    Of a model of this project, recognised by its content, the encoder is taken, the decoder if its settings are the
    same, and the rows of the classifier by class name. Of other files the encoder is taken.

    Raises:
        VocSegError: There is no such file, or it is damaged or would run code.
        VocSegError: The encoder is incomplete, of another architecture or not finite.
    """
    path = _weights_path(config)
    advice = "model.weights needs a file of only tensors: download it again, or save model.state_dict()."
    content, metadata = read_content(path, "a state dict", advice)
    if metadata.keys() >= _OURS or (isinstance(content, Mapping) and content.keys() >= _OURS):
        return take_own(read_saved(path), model, config, class_names)
    state = flatten(content)
    if not state:
        raise VocSegError(f"model.weights: {path} holds no plain state dict of tensors; save model.state_dict().")
    encoder = model.get_submodule("encoder")
    not_needed = getattr(encoder, "unused", ())  # not every benchmark's encoder has it
    found = find_encoder(state, encoder.state_dict(), input_of(model).channels, config, not_needed)
    result = TakenWeights(f"model.weights {config.weights}: weights of an encoder")
    result.take_encoder(found)
    for name, keys in other_parts(model.state_dict()).items():
        result.parts.append(
            TakenPart(name, not_taken=count(len(keys), "tensor"), why="missing in the file, starts fresh")
        )
    others = sorted(found.unused.items(), key=lambda item: -item[1])
    if rest := others[_MOST_LISTED:]:
        others = [*others[:_MOST_LISTED], (f"{len(rest)} more", sum(number for _, number in rest))]
    for name, number in others:
        result.parts.append(TakenPart(name, not_taken=count(number, "tensor"), why="unknown: not of this encoder"))
    return result


def _weights_path(config: ModelConfig) -> Path:
    path = Path(os.path.expanduser(config.weights or ""))  # noqa: PTH111 - Path's fails for unknown users
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file fails without permissions
        raise VocSegError(
            f"model.weights: there is no file {path.absolute()}. Use null, pretrained, or the path of a model, of a "
            "checkpoint or of a .pth or .safetensors state dict."
        )
    return path
