"""A short data check on the index of a split: copies, misplaced masks and rare classes, from one text per image.

data_processing reads every image anyway, which takes 5 ms for one of VOC. The text takes 0.2 ms. Scores of the edges
take 1.4 ms more, so they are computed for about `_LOOKED_AT` images of a split only.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from voc_seg.system.names import listed
from voc_seg.voc.duplicates import near_duplicates, perceptual_hash
from voc_seg.voc.groups import read_traits

from .alignment import Alignment, align, misplaced_masks

_LOOKED_AT = 30
_HINT = "For all findings, with the images: kedro import-data FOLDER --check"


def index_traits(images: int, groups: Mapping[str, str] | None = None) -> Callable[[str, np.ndarray, np.ndarray], str]:
    """Return the function that describes an image of a split of so many: its id, image and mask become JSON.

    ``groups`` has the groups of images by their ids.
    """
    return partial(_describe, max(1, images // _LOOKED_AT), groups or {})


def _describe(every: int, groups: Mapping[str, str], image_id: str, image: np.ndarray, mask: np.ndarray) -> str:
    found: dict[str, object] = {"hash": f"{perceptual_hash(image):x}"}
    sample = np.ascontiguousarray(mask[::4, ::4])  # enough to tell masks apart, and quick
    if sample.min() != sample.max():
        found["mask"] = f"{zlib.crc32(sample.tobytes()):x} {mask.shape[0]} {mask.shape[1]}"
    if zlib.crc32(image_id.encode(errors="replace")) % every == 0 and (scores := align(image, mask).scores):
        found["edges"] = {name: round(score, 3) for name, score in scores.items()}
    if image_id in groups:
        found["group"] = groups[image_id]
    return json.dumps(found)


def index_warnings(indices: Mapping[str, pd.DataFrame], class_names: Sequence[str]) -> list[str]:
    """Return warnings about a class in one image only, copies in several splits, one mask for all images, and masks
    that are mirrored or turned; for indices with the column ``traits``."""
    tables = [index[index["rejected"] == ""] for index in indices.values() if len(index)]
    if not tables:
        return []
    usable = pd.concat(tables, ignore_index=True).drop_duplicates("image_id")
    traits = read_traits(usable)
    checks = (_single_classes(usable, class_names), _copies(usable, traits), _one_mask(traits), _misplaced(traits))
    return [warning for warning in checks if warning]


def _single_classes(usable: pd.DataFrame, class_names: Sequence[str]) -> str:
    images = (usable[list(class_names)] > 0).sum()
    single = images[images == 1].index.tolist()
    if not single or len(usable) < 2:
        return ""
    return (
        f"{listed(single, 8)}: in one image only, so it can be learnt or scored, but not both. Label more images of it."
    )


def _copies(usable: pd.DataFrame, traits: Sequence[Mapping[str, str]]) -> str:
    ids, splits = usable["image_id"].tolist(), usable["split"].tolist()
    groups = near_duplicates([int(one.get("hash", "0"), 16) for one in traits])
    across = [group for group in groups if len({splits[position] for position in group}) > 1]
    if not across:
        return ""
    group = across[0]
    other = next(position for position in group if splits[position] != splits[group[0]])
    return (
        f"{sum(map(len, across))} images look the same as others in another split, such as {ids[group[0]]} in "
        f"{splits[group[0]]} and {ids[other]} in {splits[other]}. Scores on them say little about new images: put "
        f"copies and frames of one video into one split. {_HINT}"
    )


def _one_mask(traits: Sequence[Mapping[str, str]]) -> str:
    masks = {one.get("mask") for one in traits}
    if len(traits) < 3 or len(masks) > 1 or None in masks or len({one["hash"] for one in traits}) == 1:
        return ""
    return f"All {len(traits)} images have the same mask. Export the masks again if the images differ. {_HINT}"


def _misplaced(traits: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    found = misplaced_masks([Alignment(one["edges"]) for one in traits if "edges" in one])
    if found is None:
        return ""
    return (
        f"The masks look {found.how}: their borders then lie on edges of the images (score {found.better:.2f}, as they "
        f"are {found.score:.2f}; 0.5 is chance). Compare images and masks before you train. {_HINT}"
    )
