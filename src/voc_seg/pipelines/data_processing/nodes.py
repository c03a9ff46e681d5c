"""Nodes of data_processing."""

import logging
import math

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import AugmentationConfig, DataConfig, InferenceConfig
from voc_seg.reporting.figures import plot_class_distribution
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import windows_name_problem
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

_NAMED = 5
"""Kinds of trouble that a log line names; rejected_images.csv has them all."""
_LEAST_SHOWN = 0.05
"""Share of an image that a crop should show: of VOC's images a crop of 224 pixels shows a quarter."""
_WINDOWS = 2.25
"""Longer side of an image in crops, as it is in VOC with crops of 224 pixels."""
_NOTICED = 1.25
"""Ratio of scales between training and inference worth a warning: random scales of the crops differ by as much."""
_LISTED = 20
"""Images that the list of ``on_invalid: fail`` names."""


def index_split(split: VOCSplit, previous_index: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """Look into every image and mask of a split that is new or has changed: one row an image, see `index_images`."""
    official = source_named(split.source).sizes.get(split.name)
    if official and len(split) != official:
        logger.warning(
            "%s: the list has %d images, the official one of %s has %d: scores do not compare with published ones.",
            split.name, len(split), split.source, official,
        )  # fmt: skip
    foreign = [image_id for image_id in split.ids if windows_name_problem(image_id)]
    if foreign:
        logger.warning(
            "%s: %d image ids, such as %r (%s), cannot be file names on Windows, NTFS or exFAT. Predictions are saved "
            "under the same names: keep them on other file systems, or rename images and masks.",
            split.name, len(foreign), foreign[0], windows_name_problem(foreign[0]),
        )  # fmt: skip
    return index_images(split, data.reading, previous_index)


def describe(
    train_index: pd.DataFrame,
    val_index: pd.DataFrame,
    test_index: pd.DataFrame,
    data: DataConfig,
    augmentation: AugmentationConfig,
    inference: InferenceConfig,
) -> tuple[pd.DataFrame, Figure, pd.DataFrame, pd.DataFrame]:
    """Sum up the data: class statistics, their figure, rejected images, and those in more than one split.

    Raises:
        VocSegError: The masks as a whole mean no classes, or different ones from file to file.
    """
    indices = {"train": train_index, "val": val_index, "test": test_index}
    for name, index in indices.items():
        _log_split(name, index, data.on_invalid)
    several = ids_in_several_splits(indices)
    if len(several):
        first = several.iloc[0]
        logger.warning(
            "%d images stand in more than one split, such as %s in %s: scores on them say nothing about new images. "
            "data/08_reporting/shared_images.csv lists them all.",
            len(several), first["image_id"], first["splits"],
        )  # fmt: skip
    require_consistent_masks(indices, data.class_table)
    require_more_than_void(train_index, data.class_table)
    for warning in (
        void_objects_warning(indices, data.class_table),
        black_value_warning(indices, data.class_table),
        _large_images(train_index, augmentation) or _smaller_in_inference(train_index, data, augmentation, inference),
    ):
        if warning:
            logger.warning("%s", warning)
    statistics, rejected = class_statistics(indices, data.class_table.names), rejected_images(indices)
    _warn_of_classes(statistics, rejected)
    return statistics, plot_class_distribution(statistics), rejected, several


def pack_split(split: VOCSplit, index: pd.DataFrame, rejected_images: pd.DataFrame, data: DataConfig) -> DecodedSamples:
    """The usable samples of a split in the order of its list.

    What comes back is decoded while the catalog writes it. (Were this a generator function, Kedro would save every
    sample by itself.) The list of rejected images has been saved by then.

    Raises:
        VocSegError: Images were rejected and ``data.on_invalid`` is fail, or no image to train or validate on is
            usable, or no class but the background occurs in train, or the index is that of other files.
    """
    if data.on_invalid == "fail" and len(rejected_images):
        rows = [f"  {row.split} {row.image_id}: {row.reason}" for row in rejected_images.itertuples()]
        more = [f"  and {len(rows) - _LISTED} more"] if len(rows) > _LISTED else []
        raise VocSegError(
            f"{len(rows)} images cannot be used, and data.on_invalid is fail:\n"
            + "\n".join([*rows[:_LISTED], *more])
            + "\nAll of them stand in data/08_reporting/rejected_images.csv. Fix the files, or leave these images "
            "out with --params data.on_invalid=quarantine"
        )
    prints = fingerprints(split, data.reading)
    if list(zip(index["image_id"], index["fingerprint"])) != list(prints.items()):
        raise VocSegError(
            f"{split.name}_index is out of date: images, masks, the {split.name} list or settings of data (classes, "
            "values, exif, longer_side) have changed since it was made. Update it with: "
            "kedro run --pipelines data_processing"
        )
    usable = index[index["rejected"] == ""]
    # Without a usable test image one can still train.
    if len(index) and usable.empty and split.name != "test":
        raise VocSegError(
            f"None of the {len(index)} {split.name} images is usable:\n{_reasons(index)}\n"
            "Fix the files, or point voc_root at other data: --params voc_root=PATH"
        )
    if split.name == "train":
        require_foreground(class_statistics({"train": index}, data.class_table.names))
    sizes = (4 * usable["height"] * usable["width"]).tolist()  # three bytes of the image, one of the mask
    return DecodedSamples(
        split,
        tuple(usable["image_id"]),
        data.reading,
        prints=tuple(usable["fingerprint"]),
        sizes=tuple(sizes),
        shard_images=data.shard_images,
    )


def _log_split(name: str, index: pd.DataFrame, on_invalid: str) -> None:
    rejected = index[index["rejected"] != ""]
    if index.empty:
        logger.info("%s: no images (its list is missing or empty, or its masks are not public)", name)
    elif rejected.empty:
        logger.info("%s: %d images, all usable", name, len(index))
    elif on_invalid == "fail":
        logger.warning("%s: %d of %d images cannot be used", name, len(rejected), len(index))
    else:
        logger.warning(
            "%s: %d of %d images are left out; data/08_reporting/rejected_images.csv lists them all.\n%s",
            name, len(rejected), len(index), _reasons(rejected),
        )  # fmt: skip
        if 2 * len(rejected) > len(index):
            logger.warning("%s: that is most of them. Is voc_root the right folder, and are data.classes right?", name)
    converted = index.loc[index["note"] != "", "note"]
    for note, images in converted.groupby(converted):
        logger.warning("%s: %s (images: %d, column note of %s_index.parquet)", name, note, len(images), name)


def _large_images(index: pd.DataFrame, augmentation: AugmentationConfig) -> str:
    """What to do about photographs of which a crop shows next to nothing; empty where it shows enough."""
    usable = index[index["rejected"] == ""]
    if usable.empty or augmentation.image_size:
        return ""
    height, width = usable["height"].median(), usable["width"].median()
    window = augmentation.crop_size / math.sqrt(math.prod(augmentation.scale))  # in pixels of the image
    shown = min(1.0, window / height) * min(1.0, window / width)
    if shown >= _LEAST_SHOWN:
        return ""
    longer_side = 32 * round(_WINDOWS * window / 32)
    return (
        f"The images are large: {width:.0f}x{height:.0f} (width x height, median), {4 * height * width / 1e6:.0f} MB "
        f"each when packed. A crop of {augmentation.crop_size} pixels shows {100 * shown:.2g} % of one, and validation "
        f"takes long. To pack them reduced, with inference to match: --params data.longer_side={longer_side},"
        f"inference.longer_side={longer_side} (scores are then at that size). If objects are small, take a larger "
        "augmentation.crop_size instead."
    )


def _smaller_in_inference(
    index: pd.DataFrame, data: DataConfig, augmentation: AugmentationConfig, inference: InferenceConfig
) -> str:
    """What to do where inference would show the network objects clearly smaller than training does; mostly empty."""
    usable = index[index["rejected"] == ""]
    if usable.empty or augmentation.image_size or data.longer_side or not inference.longer_side:
        return ""  # what is packed reduced is compared when it is inferred
    longer_side = usable[["height", "width"]].max(axis=1).median()
    if longer_side <= _NOTICED * inference.longer_side:
        return ""
    return (
        f"Images are trained on and scored at their own size, a longer side of {longer_side:.0f} pixels (median), but "
        f"inference reduces larger pictures to {inference.longer_side}, at which objects look smaller. Set "
        f"inference.longer_side={longer_side:.0f} for a model of these images."
    )


def _warn_of_classes(statistics: pd.DataFrame, rejected: pd.DataFrame) -> None:
    hint = unknown_value_hint(rejected, statistics["class_name"].tolist())
    for warning in [*absence_warnings(statistics), *background_warnings(statistics), *([hint] if hint else [])]:
        logger.warning("%s", warning)


def _reasons(rejected: pd.DataFrame) -> str:
    """A line for each of the commonest kinds of reason: how many images, and one of them."""
    kinds = rejected.groupby(rejected["rejected"].str.partition(":")[0], sort=False)
    lines = []
    for kind, rows in sorted(kinds, key=lambda kind: -len(kind[1])):
        first = rows.iloc[0]
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        lines.append(f"  {len(rows)} {kind}: {first['image_id']} ({first['rejected'].partition(': ')[2]}){more}")
    others = [f"  and {len(lines) - _NAMED} other kinds"] if len(lines) > _NAMED else []
    return "\n".join([*lines[:_NAMED], *others])
