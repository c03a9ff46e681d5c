"""What a checkpoint says of its run, and whether and how a run can go on from it."""

import hashlib
import logging
from collections.abc import Callable
from typing import Any

from voc_seg.config import Parameters, TrainingConfig
from voc_seg.samples.store import SampleStore

from .checkpoint import RunState
from .distributed import Launch, from_first
from .runtime import choose_runtime

logger = logging.getLogger(__name__)


def starting_point(read: Callable[..., dict[str, Any]], resume: bool, launch: Launch) -> dict[str, Any] | None:
    """The checkpoint to go on from, the same one for all processes; None to start anew.

    Args:
        read: Gives the newest checkpoint; with ``launch=NAME`` an empty dict unless it was written in that launch.
        resume: ``training.resume``.
        launch: A restart by torchrun goes on by itself, but never from what an earlier training has left.

    Raises:
        VocSegError: There is no checkpoint, though ``resume`` asks for one.
    """
    if resume:
        return from_first(read)
    if not launch.restarted:
        return None
    checkpoint = from_first(lambda: read(launch=launch.name))
    if not checkpoint:
        logger.warning("torchrun has restarted this training before its first checkpoint; it starts anew.")
    return checkpoint or None


def describe_data(train: SampleStore, val: SampleStore) -> dict[str, str | int]:
    """What a run learns from and is chosen by, short enough for a message; ids are told apart by a digest.

    ``content`` and ``val_content`` change when images or masks do; see :func:`_content`.
    """
    digests = (hashlib.sha256("\n".join(store.ids).encode()).hexdigest()[:12] for store in (train, val))
    origin = train.origin
    return {
        "source": origin.source,
        **({"name": origin.name} if origin.name != origin.source else {}),
        "images": len(train),
        "val_images": len(val),
        "ids": next(digests),
        "val_ids": next(digests),
        "content": _content(train),
        "val_content": _content(val),
    }


def _content(store: SampleStore) -> str:
    """``samples:`` and a digest of the packed samples, or, of older stores, ``files:`` and one of their files' dates.

    Empty where neither is known. Only texts of the same kind can be compared.
    """
    if content := store.content:
        return f"samples:{content}"
    fingerprint = store.origin.fingerprint
    return f"files:{hashlib.sha256(fingerprint.encode()).hexdigest()[:12]}" if fingerprint else ""


def describe_run(class_names: tuple[str, ...], parameters: Parameters, data: dict[str, str | int]) -> dict[str, Any]:
    """What a checkpoint says of its run, in plain values."""
    # Of evaluation what decides which epoch is the best.
    shaping = {"seed": True, "augmentation": True, "training": True, "evaluation": {"scale", "flip"}}
    blocks = parameters.model_dump(mode="json", include=shaping)
    return {
        "class_names": list(class_names),
        "model_config": parameters.model.model_dump(mode="json"),
        "config": {**blocks, "data": {**data, "longer_side": parameters.data.longer_side}},
        "precision": choose_runtime(parameters.runtime).precision,
    }


def stops_early(state: RunState, patience: int | None, scale: float) -> bool:
    """Whether the last ``patience`` validations at this scale have all missed the best mIoU; by the history."""
    since_best = [
        row
        for row in state.history
        if row["epoch"] > state.best_epoch and row["val_miou"] is not None and row.get("val_scale", scale) == scale
    ]
    return patience is not None and len(since_best) >= patience


def nothing_left(state: RunState, parameters: Parameters) -> str:
    """Why a checkpoint cannot be trained on, and what would change that; empty when it can."""
    config = parameters.training
    if state.epoch >= config.epochs:
        return f"has finished epoch {state.epoch}, and training.epochs is {config.epochs}. Raise it to go on"
    if stops_early(state, config.early_stopping, parameters.evaluation.scale):
        return f"stopped early, at epoch {state.epoch}. Raise training.early_stopping to go on"
    return ""


def warn_of_another_schedule(checkpoint: dict[str, Any], config: TrainingConfig) -> None:
    """Say where a run of another length does not equal one that had this length from its start."""
    planned = checkpoint["config"]["training"]["epochs"]
    ways = []
    if planned != config.epochs and config.schedule.name != "constant":
        ways.append(f"the {config.schedule.name} schedule is stretched over them from here on, so the rate jumps")
    if planned == checkpoint["epoch"] and planned % config.validate_every:
        ways.append(f"epoch {planned}, then the last one, was validated")
    if ways:
        logger.warning(
            "Planned for %d epochs, now for %d. This is not what %d from the start would give: %s.",
            planned, config.epochs, config.epochs, "; ".join(ways),
        )  # fmt: skip


def forget_best_of_another_scale(checkpoint: dict[str, Any], state: RunState, parameters: Parameters) -> None:
    """Choose the best epoch afresh where ``evaluation.scale`` has changed: scores at two scales do not compare.

    The history says at which scale each epoch was validated.
    """
    before, now = checkpoint["config"]["evaluation"]["scale"], parameters.evaluation.scale
    for row in state.history:  # earlier versions did not say it
        row.setdefault("val_scale", None if row["val_miou"] is None else before)
    if before == now:
        return
    kept = f" The best model, of epoch {state.best_epoch}, is replaced at the next one." if state.best_epoch else ""
    logger.warning(
        "Validations so far were at evaluation.scale=%g, from here on it is %g; their scores do not compare "
        "(val_scale in the history), so the best epoch is chosen from here on.%s", before, now, kept,
    )  # fmt: skip
    state.best_epoch, state.best_miou = 0, -1.0
