"""Doubtful class lists are reported; good ones pass without a message."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.voc.class_checks import (
    absence_warnings,
    absent_classes,
    background_warnings,
    require_foreground,
    unknown_value_hint,
)
from voc_seg.voc.classes import CLASS_NAMES, Classes, name_classes
from voc_seg.voc.index import index_images
from voc_seg.voc.pairs import Reading
from voc_seg.voc.splits import VOCSplit
from voc_seg.voc.statistics import class_statistics, rejected_images


def statistics(train: list[int], val: list[int], names: tuple[str, ...] = ("background", "cat", "dog")) -> pd.DataFrame:
    """Statistics of one image per split with these pixels by class; None is a split without an image."""
    indices = {}
    for split, pixels in (("train", train), ("val", val)):
        indices[split] = pd.DataFrame([pixels] if pixels else [], columns=list(names), dtype="int64").assign(
            rejected=""
        )
    return class_statistics(indices, names)


def every_warning(table: pd.DataFrame) -> list[str]:
    return absence_warnings(table) + background_warnings(table)


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ([60, 20, 20], ("background", "cat", "dog")),
        ([1, 20, 20], ("unlabelled", "road", "sky")),
        ([90, 5, 5], ("_background_", "cat", "dog")),
    ],
)
def test_good_data_passes_in_silence(train, names):
    table = statistics(train, [60, 1, 1], names)
    assert every_warning(table) == []
    require_foreground(table)


def test_classes_without_a_pixel_are_named_for_each_split():
    train, val = absence_warnings(statistics([60, 20, 0], [60, 0, 3]))
    assert train.startswith("train: 1 of 3 classes have no pixel in any usable image: dog.")
    assert "cannot be learnt" in train
    assert val.startswith("val: 1 of 3 classes have no pixel in any usable image: cat.")
    assert "mean over the others" in val


def test_many_of_them_take_one_line():
    (warning,) = absence_warnings(statistics([9, 9] + [0] * 19, [1] * 21, CLASS_NAMES))
    assert "19 of 21 classes" in warning
    assert "bicycle, bird, boat, bottle, bus and 14 more" in warning
    assert "\n" not in warning


def test_a_split_without_images_lacks_no_class():
    table = statistics([60, 20, 20], [])
    assert absent_classes(table, "val") == []
    assert every_warning(table) == []
    require_foreground(table, "val")


def test_validation_on_background_alone_says_nothing():
    (warning,) = absence_warnings(statistics([60, 20, 20], [60, 0, 0]))
    assert "Every pixel is 'background': a score on it says nothing" in warning


def test_training_on_background_alone_is_refused():
    with pytest.raises(
        VocSegError, match=r"every declared class but background is absent.*nothing to learn.*data\.classes"
    ):
        require_foreground(statistics([60, 0, 0], [60, 1, 1]))


def test_a_first_class_that_is_no_background_is_shown():
    (warning,) = background_warnings(statistics([83, 17], [1, 1], ("cat", "dog")))
    assert "mask value 0 is 'cat' and covers 83 % of the labelled pixels of train" in warning
    assert "needs background as its first class" in warning


def test_a_first_class_whose_stored_values_are_declared_need_not_be_background():
    assert background_warnings(statistics([83, 17], [1, 1], ("road", "sidewalk")), has_values=True) == []
    (warning,) = background_warnings(statistics([2, 49, 49], [1, 1, 1]), has_values=True)
    assert "the first class is 'background' and covers 2 %" in warning


def test_a_background_that_covers_little_is_shown():
    (warning,) = background_warnings(statistics([2, 49, 49], [1, 1, 1]))
    assert "'background' and covers 2 %" in warning


@pytest.mark.parametrize(
    ("names", "values", "hint"),
    [
        (("cat", "dog"), (1, 2), "Background is probably missing from data.classes: it comes first, before 'cat'"),
        (("background", "cat"), (1, 2), "A class is probably missing from data.classes"),
        (("cat", "dog"), (2, 3), ""),
        (("cat", "dog"), (7,), ""),
        (("cat", "dog"), (1,), ""),
    ],
)
def test_one_value_too_many_has_a_likely_cause(tmp_path: Path, names, values, hint):
    """Through the index, because the hint depends on its wording."""
    split = VOCSplit("train", "own", tuple(f"has {value}" for value in values), tmp_path / "images", tmp_path / "masks")
    split.images.mkdir()
    split.masks.mkdir()
    for image_id, value in zip(split.ids, values):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(split.image_path(image_id))
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(split.mask_path(image_id))
    rejected = rejected_images({"train": index_images(split, Reading(name_classes(names)))})
    found = unknown_value_hint(rejected, names)
    assert hint in found
    assert bool(found) is bool(hint)


def test_masks_that_number_classes_from_one_get_the_shifted_values(tmp_path: Path) -> None:
    split = VOCSplit("train", "own", ("a", "b"), tmp_path / "images", tmp_path / "masks")
    split.images.mkdir()
    split.masks.mkdir()
    names = ("background", "cat", "dog")
    for image_id in split.ids:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(split.image_path(image_id))
        Image.fromarray(np.repeat(np.uint8([[1, 2, 3, 255]]), 4, axis=0)).save(split.mask_path(image_id))
    rejected = rejected_images({"train": index_images(split, Reading(name_classes(names)))})
    shifted = "data.values={1: background, 2: cat, 3: dog}"
    for reason in rejected["reason"]:
        assert f"as 0 does not occur, set {shifted}; otherwise data.values says what others mean" in reason
    hint = unknown_value_hint(rejected, names)
    assert "2 masks hold the value 3 and no 0: the masks probably number the classes from 1" in hint
    assert f"Set {shifted} and run" in hint
    values = tuple((stored, stored - 1) for stored in (1, 2, 3))
    index = index_images(split, Reading(Classes(names, name_classes(names).colours, coded=False, values=values)))
    assert (index["rejected"] == "").all()
    assert index[[*names, "void"]].to_numpy().tolist() == [[4, 4, 4, 4]] * 2
