"""What a training run must remember to go on as if it had never stopped."""

import logging
from dataclasses import asdict, dataclass, field, fields
from textwrap import shorten
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from voc_seg.errors import VocSegError
from voc_seg.models.saved import FORMAT_VERSION
from voc_seg.models.segmentation_net import SegmentationNet

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 2
"""Of what a checkpoint holds beside the network; raised with every change after which older files cannot be read."""

Row = dict[str, float | int | bool | None]


@dataclass
class RunState:
    """The counters of a run; weights live in the model, momentum in the optimiser."""

    epoch: int = 0  # epochs finished
    step: int = 0  # optimiser steps finished
    position: int = 0  # samples of the running epoch that are done
    loss: float = 0.0  # summed over the steps of the running epoch
    seconds: float = 0.0  # of those steps
    waited: float = 0.0  # of them, for data
    best_epoch: int = 0
    best_miou: float = -1.0
    history: list[Row] = field(default_factory=list)


def capture(
    model: SegmentationNet,
    ema: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    state: RunState,
    about: dict[str, Any],
) -> dict[str, Any]:
    """A checkpoint: a dict of tensors, numbers, strings, lists and dicts, for ``torch.load(weights_only=True)``.

    Args:
        model: Weights and batch-norm statistics.
        ema: The moving average of the weights, where there is one.
        optimizer: Momentum. There is no scheduler: the learning rate follows from the step.
        state: Counters and history.
        about: What the run is: ``class_names``, ``model_config`` and ``config``.
    """
    return {
        "format_version": FORMAT_VERSION,  # of the network in it
        "checkpoint_version": CHECKPOINT_VERSION,
        **about,
        **asdict(state),
        "model": model.state_dict(),
        "ema": ema.state_dict() if ema else {},
        "optimizer": optimizer.state_dict(),
        "rng": {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "mps": [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else [],
        },
    }


def require_same_run(checkpoint: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuse to go on from a checkpoint of another run.

    Raises:
        VocSegError: The checkpoint comes from another format, model or recipe than ``about``, or its samples have
            changed and ``training.accept_changed_data`` is false.
    """
    if checkpoint.get("checkpoint_version") != CHECKPOINT_VERSION:
        raise VocSegError(
            f"The newest checkpoint has format {checkpoint.get('checkpoint_version')}, this version reads "
            f"{CHECKPOINT_VERSION}. Move it away, or train anew without training.resume."
        )
    if missing := sorted(_KEYS - checkpoint.keys()):
        raise VocSegError(f"The newest checkpoint lacks {', '.join(missing)}. Move it away, or train anew.")
    kinds = dict.fromkeys(("loss", "seconds", "waited", "best_miou"), (int, float)) | {"history": list}
    blocks = dict.fromkeys(("model", "model_config", "config", "ema", "optimizer", "rng"), dict)
    counts = dict.fromkeys(("epoch", "step", "position", "best_epoch"), int)
    for key, kind in (kinds | blocks | counts).items():
        value = checkpoint[key]
        if not isinstance(value, kind) or isinstance(value, bool) or (key in counts and value < 0):
            raise VocSegError(
                f"The newest checkpoint has {repr(value)[:60]} as {key}: this project did not write it so. Move it "
                "away, or train anew."
            )
    differing = sorted(
        _differences(checkpoint["class_names"], about["class_names"], "class names")
        + _differences(checkpoint["model_config"], about["model_config"], "model")
        + _differences(_with_stored_size(checkpoint["config"], about["config"]), about["config"], "")
    )
    if differing:
        raise VocSegError(
            "training.resume: the newest checkpoint was made with other settings:\n  "
            + "\n  ".join(differing)
            + "\nRepeat that run's settings, or start anew without training.resume=true."
        )
    _require_same_content(checkpoint["config"].get("data", {}), about["config"])


def _with_stored_size(config: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The settings of a checkpoint. Earlier versions did not save ``data.longer_side``: it counts as unchanged."""
    return {**config, "data": {"longer_side": now["data"].get("longer_side"), **config.get("data", {})}}


def _require_same_content(old: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse images or masks that have changed under the same ids; what cannot be compared is said."""
    changed, unknown = [], []
    for split, key in (("train", "content"), ("val", "val_content")):
        was, now = old.get(key) or "", config["data"].get(key) or ""
        kind = was.partition(":")[0]
        if not was or kind != now.partition(":")[0]:
            unknown.append(split)
        elif was != now:
            what = "images or masks" if kind == "samples" else "files (their sizes, dates or places)"
            changed.append(f"{what} of {split}")
    if unknown:
        logger.warning(
            "Whether the images and masks of %s are those of the checkpoint cannot be told: one of them does not say.",
            " and ".join(unknown),
        )
    if not changed:
        return
    if not config["training"].get("accept_changed_data"):
        raise VocSegError(
            f"training.resume: the ids are the same, but since the newest checkpoint was written the "
            f"{' and the '.join(changed)} have changed. Put the old data back, start anew without "
            "training.resume=true, or go on with the new data: training.accept_changed_data=true"
        )
    logger.warning("Going on with changed data, as training.accept_changed_data says: %s.", " and ".join(changed))


def restore(checkpoint: dict[str, Any], ema: AveragedModel | None, optimizer: torch.optim.Optimizer) -> RunState:
    """Put moving average, momentum and random generators back, and give the counters; weights: ``models.registry``.

    Raises:
        VocSegError: They are not those of this network.
    """
    try:
        if ema:
            ema.load_state_dict(checkpoint["ema"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        torch.set_rng_state(checkpoint["rng"]["torch"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        detail = shorten(" ".join(str(error).split()), 120, placeholder=" ...")
        raise VocSegError(
            f"The newest checkpoint cannot be resumed from: its moving average, optimiser or generators do not fit "
            f"({type(error).__name__}: {detail}). Move it away, or train anew."
        ) from error
    for device, generator in zip(range(torch.cuda.device_count()), checkpoint["rng"]["cuda"]):
        torch.cuda.set_rng_state(generator, device)
    if torch.backends.mps.is_available():
        for generator in checkpoint["rng"]["mps"]:
            torch.mps.set_rng_state(generator)
    counters = {counter.name: checkpoint[counter.name] for counter in fields(RunState)}
    return RunState(**counters | {"history": list(checkpoint["history"])})


_KEYS = {"class_names", "model_config", "config", "model", "ema", "optimizer", "rng", *RunState.__annotations__}

# May change on resuming: how long to train, what to keep, where the initial weights once came from, and what goes with
# the number of processes, which may change as well.
_FREE = {
    "training.epochs",
    "training.sync_batch_norm",
    "training.resume",
    "training.accept_changed_data",
    "training.early_stopping",
    "training.checkpoint.every_epochs",
    "training.checkpoint.every_minutes",
    "training.checkpoint.keep_last",
    "model.weights",
    "evaluation.scale",  # the best epoch is then chosen afresh
    "data.name",  # a folder may be renamed
    "data.content",  # compared by _require_same_content
    "data.val_content",
}


def _differences(old: Any, new: Any, name: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        prefix = f"{name}." if name else ""
        return [
            line
            for key in sorted(old.keys() | new.keys())
            for line in _differences(old.get(key), new.get(key), prefix + key)
        ]
    return [] if old == new or name in _FREE else [f"{name}: {old} in the checkpoint, {new} now"]


def model_only(
    model: SegmentationNet, about: dict[str, Any], epoch: int, miou: float, loss: float | None = None
) -> dict[str, Any]:
    """The content of ``best_model.pth``: a copy of the weights and what is needed to use them.

    Args:
        model: The network that was validated.
        about: As for :func:`capture`.
        epoch: The one it is of.
        miou: Of its validation.
        loss: Of its validation: no two networks have the same, so it tells whose history is whose.
    """
    return {
        "format_version": FORMAT_VERSION,
        "model": {key: value.detach().cpu().clone() for key, value in model.state_dict().items()},
        "model_config": about["model_config"],
        "class_names": about["class_names"],
        "config": about["config"],
        "precision": about["precision"],
        "image_size": about["config"]["augmentation"]["image_size"],
        "source": about["config"]["data"]["source"],
        "epoch": epoch,
        "val_miou": miou,
        "val_loss": loss,
    }
