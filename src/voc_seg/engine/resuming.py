"""Whether and how a run resumes: the fingerprint it stores in checkpoints and what resuming changes."""

import hashlib
import logging
from collections.abc import Callable
from typing import Any

from pydantic.main import IncEx

from voc_seg.config import Parameters, TrainingConfig
from voc_seg.samples.store import SampleStore
from voc_seg.system.names import counted

from .checkpoint import RunState
from .distributed import Launch, broadcast_from_rank0
from .runtime import choose_runtime

logger = logging.getLogger(__name__)


def checkpoint_to_resume(read: Callable[..., dict[str, Any]], resume: bool, launch: Launch) -> dict[str, Any] | None:
    """Return the checkpoint to resume from, the same on all ranks, or None to train from scratch.

    Args:
        read: Returns the newest checkpoint; with ``launch=NAME`` an empty dict unless that launch wrote it.
        resume: ``training.resume``.
        launch: A restart by torchrun resumes automatically, but only from checkpoints of the same launch.

    Raises:
        VocSegError: ``resume`` is true, but there is no checkpoint.
    """
    if resume:
        return broadcast_from_rank0(read)
    if not launch.restarted:
        return None
    checkpoint = broadcast_from_rank0(lambda: read(launch=launch.name))
    if not checkpoint:
        logger.warning("torchrun has restarted this training before its first checkpoint; it starts from scratch.")
    return checkpoint or None


def data_fingerprint(train: SampleStore, val: SampleStore) -> dict[str, str | int]:
    """Return what identifies the data of a run, short enough for a message; ids are represented by a digest.

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


def run_fingerprint(class_names: tuple[str, ...], parameters: Parameters, data: dict[str, str | int]) -> dict[str, Any]:
    """What a checkpoint says of its run, in plain values."""
    # Of evaluation what decides which epoch is the best.
    shaping: dict[str, IncEx | bool] = dict.fromkeys(("seed", "augmentation", "training"), True)
    shaping["evaluation"] = {"scale", "flip"}
    blocks = parameters.model_dump(mode="json", include=shaping)
    return {
        "class_names": list(class_names),
        "model_config": parameters.model.model_dump(mode="json"),
        "config": {
            **blocks,
            "data": {
                **data,
                "longer_side": parameters.data.longer_side,
                **parameters.data.model_input.record,
            },
        },
        "precision": choose_runtime(parameters.runtime).precision,
    }


def stops_early(state: RunState, patience: int | None, scale: float) -> bool:
    """Whether the last ``patience`` validations at this scale have all missed the best mIoU; by the history."""
    since_best = [
        row
        for row in state.history
        if (row["epoch"] or 0) > state.best_epoch
        and row["val_miou"] is not None
        and row.get("val_scale", scale) == scale
    ]
    return patience is not None and len(since_best) >= patience


def already_finished(state: RunState, parameters: Parameters) -> str:
    """Say why there is nothing left to train, and what would change that; empty if there is."""
    config = parameters.training
    if config.minutes is not None:
        if 0 < state.plan.steps <= state.step and not state.position:
            return f"has used training.minutes, which is {config.minutes:g}. Raise it to continue"
    elif state.epoch >= config.epochs:
        return f"has finished epoch {state.epoch}, and training.epochs is {config.epochs}. Raise it to continue"
    if stops_early(state, config.early_stopping, parameters.evaluation.scale):
        return f"stopped early, at epoch {state.epoch}. Raise training.early_stopping to continue"
    return ""


def warn_schedule_changed(checkpoint: dict[str, Any], config: TrainingConfig) -> None:
    """Say where a run of another length does not equal one that had this length from its start."""
    before = checkpoint["config"]["training"]
    planned, minutes = before["epochs"], before.get("minutes")
    ways = []
    if minutes is not None or config.minutes is not None:
        if minutes != config.minutes and config.schedule.name != "constant":
            logger.warning(
                "Planned for %s, now for %s: the %s schedule is fitted to that from here on, so the rate jumps.",
                f"{planned} epochs" if minutes is None else f"{minutes:g} minutes",
                f"{config.epochs} epochs" if config.minutes is None else f"{config.minutes:g} minutes",
                config.schedule.name,
            )
        return
    if planned != config.epochs and config.schedule.name != "constant":
        ways.append(f"the {config.schedule.name} schedule is stretched over them from here on, so the rate jumps")
    if planned == checkpoint["epoch"] and planned % config.validate_every:
        ways.append(f"epoch {planned}, then the last one, was validated")
    if ways:
        logger.warning(
            "Planned for %s, now for %d. The result differs from a run planned for %d: %s.",
            counted(planned, "epoch"), config.epochs, config.epochs, "; ".join(ways),
        )  # fmt: skip


def warn_precision_changed(checkpoint: dict[str, Any], precision: str) -> None:
    """Warn if the run has so far been computed in another precision, because its result is then that of neither."""
    before = checkpoint.get("precision") or precision
    if before != precision:
        logger.warning(
            "Trained in %s so far, from here on in %s: the result differs from a run in either. "
            "runtime.precision=%s keeps it, where the device has it.", before, precision, before,
        )  # fmt: skip


def reset_best_if_scale_changed(checkpoint: dict[str, Any], state: RunState, parameters: Parameters) -> None:
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
