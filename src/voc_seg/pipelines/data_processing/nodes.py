"""Nodes of data_processing."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.errors import VocSegError
from voc_seg.reporting.figures import plot_class_distribution
from voc_seg.samples.store import Sample
from voc_seg.voc.index import decode_image, decode_mask, index_images
from voc_seg.voc.splits import VOCSplit
from voc_seg.voc.statistics import class_statistics, ids_in_several_splits, rejected_images

logger = logging.getLogger(__name__)

_NAMED = 5
"""Images that a log line names; the files of the catalog have them all."""


def index_split(split: VOCSplit) -> pd.DataFrame:
    """Look into every image and mask of a split: one row an image, see `index_images`."""
    if len(split):
        logger.info("%s: reading %d images of %s", split.name, len(split), split.images)
    return index_images(split)


@dataclass(frozen=True)
class UsableSamples:
    """Samples of a split, decoded one at a time while they are iterated over, so that memory stays flat."""

    split: VOCSplit
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        for image_id in self.ids:
            image = decode_image(self.split.image_path(image_id))
            mask = decode_mask(self.split.mask_path(image_id))
            yield Sample(image_id, image, mask)


def pack_split(split: VOCSplit, index: pd.DataFrame) -> Iterable[Sample]:
    """The usable samples of a split in the order of its list.

    What comes back can be iterated over again and again. (Were this a generator function, Kedro would save
    every sample by itself.)

    Raises:
        VocSegError: No image is usable, or the index is that of other data.
    """
    if tuple(index["image_id"]) != split.ids:
        raise VocSegError(
            f"{split.name}_index ({len(index)} images) does not belong to {split.name}_split "
            f"({len(split)} images). "
            "Make it anew with: kedro run --pipelines data_processing"
        )
    _require_usable(split.name, index)
    return UsableSamples(split, tuple(index.loc[index["rejected"] == "", "image_id"]))


def describe(
    train_index: pd.DataFrame, val_index: pd.DataFrame, test_index: pd.DataFrame
) -> tuple[pd.DataFrame, Figure, pd.DataFrame]:
    """Sum up the data.

    Returns:
        Class statistics, their figure, and the rejected images.

    Raises:
        VocSegError: A split has images but none is usable.
    """
    indices = {"train": train_index, "val": val_index, "test": test_index}
    for name, index in indices.items():
        _require_usable(name, index)
        _log_split(name, index)
    several = ids_in_several_splits(indices)
    if len(several):
        logger.warning(
            "%d images stand in more than one split (%s): scores on them say nothing about new images.",
            len(several),
            _some([f"{row.image_id} in {row.splits}" for row in several.itertuples()]),
        )
    statistics = class_statistics(indices)
    return statistics, plot_class_distribution(statistics), rejected_images(indices)


def _require_usable(name: str, index: pd.DataFrame) -> None:
    if len(index) and (index["rejected"] != "").all():
        raise VocSegError(
            f"None of the {len(index)} {name} images is usable: {_reasons(index)}. "
            "Mend the files, or point voc_root at other data: --params voc_root=PATH"
        )


def _log_split(name: str, index: pd.DataFrame) -> None:
    rejected = index[index["rejected"] != ""]
    if index.empty:
        logger.info("%s: no images, as its masks are not public or not there", name)
    elif rejected.empty:
        logger.info("%s: %d images, all usable", name, len(index))
    else:
        logger.warning(
            "%s: %d of %d images are left out: %s. The dataset rejected_images lists them all.",
            name,
            len(rejected),
            len(index),
            _reasons(rejected),
        )


def _reasons(rejected: pd.DataFrame) -> str:
    return _some([f"{row.image_id} ({row.rejected})" for row in rejected.itertuples()])


def _some(items: list[str]) -> str:
    more = [f"and {len(items) - _NAMED} more"] if len(items) > _NAMED else []
    return ", ".join([*items[:_NAMED], *more])
