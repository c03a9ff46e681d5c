"""Checks of a saved network before use: its file may be damaged, old or written by hand."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from voc_seg.config import ModelConfig
from voc_seg.config.block import value_fault
from voc_seg.config.model_input import ModelInput
from voc_seg.system.errors import VocSegError

from .members import MEMBERS, member_weights
from .saved_fields import FIELDS
from .segmentation_net import AUXILIARY, bare_model
from .weights import identify_resnet, weight_fault

FORMAT_VERSION = 1
"""Version of saved networks; increased with every incompatible change."""

UNNAMED_NETWORK = "The saved network"
"""Name in messages of a network whose file is unknown."""

_ADVICE = "Restore the file that training wrote, or train again: kedro run --pipelines training"


_INPUT = tuple(f"config.data.{key}" for key in ModelInput().record)
_OF_EVERY_MODEL = ("model_config.encoder", "model_config.weights", "image_size", "epoch", "val_miou")
_OPTIONAL = ("val_loss", "source", "precision", "temperature", "class_colours")
SETTINGS = tuple(key for key in FIELDS if key.startswith("config") and key not in _INPUT)
"""Fields used by the model card and for the image sizes of inference."""


def require_fields(saved: Mapping[str, Any], name: str, *keys: str) -> None:
    """Refuse a saved network with a missing field or an invalid value; ``a.b`` is ``b`` in ``a``.

    Args:
        saved: The content of the file.
        name: The file, for the message.
        keys: The fields that are needed.

    Raises:
        VocSegError: With the field, its value and what belongs there.
    """
    found = {key: _get_nested(saved, key) for key in keys}
    if lacking := [key for key, value in found.items() if value is _MISSING]:
        if {"optimizer", "history"} <= saved.keys():
            raise VocSegError(
                f"{name} is a checkpoint, not a best model: it lacks {', '.join(lacking)}. Checkpoints belong in the "
                "folder checkpoints; training.resume=true continues from the newest one."
            )
        raise VocSegError(f"{name} lacks {', '.join(lacking)}: this project did not write it. {_ADVICE}")
    for key, value in found.items():
        fits, allowed = FIELDS[key]
        if not fits(value):
            raise VocSegError(f"{name}: {key} is {short_repr(value)}; it must be {allowed}. {_ADVICE}")


def require_best_model(saved: Mapping[str, Any], name: str) -> None:
    """Refuse a ``best_model.pth`` that cannot be used: its fields, its network and the network's weights are checked.

    Unknown fields are accepted: later versions may write more.

    Raises:
        VocSegError: With the field, its value and what to do.
    """
    require_network(saved, name)
    require_fields(saved, name, *_OF_EVERY_MODEL)
    optional = [key for key in FIELDS if key in (*_OPTIONAL, *SETTINGS) or key.startswith("inference")]
    require_fields(saved, name, *(key for key in optional if _get_nested(saved, key) is not _MISSING))


def trained_on(saved: Mapping[str, Any]) -> str:
    """Name of the data that a saved network was trained on; empty if it does not say."""
    data = saved.get("config", {}).get("data", {})
    return data.get("name") or data.get("source") or saved.get("source") or ""


def require_network(saved: Mapping[str, Any], name: str = UNNAMED_NETWORK) -> ModelConfig:
    """Refuse a saved network of another format, or whose weights do not fit its ``model_config``.

    Returns:
        The settings of the network.

    Raises:
        VocSegError: With the field or tensor, its value and what to do.
    """
    if not all(isinstance(key, str) for key in saved):
        raise VocSegError(f"{name} has keys that are not text: this project did not write it. {_ADVICE}")
    if (version := saved.get("format_version")) != FORMAT_VERSION or isinstance(version, bool):
        if "format_version" in saved:
            raise VocSegError(
                f"{name} has format_version {short_repr(version)}, this version of voc_seg reads {FORMAT_VERSION}. Use "
                "the version that wrote it, or train again: kedro run --pipelines training"
            )
        raise VocSegError(
            f"{name} has no format_version: it is not a network saved by this project. For weights from elsewhere, set "
            "model.weights; to create this file: kedro run --pipelines training"
        )
    require_fields(saved, name, "model", "model_config", "class_names", *([MEMBERS] if MEMBERS in saved else []))
    try:
        config = ModelConfig.model_validate(saved["model_config"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("model_config", *map(str, first["loc"])))
        raise VocSegError(f"{name}: {key} is {short_repr(first['input'])}: {value_fault(first)}. {_ADVICE}") from error
    require_tensors(saved["model"], name)
    if not any(key.startswith(AUXILIARY) for key in saved["model"]):
        config = config.model_copy(update={"auxiliary": 0.0})  # only checkpoints keep that head
    model_input = _require_input(saved, name)
    for weights in member_weights(saved):
        if fault := _weights_fault(weights, config, len(saved["class_names"]), model_input):
            raise VocSegError(f"{name}: {fault} {_ADVICE}")
    return config


def _require_input(saved: Mapping[str, Any], name: str) -> ModelInput:
    """The input of a saved network; models of earlier versions do not record it."""
    if _get_nested(saved, _INPUT[0]) is _MISSING:
        return ModelInput()
    require_fields(saved, name, *_INPUT)
    found = ModelInput.of(saved)
    if {len(found.mean), len(found.std)} != {saved["config"]["data"]["channels"]}:
        raise VocSegError(f"{name}: config.data has {len(found.mean)} means and {len(found.std)} deviations for "
                          f"{saved['config']['data']['channels']} channels. {_ADVICE}")  # fmt: skip
    return found


def require_tensors(weights: Mapping[Any, Any], name: str) -> None:
    """Refuse a state dict unless it has only plain, complete tensors by name.

    Raises:
        VocSegError: With the offending entry.
    """
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise VocSegError(
                f"{name}: model has {short_repr(value)} as {short_repr(key)}, which is not a tensor. {_ADVICE}"
            )
        if value.device.type == "meta" or value.layout != torch.strided or value.is_quantized:
            raise VocSegError(f"{name}: {key} is not a plain tensor with values. {_ADVICE}")
        if value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise VocSegError(f"{name}: the file does not hold all {value.numel()} values of {key}. {_ADVICE}")


def _weights_fault(weights: Mapping[Any, Any], config: ModelConfig, classes: int, model_input: ModelInput) -> str:
    """Why weights do not fit a network, as a sentence; empty if they fit."""
    with torch.device("meta"):  # only shapes
        expected = bare_model(config, classes, model_input).state_dict()
    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected]
    wrong = [key for key in expected if key in weights and weights[key].shape != expected[key].shape]
    if missing or unknown or wrong:
        counts = [
            f"{len(keys)} {what} ({keys[0]})"
            for keys, what in ((missing, "missing"), (unknown, "unknown"), (wrong, "of another shape"))
            if keys
        ]
        found = identify_resnet({key.removeprefix("encoder.") for key in weights if key.startswith("encoder.")})
        hint = f" They are those of {found}." if found not in ("", config.encoder) else ""
        if wrong:
            shapes = tuple(weights[wrong[0]].shape), tuple(expected[wrong[0]].shape)
            hint = f" {wrong[0]} is {shapes[0]} and should be {shapes[1]}.{hint}"
        return (
            f"its weights do not fit its model_config (encoder {config.encoder}, {classes} classes): of the tensors, "
            f"{', '.join(counts)}.{hint}"
        )
    for key, value in weights.items():
        if fault := weight_fault(key, value):
            return f"{key} {fault}; weights are finite floating-point numbers."
    return ""


_MISSING = object()


def _get_nested(saved: Mapping[str, Any], key: str) -> Any:
    value: Any = saved
    for part in key.split("."):
        value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


def short_repr(value: Any) -> str:
    """A short, one-line text of a value, for messages."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return shorten(repr(value)[:200], 80, placeholder=" ...")
