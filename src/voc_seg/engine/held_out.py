"""The fold of train on which a model was validated."""

from collections.abc import Mapping
from typing import Any

from voc_seg.models.members import fold_of
from voc_seg.samples.folds import divide_fold
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError

from .resuming import data_fingerprint


def held_out_fold(train: SampleStore, saved: Mapping[str, Any]) -> SampleStore:
    """Return the samples of train that a model was not trained on.

    Args:
        train: All samples of train.
        saved: The content of ``best_model.pth``.

    Raises:
        VocSegError: The model was trained on all of them, or the fold has other images now.
    """
    fold = fold_of(saved)
    if not fold:
        raise VocSegError(
            "evaluation.split is fold, but the model was not trained with training.fold. Score it on val with: kedro "
            "run --pipelines evaluation --params evaluation.split=val"
        )
    config = saved["config"]
    _, held_out = divide_fold(train, fold, config["seed"])
    if data_fingerprint(held_out, held_out)["ids"] != config["data"].get("val_ids"):
        raise VocSegError(
            f"Fold {fold} has other images now than in the training of this model, because train has changed. Train "
            f"again: kedro run --pipelines training,evaluation --params training.fold={fold},evaluation.split=fold"
        )
    return held_out
