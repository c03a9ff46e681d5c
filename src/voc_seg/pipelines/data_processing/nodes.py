"""Nodes of the data_processing pipeline."""

import logging
import math

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import AugmentationConfig, DataConfig, InferenceConfig
from voc_seg.importing.index_traits import index_traits, index_warnings
from voc_seg.reporting.figures import plot_class_distribution
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, windows_name_problem
from voc_seg.voc.channel_statistics import channel_statistics
from voc_seg.voc.class_checks import (
    absence_warnings,
    background_warnings,
    require_foreground,
    unknown_value_hint,
)
from voc_seg.voc.consistency import (
    black_value_warning,
    require_consistent_masks,
    require_more_than_void,
    void_objects_warning,
)
from voc_seg.voc.index import fingerprints, index_images
from voc_seg.voc.sources import source_named
from voc_seg.voc.splits import VOCSplit
from voc_seg.voc.statistics import class_statistics, ids_in_several_splits, rejected_images

logger = logging.getLogger(__name__)

_MAX_REASONS = 5
"""Number of reasons in a log message; rejected_images.csv has all of them."""
_MIN_VISIBLE_FRACTION = 0.05
"""Fraction of an image that a crop should show; with VOC and crops of 224 pixels it is a quarter."""
_CROPS_PER_LONGER_SIDE = 2.25
"""Longer side of an image divided by the crop size, as in VOC with crops of 224 pixels."""
_SCALE_RATIO_TO_WARN = 1.25
"""Ratio of scales in training and inference that gives a warning; random crop scales vary by as much."""
_MAX_LISTED = 20
"""Number of images listed with ``on_invalid: fail``."""


def index_split(split: VOCSplit, data: DataConfig) -> pd.DataFrame:
    """Read and check the new and changed images and masks of a split: one row per image, see `index_images`."""
    official = source_named(split.source).sizes.get(split.name)
    if official and len(split) != official:
        logger.warning(
            "%s: the list has %s, but the official list of %s has %d. Scores cannot be compared with published "
            "ones.",
            split.name, counted(len(split), "image"), split.source, official,
        )  # fmt: skip
    not_portable = [image_id for image_id in split.ids if windows_name_problem(image_id)]
    if not_portable:
        logger.warning(
            "%s: %d image ids, such as %r (%s), cannot be file names on Windows, NTFS or exFAT. Predictions have the "
            "same names: keep them on other file systems, or rename images and masks.",
            split.name, len(not_portable), not_portable[0], windows_name_problem(not_portable[0]),
        )  # fmt: skip
    traits = index_traits(len(split), split.groups)
    return index_images(split, data.reading, split.read_index and split.read_index(), traits)


def describe(
    train_index: pd.DataFrame,
    val_index: pd.DataFrame,
    test_index: pd.DataFrame,
    data: DataConfig,
    augmentation: AugmentationConfig,
    inference: InferenceConfig,
) -> tuple[pd.DataFrame, Figure, pd.DataFrame, pd.DataFrame]:
    """Summarise the data: class statistics, their figure, rejected images, and images in more than one split.

    Raises VocSegError if the masks hold no classes, or values mean different classes in different files.
    """
    indices = {"train": train_index, "val": val_index, "test": test_index}
    for name, index in indices.items():
        _log_split(name, index, data.on_invalid)
    several = ids_in_several_splits(indices)
    if len(several):
        first = several.iloc[0]
        logger.warning(
            "%d images are in more than one split, such as %s in %s. Scores on them say nothing about new images. All "
            "are listed in data/08_reporting/shared_images.csv.",
            len(several), first["image_id"], first["splits"],
        )  # fmt: skip
    require_consistent_masks(indices, data.class_table)
    require_more_than_void(train_index, data.class_table)
    for warning in (
        void_objects_warning(indices, data.class_table),
        black_value_warning(indices, data.class_table),
        _large_images(train_index, augmentation, data.channels)
        or _smaller_in_inference(train_index, data, augmentation, inference),
        *index_warnings(indices, data.class_table.names),
    ):
        if warning:
            logger.warning("%s", warning)
    statistics, rejected = class_statistics(indices, data.class_table.names), rejected_images(indices)
    _warn_of_classes(statistics, rejected, has_values=0 in dict(data.class_table.values).values())
    return statistics, plot_class_distribution(statistics), rejected, several


def pack_split(split: VOCSplit, index: pd.DataFrame, rejected_images: pd.DataFrame, data: DataConfig) -> DecodedSamples:
    """The usable samples of a split, in the order of its list.

    Samples are decoded while the catalog saves them. (If this were a generator function, Kedro would save every sample
    separately.) The list of rejected images has been saved before.

    Raises:
        VocSegError: Images were rejected and ``data.on_invalid`` is fail; train or val has no usable image; train has
            only background; or the index is out of date.
    """
    if data.on_invalid == "fail" and len(rejected_images):
        rows = [f"  {row.split} {row.image_id}: {row.reason}" for row in rejected_images.itertuples()]
        more = [f"  and {len(rows) - _MAX_LISTED} more"] if len(rows) > _MAX_LISTED else []
        raise VocSegError(
            f"{len(rows)} images cannot be used, and data.on_invalid is fail:\n"
            + "\n".join([*rows[:_MAX_LISTED], *more])
            + "\nAll are listed in data/08_reporting/rejected_images.csv. Fix the files, or exclude these images with "
            "--params data.on_invalid=quarantine"
        )
    prints = fingerprints(split, data.reading)
    if list(zip(index["image_id"], index["fingerprint"])) != list(prints.items()):
        raise VocSegError(
            f"{split.name}_index is out of date: images, masks, the {split.name} list or settings of data (classes, "
            "values, exif, longer_side, channels, range) have changed since it was written. Update it with: "
            "kedro run --pipelines data_processing"
        )
    usable = index[index["rejected"] == ""]
    # Training works without a usable test image.
    if len(index) and usable.empty and split.name != "test":
        raise VocSegError(
            f"None of the {len(index)} {split.name} images is usable:\n{_reasons(index)}\n"
            "Fix the files, or point voc_root at other data: --params voc_root=PATH"
        )
    if split.name == "train":
        require_foreground(class_statistics({"train": index}, data.class_table.names))
    sizes = ((data.channels + 1) * usable["height"] * usable["width"]).tolist()  # bytes of the image and its mask
    return DecodedSamples(
        split,
        tuple(usable["image_id"]),
        data.reading,
        prints=tuple(usable["fingerprint"]),
        sizes=tuple(sizes),
        statistics=channel_statistics(usable["channel_sums"]) if split.name == "train" else ((), ()),
        shard_images=data.shard_images,
    )


def _log_split(name: str, index: pd.DataFrame, on_invalid: str) -> None:
    rejected = index[index["rejected"] != ""]
    if index.empty:
        logger.info("%s: no images (its list is missing or empty, or its masks are not public)", name)
    elif rejected.empty:
        logger.info("%s: %s, all usable", name, counted(len(index), "image"))
    elif on_invalid == "fail":
        logger.warning("%s: %d of %d images cannot be used", name, len(rejected), len(index))
    else:
        logger.warning(
            "%s: %d of %d images are rejected; all are listed in data/08_reporting/rejected_images.csv.\n%s",
            name, len(rejected), len(index), _reasons(rejected),
        )  # fmt: skip
        if 2 * len(rejected) > len(index):
            logger.warning(
                "%s: most images are rejected. Check that voc_root is the right folder and data.classes are correct.",
                name,
            )
    converted = index.loc[index["note"] != "", "note"]
    for note, images in converted.groupby(converted):
        logger.warning("%s: %s (images: %d, column note of %s_index.parquet)", name, note, len(images), name)


def _large_images(index: pd.DataFrame, augmentation: AugmentationConfig, channels: int) -> str:
    """Advice for images whose crops show only a small part of them; empty if they show enough."""
    usable = index[index["rejected"] == ""]
    if usable.empty or augmentation.image_size:
        return ""
    height, width = usable["height"].median(), usable["width"].median()
    window = augmentation.crop_size / math.sqrt(math.prod(augmentation.scale))  # in pixels of the image
    shown = min(1.0, window / height) * min(1.0, window / width)
    if shown >= _MIN_VISIBLE_FRACTION:
        return ""
    packed = (channels + 1) * height * width
    longer_side = 32 * round(_CROPS_PER_LONGER_SIDE * window / 32)
    return (
        f"The images are large: {width:.0f}x{height:.0f} (width x height, median), {packed / 1e6:.0f} MB "
        f"each when packed. A crop of {augmentation.crop_size} pixels shows {100 * shown:.2g} % of one, and validation "
        f"is slow. To reduce them when packing, and in inference: --params data.longer_side={longer_side},"
        f"inference.longer_side={longer_side} (scores are then at that size). If objects are small, use a larger "
        "augmentation.crop_size instead."
    )


def _smaller_in_inference(
    index: pd.DataFrame, data: DataConfig, augmentation: AugmentationConfig, inference: InferenceConfig
) -> str:
    """Advice if objects would be much smaller in inference than in training; otherwise empty."""
    usable = index[index["rejected"] == ""]
    if usable.empty or augmentation.image_size or data.longer_side or not inference.longer_side:
        return ""  # with data.longer_side, inference compares the scales itself
    longer_side = usable[["height", "width"]].max(axis=1).median()
    if longer_side <= _SCALE_RATIO_TO_WARN * inference.longer_side:
        return ""
    return (
        f"Training and evaluation use images at their own size, a longer side of {longer_side:.0f} pixels (median), "
        f"but inference reduces larger images to {inference.longer_side}, where objects are smaller. Set "
        f"inference.longer_side={longer_side:.0f} for a model trained on these images."
    )


def _warn_of_classes(statistics: pd.DataFrame, rejected: pd.DataFrame, has_values: bool) -> None:
    hint = unknown_value_hint(rejected, statistics["class_name"].tolist())
    background = background_warnings(statistics, has_values=has_values)
    for warning in [*absence_warnings(statistics), *background, *([hint] if hint else [])]:
        logger.warning("%s", warning)


def _reasons(rejected: pd.DataFrame) -> str:
    """One line for each of the most frequent reasons: number of images and an example."""
    kinds = rejected.groupby(rejected["rejected"].str.partition(":")[0], sort=False)
    lines = []
    for kind, rows in sorted(kinds, key=lambda kind: -len(kind[1])):
        first = rows.iloc[0]
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        lines.append(f"  {len(rows)} {kind}: {first['image_id']} ({first['rejected'].partition(': ')[2]}){more}")
    others = [f"  and {len(lines) - _MAX_REASONS} other kinds"] if len(lines) > _MAX_REASONS else []
    return "\n".join([*lines[:_MAX_REASONS], *others])
