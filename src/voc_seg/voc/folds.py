"""Folds of train for cross-validation: seeded, stratified by class, and no group of images in two of them."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from voc_seg.system.errors import VocSegError

from .groups import Groups, group_images, read_traits
from .stratify import stratify

logger = logging.getLogger(__name__)

_TOO_SMALL = 0.5
"""A fold with a smaller part of its share of the images is warned about."""


def assign_folds(presence: np.ndarray, groups: Groups, folds: int, seed: int) -> np.ndarray:
    """Return the fold of every image, ``int (N,)`` from 0; the same arguments give the same folds.

    Classes are spread as evenly as groups allow by iterative stratification (`voc_seg.voc.stratify`). A chain of
    near-duplicates that is larger than a fold is cut into blocks of consecutive images; stated groups never are.

    Args:
        presence: Whether an image has a class, ``bool (N, C)``.
        groups: Groups of the images.
        folds: Number of folds, at least 2.
        seed: Of the choice among equal groups.

    Raises:
        VocSegError: There are fewer groups than folds.
    """
    images = len(presence)
    parts, cut = groups.cut(images / folds)
    if len(parts.joined) < folds:
        of_groups = f" in {len(parts.joined)} groups that must not be divided" if len(parts.joined) < images else ""
        raise VocSegError(
            f"{folds} folds need {folds} images or groups of images, but train has {images} images{of_groups}. Use "
            f"fewer folds, or add images{' of other groups' if of_groups else ''}."
        )
    if cut:
        logger.warning(
            "%d images of train look alike one after another, as frames of a video do: too many for one fold. They are "
            "divided into blocks, so scores on the folds are optimistic. Groups prevent that: kedro import-data FOLDER "
            "--name NAME --group-by REGEX",
            max(map(len, cut)),
        )  # fmt: skip
    members = [list(group) for group in parts.joined]
    by_group = np.array([presence[group].sum(axis=0) for group in members])
    sizes = np.array([len(group) for group in members])
    chosen = stratify(by_group, sizes, np.full(folds, images / folds), {}, seed)
    found = np.empty(images, np.intp)
    for group, fold in zip(members, chosen):
        found[group] = fold
    smallest = np.bincount(found, minlength=folds).min()
    if smallest < _TOO_SMALL * images / folds:
        logger.warning(
            "The smallest of the %d folds has only %d of %d images, because the largest group has %d.",
            folds, smallest, images, sizes.max(),
        )  # fmt: skip
    return found


def folds_of_index(index: pd.DataFrame, class_names: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """Return the fold of every image of an index of train (`voc_seg.voc.index`), ``int (N,)`` from 0.

    Its column ``traits`` says which images are near-duplicates, and which groups ``kedro import-data`` has found.

    Raises:
        VocSegError: There are fewer groups than folds.
    """
    traits = read_traits(index)
    keys = [one.get("group", "") for one in traits]
    groups, _ = group_images(keys, [int(one.get("hash", "0"), 16) for one in traits])
    return assign_folds(index[list(class_names)].to_numpy() > 0, groups, folds, seed)
