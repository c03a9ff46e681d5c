"""The weights of a model of this project for another training: encoder, decoder, and the classifier by class name."""

import math
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Any

from torch import Tensor, nn

from voc_seg.config import ModelConfig
from voc_seg.config.model_input import ModelInput
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed

from .encoder import RGB_CHANNELS
from .foreign_weights import find_encoder
from .members import members_of
from .saved import require_network, trained_on
from .segmentation_net import input_of
from .taken_weights import ENCODER, TakenPart, TakenWeights, count, other_parts

_OF_ENCODER = ("encoder", "stride_in_1x1")
"""Settings without which the encoder's weights mean nothing."""

_NOT_OF_DECODER = {*_OF_ENCODER, "weights", "dropout", "auxiliary"}
"""Settings that a decoder's weights do not depend on. With another value of any other, the decoder starts fresh."""

_CLASSIFIER = "classify"
"""Name of the modules that have a filter for each class."""

_TOLERANCE = 1e-3
"""Relative difference of means and deviations that is rounding."""


def take_own(saved: dict[str, Any], model: nn.Module, config: ModelConfig, class_names: Sequence[str]) -> TakenWeights:
    """The tensors that a network takes of a model of this project.

    Args:
        saved: The content of a best model, a checkpoint or an exported model.
        model: The network; it stays as it is.
        config: Its settings.
        class_names: Its classes; empty if they have no names.

    Raises:
        VocSegError: The saved model is damaged, or its encoder or its number of channels is another.
    """
    saved = _validated_weights(saved)
    trained = require_network(saved, f"model.weights {config.weights}")
    if members := members_of(saved):
        raise VocSegError(
            f"model.weights {config.weights} is an ensemble of {len(members)} models, and training starts from one. "
            f"Use best_model.pth of one of its runs: {listed([one.get('run') for one in members])}."
        )
    had, has = ModelInput.of(saved), input_of(model)
    _require_same_encoder(trained, config, had.channels, has.channels)
    kind = "the moving average in a checkpoint" if saved.get("ema") else "a checkpoint" if "rng" in saved else "a model"
    origin = f"{kind} of voc_seg, trained on {trained_on(saved) or 'unknown data'}"
    result = TakenWeights(f"model.weights {config.weights}: {origin}", warnings=_input_warnings(had, has))
    weights, fresh = saved["model"], model.state_dict()
    inner = {key: value for key, value in weights.items() if key.startswith(ENCODER)}
    result.take_encoder(find_encoder(inner, model.get_submodule("encoder").state_dict(), has.channels, config))
    differing = [
        f"model.{key} {getattr(trained, key)} in the file, {getattr(config, key)} here"
        for key in type(config).model_fields
        if key not in _NOT_OF_DECODER and getattr(trained, key) != getattr(config, key)
    ]
    if not differing:
        result.warnings += _spelling_warnings(saved["class_names"], class_names)
    for part, keys in other_parts(fresh).items():
        by_class = [key for key in keys if _CLASSIFIER in key.split(".")[:-1]]
        plain = [key for key in keys if key not in by_class]
        missing = [f"missing in the file: {key}" for key in keys if key not in weights]
        wrong = [f"other shape: {key}" for key in plain if key in weights and weights[key].shape != fresh[key].shape]
        if reasons := differing or missing + wrong:
            why = shorten("starts fresh: " + "; ".join(reasons), 160, placeholder=" ...")
            result.parts.append(TakenPart(part, not_taken=count(len(keys), "tensor"), why=why))
            continue
        result.tensors |= {key: weights[key] for key in plain}
        result.parts.append(TakenPart(part, count(len(plain), "tensor")))
        if by_class:
            result.tensors |= {
                key: _rows(weights[key], saved["class_names"], fresh[key], class_names) for key in by_class
            }
            result.parts += _class_parts(part, saved["class_names"], class_names)
    return result


def _validated_weights(saved: dict[str, Any]) -> dict[str, Any]:
    """A saved network with the weights it was validated with: those of a checkpoint's moving average, if it has one."""
    average, weights = saved.get("ema"), saved.get("model")
    if not average or not isinstance(average, Mapping) or not isinstance(weights, Mapping):
        return saved
    named = {str(key).removeprefix("module."): value for key, value in average.items()}
    return saved | {"model": {key: value for key, value in named.items() if key in weights}}


def _require_same_encoder(trained: ModelConfig, config: ModelConfig, had: int, has: int) -> None:
    """Refuse a model with another encoder, or for images of another number of channels; RGB can be adapted."""
    pairs = [(f"model.{key}", getattr(trained, key), getattr(config, key)) for key in _OF_ENCODER]
    if had != RGB_CHANNELS:
        pairs.append(("data.channels", had, has))
    for key, was, now in pairs:
        if was != now:
            was, now = (str(value).lower() if isinstance(value, bool) else value for value in (was, now))
            raise VocSegError(
                f"model.weights {config.weights} is a model with {key}={was}, and this run has {key}={now}. "
                f"Set {key}={was}, or use other weights."
            )


def _input_warnings(had: ModelInput, has: ModelInput) -> list[str]:
    """What to say if images are read or normalised in another way than those the model was trained on."""
    if had.channels != has.channels:
        return []
    warnings = []
    pairs = zip(had.mean + had.std, has.mean + has.std, strict=True)
    if not all(math.isclose(*pair, rel_tol=_TOLERANCE) for pair in pairs):
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (had.mean, had.std))
        warnings.append(
            "model.weights: the model was trained with images normalised by another mean and standard deviation. It "
            f"learns faster with its own: data.mean={mean},data.std={std}"
        )
    if had.range != has.range:
        low_high = " ".join(f"{value:g}" for value in had.range) if had.range else "null"
        warnings.append(
            "model.weights: the model was trained with image values scaled from another range. It learns faster with "
            f"its own: data.range={low_high}"
        )
    return warnings


def _rows(trained: Tensor, old_names: Sequence[str], fresh: Tensor, names: Sequence[str]) -> Tensor:
    """A classifier's weights or biases: the trained row for each class that had one, else the fresh row."""
    position = {name: row for row, name in enumerate(old_names)}
    rows = fresh.clone()
    for row, name in enumerate(names):
        if name in position:
            rows[row] = trained[position[name]]
    return rows


def _class_parts(part: str, old_names: Sequence[str], names: Sequence[str]) -> list[TakenPart]:
    """Rows of the table for classes that both have, that are new, and that are gone."""
    name, shared = f"{part}.{_CLASSIFIER}", [known for known in names if known in old_names]
    new = [known for known in names if known not in old_names]
    gone = [known for known in old_names if known not in names]
    parts = [TakenPart(name, count(len(shared), "class"), why=_listed(shared))] if shared else []
    if new:
        parts.append(
            TakenPart(name, not_taken=count(len(new), "class"), why=f"missing in the file, start fresh: {_listed(new)}")
        )
    if gone:
        parts.append(TakenPart(name, not_taken=count(len(gone), "class"), why=f"not in data.classes: {_listed(gone)}"))
    return parts


def _spelling_warnings(old_names: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """A warning for each class that has a row in the file under a name that differs in case, spaces or signs only."""

    def letters(name: str) -> str:
        return "".join(filter(str.isalnum, name)).casefold()

    old = {letters(name): name for name in old_names if name not in names}
    for name in names:
        if name not in old_names and (same := old.get(letters(name))):
            yield (
                f"model.weights: {name} starts fresh, because the file calls it {same}. If they are one class, name it "
                f"{same} in data.classes"
            )


def _listed(names: Sequence[str]) -> str:
    return shorten(", ".join(names), 80, placeholder=" ...")
