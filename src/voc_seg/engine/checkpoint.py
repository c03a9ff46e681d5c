"""Checkpoints: everything a training run needs to resume exactly, and the checks before it does."""

import logging
from dataclasses import asdict, dataclass, field, fields
from textwrap import shorten
from typing import Any

import torch
from torch.amp import GradScaler
from torch.optim.swa_utils import AveragedModel

from voc_seg.config import AugmentationConfig, ModelConfig, ModelInput, TrainingConfig, filled
from voc_seg.models.saved import FORMAT_VERSION
from voc_seg.models.segmentation_net import SegmentationNet, inference_weights
from voc_seg.system.errors import VocSegError

from .optimisation import begin_momentum
from .plan import Plan
from .rng import device_rng_states, set_device_rng_states

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 2
"""Format of a checkpoint apart from the network; incremented when older files can no longer be read."""

Row = dict[str, float | int | bool | None]


@dataclass
class RunState:
    """Counters of a run; the weights are in the model, momentum is in the optimiser."""

    epoch: int = 0  # epochs finished
    step: int = 0  # optimiser steps finished
    position: int = 0  # samples of the current epoch already used
    loss: float = 0.0  # sum over the steps of the current epoch
    seconds: float = 0.0  # of those steps
    waited: float = 0.0  # part of them spent waiting for data
    best_epoch: int = 0
    best_miou: float = -1.0
    history: list[Row] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)  # of training.minutes

    @property
    def best_monitored(self) -> float:
        """The score of the best epoch so far by ``training.monitor``; -1 before the first."""
        if not self.best_epoch:
            return -1.0
        rows = [row for row in self.history if row["epoch"] == self.best_epoch]
        monitored = rows[-1].get("val_monitored") if rows else None
        return self.best_miou if monitored is None else float(monitored)  # earlier versions knew only the mIoU


def save_state(
    model: SegmentationNet,
    ema: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    state: RunState,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Return a checkpoint: tensors, numbers, strings, lists and dicts only, so ``torch.load(weights_only=True)`` works.

    Args:
        model: Weights and batch-norm statistics.
        ema: Moving average of the weights, or None.
        optimizer: Holds momentum. There is no scheduler: the learning rate is a function of the step.
        scaler: Of gradients in float16; its state is empty in other precisions.
        state: Counters and history.
        about: The run's fingerprint: ``class_names``, ``model_config`` and ``config``.
    """
    return {
        "format_version": FORMAT_VERSION,  # of the network
        "checkpoint_version": CHECKPOINT_VERSION,
        **about,
        **asdict(state),
        "model": model.state_dict(),
        "ema": ema.state_dict() if ema else {},
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "rng": {"torch": torch.get_rng_state(), **device_rng_states()},
    }


def require_same_run(checkpoint: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuse to resume from a checkpoint of another run.

    Raises:
        VocSegError: Format, model or recipe differ from ``about``, or the samples have changed and
            ``training.accept_changed_data`` is false.
    """
    if checkpoint.get("checkpoint_version") != CHECKPOINT_VERSION:
        raise VocSegError(
            f"The newest checkpoint has format {checkpoint.get('checkpoint_version')}, this version reads "
            f"{CHECKPOINT_VERSION}. Move it away, or retrain without training.resume."
        )
    if missing := sorted(_KEYS - checkpoint.keys()):
        raise VocSegError(
            f"The newest checkpoint lacks {', '.join(missing)}. Move it away, or retrain without training.resume."
        )
    kinds: dict[str, Any] = dict.fromkeys(("loss", "seconds", "waited", "best_miou"), (int, float)) | {"history": list}
    blocks = dict.fromkeys(("model", "model_config", "config", "ema", "optimizer", "rng"), dict)
    counts = dict.fromkeys(("epoch", "step", "position", "best_epoch"), int)
    for key, kind in (kinds | blocks | counts).items():
        value: Any = checkpoint[key]
        if not isinstance(value, kind) or isinstance(value, bool) or (key in counts and value < 0):
            raise VocSegError(
                f"The newest checkpoint has {repr(value)[:60]} as {key}, which this project never writes. Move it "
                "away, or retrain without training.resume."
            )
    model_config = ModelConfig().model_dump(mode="json") | checkpoint["model_config"]  # earlier versions had fewer keys
    differing = sorted(
        _differences(checkpoint["class_names"], about["class_names"], "class names")
        + _differences(model_config, about["model_config"], "model")
        + _differences(_with_added_facts(checkpoint["config"], about["config"]), about["config"], "")
    )
    if differing:
        raise VocSegError(
            "training.resume: the newest checkpoint was made with other settings:\n  "
            + "\n  ".join(differing)
            + "\nUse that run's settings, or retrain without training.resume=true."
        )
    _require_same_content(checkpoint["config"].get("data", {}), about["config"])


def _with_added_facts(config: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The settings of a checkpoint. Earlier versions lack some: those have defaults, or count as unchanged."""
    defaults = {"training": TrainingConfig(), "augmentation": AugmentationConfig()}
    data = {"longer_side": now["data"].get("longer_side"), **ModelInput().record}
    return filled(config, {key: block.model_dump(mode="json") for key, block in defaults.items()} | {"data": data})


def _require_same_content(old: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse images or masks that have changed under the same ids; warn about what cannot be compared."""
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
            "Cannot check whether the images and masks of %s are those of the checkpoint: one side has no fingerprint.",
            " and ".join(unknown),
        )
    if not changed:
        return
    if not config["training"].get("accept_changed_data"):
        raise VocSegError(
            f"training.resume: the ids are the same, but since the newest checkpoint was written the "
            f"{' and the '.join(changed)} have changed. Restore the old data, retrain without "
            "training.resume=true, or accept the new data: training.accept_changed_data=true"
        )
    logger.warning(
        "Resuming with changed data, because training.accept_changed_data is true: %s.", " and ".join(changed)
    )


def load_state(
    checkpoint: dict[str, Any], ema: AveragedModel | None, optimizer: torch.optim.Optimizer, scaler: GradScaler
) -> RunState:
    """Restore all but the weights, which ``models.registry`` loads; return the counters.

    Raises:
        VocSegError: They do not fit this network.
    """
    try:
        if ema:
            ema.load_state_dict(checkpoint["ema"])
        # The checkpoint says what its own device had. AdamW's counters are placed accordingly.
        fused = {"fused": optimizer.defaults["fused"]}
        saved = checkpoint["optimizer"]
        optimizer.load_state_dict({**saved, "param_groups": [group | fused for group in saved["param_groups"]]})
        begin_momentum(optimizer)
        if scaler.is_enabled() and checkpoint.get("scaler"):  # empty if trained in another precision
            scaler.load_state_dict(checkpoint["scaler"])
        torch.set_rng_state(checkpoint["rng"]["torch"])
        plan = Plan(**checkpoint.get("plan", {}))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        detail = shorten(" ".join(str(error).split()), 120, placeholder=" ...")
        raise VocSegError(
            f"The newest checkpoint cannot be resumed from: its moving average, optimiser or generators do not fit "
            f"({type(error).__name__}: {detail}). Move it away, or retrain."
        ) from error
    set_device_rng_states(checkpoint["rng"])
    counters = {name: checkpoint[name] for name in _COUNTERS}
    return RunState(**counters | {"history": list(checkpoint["history"]), "plan": plan})


_COUNTERS = {counter.name for counter in fields(RunState)} - {"plan"}  # which earlier versions did not have
_KEYS = {"class_names", "model_config", "config", "model", "ema", "optimizer", "rng", *_COUNTERS}

# May change on resume: length, what to keep, origin of initial weights; what depends on the machine or the processes.
_FREE = {
    "training.epochs",
    "training.minutes",
    "training.compile",
    "training.sync_batch_norm",
    "training.resume",
    "training.accept_changed_data",
    "training.early_stopping",
    "training.checkpoint.every_epochs",
    "training.checkpoint.every_minutes",
    "training.checkpoint.keep_last",
    "model.weights",
    "evaluation.scale",  # resets the best epoch
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


def export_best_model(
    model: SegmentationNet, about: dict[str, Any], epoch: int, miou: float, loss: float | None = None
) -> dict[str, Any]:
    """Return the content of ``best_model.pth``: a copy of the weights and what is needed to use them.

    Args:
        model: The network that was validated.
        about: As for :func:`save_state`.
        epoch: Its epoch, from 1.
        miou: Its validation score.
        loss: Its validation loss, which in practice identifies the network in a history.
    """
    return {
        "format_version": FORMAT_VERSION,
        "model": inference_weights(model),
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
