"""The fields of a saved network, and what belongs in each."""

from collections.abc import Callable
from typing import Any

from voc_seg.config.augmentation import MAX_SIDE
from voc_seg.config.data import MAX_CHANNELS

from .members import are_members


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _are_numbers(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_number(one, low, high) for one in value)


def _is_range(value: Any) -> bool:
    return value is None or (_are_numbers(value, -1e300, 1e300) and len(value) == 2 and value[0] < value[1])


def _are_colours(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_are_numbers(one, 0, 255) and len(one) == 3 for one in value)


def _is_size(value: Any) -> bool:
    if value is None:
        return True
    sides = isinstance(value, (list, tuple)) and len(value) == 2
    return sides and all(_is_count(side) and 1 <= side <= MAX_SIDE for side in value)


def _are_names(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
        return False
    return 2 <= len(value) <= 255 and len(set(value)) == len(value)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (lambda value: isinstance(value, dict) and len(value) > 0, "a dictionary of tensors by name"),
    "members": (are_members, "a list of facts about each member of the ensemble"),
    "model_config": (lambda value: isinstance(value, dict), "the settings of the network"),
    "model_config.encoder": (lambda value: isinstance(value, str), "the name of an encoder"),
    "model_config.weights": (_is_text_or_none, "null, or the origin of the weights"),
    "class_names": (_are_names, "a list of 2 to 255 different names"),
    "image_size": (_is_size, f"null, or height and width of 1 to {MAX_SIDE} pixels"),
    "epoch": (_is_count, "a whole number"),
    "val_miou": (lambda value: _is_number(value, 0, 1), "a number from 0 to 1"),
    # Of a checkpoint.
    "best_epoch": (_is_count, "a whole number"),
    "best_miou": (lambda value: _is_number(value, -1, 1), "a number up to 1"),
    # Networks of earlier versions lack some of these.
    "config": (lambda value: isinstance(value, dict), "the settings of the training"),
    "config.data": (lambda value: isinstance(value, dict), "facts about the data"),
    "config.data.source": (lambda value: isinstance(value, str), "the name of a source"),
    "config.data.images": (_is_count, "a whole number"),
    "config.data.val_images": (_is_count, "a whole number"),
    "config.data.channels": (lambda value: _is_count(value) and 1 <= value <= MAX_CHANNELS, "a number of channels"),
    "config.data.mean": (lambda value: _are_numbers(value, 0, 1), "a number from 0 to 1 for each channel"),
    "config.data.std": (lambda value: _are_numbers(value, 1e-9, 1e9), "a number above 0 for each channel"),
    "config.data.range": (_is_range, "null, or the lowest and the highest value"),
    "config.training": (lambda value: isinstance(value, dict), "the settings of the training"),
    "config.training.epochs": (_is_count, "a whole number"),
    "config.evaluation": (lambda value: isinstance(value, dict), "the settings of the validation"),
    "config.evaluation.scale": (lambda value: _is_number(value, 1e-9, 4), "a number above 0, up to 4"),
    "config.evaluation.flip": (lambda value: isinstance(value, bool), "true or false"),
    "class_colours": (_are_colours, "a list of colours, three numbers each"),
    "inference": (lambda value: isinstance(value, dict), "settings of the inference"),
    "inference.longer_side": (lambda value: value is None or (_is_count(value) and value >= 32), "null, or 32 or more"),
    "inference.tile": (lambda value: _is_count(value) and 128 <= value <= 8192, "a number from 128 to 8192"),
    "inference.scales": (
        lambda value: value is None or (_are_numbers(value, 1e-9, 4) and len(value) > 0),
        "null, or numbers above 0, up to 4",
    ),
    "val_loss": (lambda value: value is None or isinstance(value, (int, float)), "a number"),
    "source": (_is_text_or_none, "a text"),
    "precision": (_is_text_or_none, "a text"),
    "temperature": (lambda value: _is_number(value, 1e-3, 1e3), "a number above 0"),
}
