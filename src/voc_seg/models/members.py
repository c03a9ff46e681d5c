"""What a saved network says of the folds of its training, of its epoch, and of its members if it is an ensemble."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

MEMBERS = "members"
"""Field of a saved ensemble, one dict a member: run, fold, epoch, val_miou and model_digest. Also the prefix of the
members' tensors: those of the first are called ``members.0.encoder...``."""


def fold_of(saved: Mapping[str, Any]) -> str:
    """``training.fold`` of a saved network; empty if no fold was held out."""
    fold = saved.get("config", {}).get("training", {}).get("fold")
    return fold if isinstance(fold, str) and re.fullmatch(r"[0-9]+/[0-9]+", fold) else ""


def members_of(saved: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The facts about each member of a saved ensemble; empty for a single network."""
    return list(saved.get(MEMBERS) or ())


def is_of_folds(saved: Mapping[str, Any]) -> bool:
    """Whether a saved network is an ensemble of the folds of train."""
    return bool(members_of(saved)) and all(one.get("fold") for one in members_of(saved))


def is_best_epoch(saved: Mapping[str, Any]) -> bool:
    """Whether the best validation became the model (``training.select``); earlier versions knew nothing else."""
    return saved.get("config", {}).get("training", {}).get("select", "best") == "best"


def is_chosen_on_val(saved: Mapping[str, Any]) -> bool:
    """Whether val has chosen the epoch of a saved network, so that its score there is optimistic."""
    return is_best_epoch(saved) and not fold_of(saved) and not is_of_folds(saved)


def are_members(value: Any) -> bool:
    """Whether a value can be the field ``members``."""
    return isinstance(value, (list, tuple)) and len(value) > 1 and all(isinstance(one, Mapping) for one in value)


def member_weights(saved: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """The state dict of each member; of a single network its own, alone.

    Tensors that belong to no member are among those of the first, under their full name.
    """
    if not (count := len(members_of(saved))):
        return [dict(saved["model"])]
    parts: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for key, value in saved["model"].items():
        prefix, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if prefix == MEMBERS and number.isdecimal() and int(number) < count:
            parts[int(number)][name] = value
        else:
            parts[0][key] = value
    return parts
