"""What a model is and what it was validated on, in sentences: a single network, one of a fold, or an ensemble."""

from collections.abc import Mapping
from typing import Any

from voc_seg.config.network import TIMM
from voc_seg.models.members import fold_of, is_best_epoch, is_of_folds, members_of
from voc_seg.models.saved import trained_on

from .tables import score


def encoder_name(model_config: Mapping[str, Any]) -> str:
    """The name of an encoder as readers know it, such as ResNet-18."""
    encoder = model_config["encoder"]
    return encoder.removeprefix(TIMM) if encoder.startswith(TIMM) else f"ResNet-{encoder.removeprefix('resnet')}"


def model_name(saved: Mapping[str, Any]) -> str:
    """A model in a few words: encoder and data."""
    return f"{encoder_name(saved['model_config'])}, trained on {trained_on(saved)}"


def what_it_is(saved: Mapping[str, Any], parameters: int) -> str:
    """What a model consists of; ``parameters`` is its number of trainable parameters."""
    size = f"{parameters / 1e6:.1f} million parameters"
    if members := members_of(saved):
        return (
            f"An ensemble of {len(members)} SegmentationNets of voc_seg with {size} in all; its class probabilities "
            "are the mean of theirs."
        )
    return f"A SegmentationNet of voc_seg with {size}."


def best_validation(saved: Mapping[str, Any], planned: Any, conditions: str) -> str:
    """The validation score of a model, in Markdown.

    Args:
        saved: The content of ``best_model.pth``.
        planned: Epochs or minutes of the training.
        conditions: Of the validation, in words.
    """
    found = f"**{score(saved['val_miou'])}**"
    is_best = is_best_epoch(saved) and saved["config"]["training"].get("monitor", "miou") == "miou"
    name = "best validation mIoU" if is_best else "validation mIoU"
    if members_of(saved):
        where = "the fold of train that it was not trained on" if is_of_folds(saved) else "its own validation images"
        return f"Mean of the members' {name}, each on {where}: {found}, {conditions}."
    fold = f" on fold {fold_of(saved)} of train, which was held out" if fold_of(saved) else ""
    return f"{name[0].upper()}{name[1:]}{fold}: {found}, epoch {saved['epoch']} of {planned}, {conditions}."


def images_used(saved: Mapping[str, Any]) -> str:
    """How many images a model was trained and validated on."""
    data = saved["config"]["data"]
    if is_of_folds(saved):
        return (
            f"{data['images']:,} training images in {len(members_of(saved))} folds; each member was trained without "
            f"one of them, which was {_purpose(saved)} its epoch."
        )
    fold = f", fold {fold_of(saved)} of train" if fold_of(saved) else ""
    validation = f"{data['val_images']:,} validation images{fold}, {_purpose(saved)} the epoch"
    return f"{data['images']:,} training images; {validation}."


def _purpose(saved: Mapping[str, Any]) -> str:
    """What validation images were used for, with ``training.select``."""
    return "used to choose" if is_best_epoch(saved) else "not used to choose"
