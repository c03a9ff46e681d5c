"""Several trained networks as one, whose probabilities are the mean of theirs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from voc_seg.config.model_input import ModelInput
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed

from .exchange import model_digest
from .members import MEMBERS, fold_of, is_best_epoch, members_of
from .saved import FORMAT_VERSION, require_best_model
from .segmentation_net import SegmentationNet

_NOT_OF_INFERENCE = {"weights", "dropout", "auxiliary"}
"""Settings of the network in which members may differ."""
_OF_ONE_FOLD = ("ids", "val_ids", "content", "val_content")
"""Facts about the data of a training that are not those of the ensemble."""


class Ensemble(nn.Module):
    """Networks for the same classes and images.

    Args:
        members: At least two networks in evaluation mode; they have the same input.
    """

    def __init__(self, members: Sequence[SegmentationNet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.model_input = members[0].model_input

    def forward(self, images: Tensor) -> Tensor:
        """The logarithm of the mean of the members' class probabilities, ``float32 (N, classes, H, W)``.

        Its softmax is that mean. It is computed from logarithms, because small probabilities would become 0 and the
        loss infinite. Images are as for `SegmentationNet.forward`.
        """
        first, *others = self.members
        total = first(images).float().log_softmax(1)
        for member in others:
            total = torch.logaddexp(total, member(images).float().log_softmax(1))
        return total - math.log(len(self.members))


def join_models(saved: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of ``best_model.pth`` for an ensemble of saved networks.

    Its ``val_miou`` is the mean of those of the members, each on its own validation images.

    Args:
        saved: Content of ``best_model.pth`` by name of the run.

    Raises:
        VocSegError: There are fewer than two; one cannot be used, is an ensemble, or differs from the first in classes,
            network, input, data or evaluation settings; or they are folds, but not each fold of one division once.
    """
    names = list(saved)
    if len(names) < 2:
        raise VocSegError(f"An ensemble needs at least two runs; there is {listed(names) or 'none'}.")
    for name, one in saved.items():
        require_best_model(one, f"best_model of {name}")
        if members_of(one):
            raise VocSegError(f"{name} is an ensemble itself. Name its {len(members_of(one))} members instead.")
    _require_alike(saved)
    folds = {name: fold_of(one) for name, one in saved.items()}
    if any(folds.values()):
        _require_all_folds(folds, {name: one["config"].get("seed") for name, one in saved.items()})
    first = saved[names[0]]
    weights = {
        f"{MEMBERS}.{number}.{key}": value
        for number, one in enumerate(saved.values())
        for key, value in one["model"].items()
    }
    return {
        "format_version": FORMAT_VERSION,
        "model": weights,
        "model_config": first["model_config"],
        "class_names": first["class_names"],
        "config": _config(list(saved.values()), is_folds=any(folds.values())),
        "precision": first.get("precision"),
        "image_size": first["image_size"],
        "source": first.get("source"),
        "epoch": max(one["epoch"] for one in saved.values()),
        "val_miou": sum(one["val_miou"] for one in saved.values()) / len(saved),
        "val_loss": None,
        **{key: first[key] for key in ("inference", "class_colours") if key in first},
        MEMBERS: [
            {
                "run": name,
                "fold": folds[name] or None,
                "epoch": one["epoch"],
                "val_miou": one["val_miou"],
                "model_digest": model_digest(dict(one)),
            }
            for name, one in saved.items()
        ],
    }


def _config(members: Sequence[Mapping[str, Any]], is_folds: bool) -> dict[str, Any]:
    """The settings of the first member; of folds with the facts about the whole of train.

    ``training.select`` is ``best`` if val has chosen the epoch of any member.
    """
    config = dict(members[0]["config"])
    if is_best_epoch(members[0]) != (val_has_chosen := any(map(is_best_epoch, members))):
        config["training"] = config["training"] | {"select": "best" if val_has_chosen else "last"}
    if not is_folds:
        return config
    images = sum(one["config"]["data"]["val_images"] for one in members)
    data = {key: value for key, value in config["data"].items() if key not in _OF_ONE_FOLD}
    return config | {
        "training": config["training"] | {"fold": None},
        "data": data | {"images": images, "val_images": images},
    }


def _require_alike(saved: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse members that differ in anything that decides what their predictions mean."""
    first, *others = saved
    expected = _terms(saved[first])
    for name in others:
        terms = _terms(saved[name])
        if differing := [key for key in expected if terms.get(key) != expected[key]]:
            lines = [f"  {key}: {expected[key]} in {first}, {terms.get(key)} in {name}" for key in differing]
            raise VocSegError(
                "Members of an ensemble must agree in classes, network, input and evaluation:\n"
                + "\n".join(lines)
                + "\nName runs that do with --params ensemble.runs='NAME NAME'."
            )


def _terms(saved: Mapping[str, Any]) -> dict[str, Any]:
    config = saved.get("config", {})
    network = {f"model.{key}": value for key, value in saved["model_config"].items() if key not in _NOT_OF_INFERENCE}
    evaluation = {f"evaluation.{key}": value for key, value in config.get("evaluation", {}).items()}
    data = {f"data.{key}": config.get("data", {}).get(key) for key in ("source", "name", "longer_side")}
    return {
        "classes": ", ".join(saved["class_names"]),
        **network,
        **evaluation,
        **data,
        **{f"data.{key}": value for key, value in ModelInput.of(saved).record.items()},
        "augmentation.image_size": saved["image_size"],
    }


def _require_all_folds(folds: Mapping[str, str], seeds: Mapping[str, Any]) -> None:
    """Refuse anything but each fold of one division of train, once."""
    count = next(fold for fold in folds.values() if fold).partition("/")[2]
    wanted = [f"{number}/{count}" for number in range(1, int(count) + 1)]
    given = ", ".join(f"{name} {fold or 'no fold'}" for name, fold in folds.items())
    if missing := [fold for fold in wanted if fold not in folds.values()]:
        raise VocSegError(
            f"The ensemble lacks fold {listed(missing)}: its runs are {given}. Train what is missing with: kedro sweep "
            f"--folds {count} --ensemble"
        )
    if sorted(folds.values()) != sorted(wanted):
        raise VocSegError(f"An ensemble of {count} folds has each of them once, but its runs are {given}.")
    if len(set(seeds.values())) > 1:
        listed_seeds = ", ".join(f"{name} {seed}" for name, seed in seeds.items())
        raise VocSegError(f"The folds of an ensemble come from one division of train, but seeds are {listed_seeds}.")
