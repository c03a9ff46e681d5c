"""Masks as polygons of labelme and run lengths of COCO: drawn again, they are the same."""

from pathlib import PurePath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_masks

from voc_seg.importing.formats.annotations import (
    coco_annotations,
    coco_categories,
    exported_classes,
    labelme_document,
    labelme_labels,
    run_lengths,
)
from voc_seg.importing.formats.labelme_shapes import draw_labelme
from voc_seg.importing.formats.outlines import find_outlines

CLASSES = {1: "cat", 2: "dog", 3: "grass"}


def drawn(mask: np.ndarray, classes: dict[int, str] = CLASSES) -> np.ndarray:
    """What labelme draws of the exported polygons."""
    document = labelme_document(mask, classes, PurePath("a.jpg"))
    values = {name: value for value, name in classes.items()} | {"_background_": 0}
    return draw_labelme(document["shapes"], [values[one["label"]] for one in document["shapes"]], mask.shape)


def known(mask: np.ndarray, classes: dict[int, str] = CLASSES) -> np.ndarray:
    return np.where(np.isin(mask, list(classes)), mask, 0).astype(np.uint8)


def decoded(mask: np.ndarray, classes: dict[int, str] = CLASSES) -> np.ndarray:
    """What pycocotools reads from the exported run lengths."""
    result = np.zeros_like(mask)
    for one in coco_annotations(mask, classes):
        packed = coco_masks.frPyObjects(one["segmentation"], *mask.shape)
        region = coco_masks.decode(packed).astype(bool)
        assert not result[region].any()
        assert int(coco_masks.area(packed)) == one["area"] == region.sum()
        assert coco_masks.toBbox(packed).tolist() == one["bbox"]
        result[region] = one["category_id"] - 1
    return result


def assert_alike(mask: np.ndarray) -> None:
    """Exact between classes; between a class and none, the outline moves by a pixel and is rounded."""
    found, wanted = drawn(mask), known(mask)
    wrong = found != wanted
    assert not (wrong & (found > 0) & (wanted > 0)).any()
    # Every wrong pixel has its own value within two pixels.
    padded = np.pad(wanted, 2, constant_values=0)
    height, width = mask.shape
    near = np.stack([padded[y : y + height, x : x + width] for y in range(5) for x in range(5)])
    assert (near == found).any(0)[wrong].all()


@pytest.mark.parametrize(
    "rows",
    [
        ["....", ".1..", "...."],
        ["1"],
        ["11"],
        ["1", "1", "1"],
        ["111", "1.1", "111"],
        ["1.1", ".1.", "1.1"],
        ["1111", "1221", "1221", "1111"],
        ["11111", "1...1", "1.2.1", "1...1", "11111"],
        ["22222", "21112", "21.12", "21112", "22222"],
        ["11111", "12221", "12.21", "12221", "11111"],
        ["11111", "1...1", "1.1.1", "1...1", "11111"],
        ["vvvv", "v11v", "vvvv"],
        ["111111", "1vv221", "1vv221", "111111"],
        [".1111", "1...1", "1.1.1", "1...1", "1111."],
        ["12", "21"],
        ["1221", "2112"],
        ["......", ".1....", ".11...", "..11..", "...11.", "......"],
    ],
)
def test_small_masks_are_exact(rows: list[str]) -> None:
    values = {".": 0, "v": 255}
    mask = np.array([[values.get(one) if one in values else int(one) for one in row] for row in rows], np.uint8)
    assert drawn(mask).tolist() == known(mask).tolist()
    assert decoded(mask).tolist() == known(mask).tolist()


masks = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([0, 1, 2, 3, 255]))


@settings(max_examples=150, deadline=None)
@given(masks, st.integers(1, 4))
def test_any_mask(mask: np.ndarray, factor: int) -> None:
    mask = np.kron(mask, np.ones((factor, factor), np.uint8))
    assert_alike(mask)
    assert np.array_equal(decoded(mask), known(mask))


def curved(seed: int) -> np.ndarray:
    """Ellipses over each other, 200 x 300."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (300, 200))
    draw = ImageDraw.Draw(image)
    for number in range(14):
        x, y = rng.integers(-20, 280), rng.integers(-20, 180)
        draw.ellipse((x, y, x + rng.integers(5, 120), y + rng.integers(5, 90)), fill=(0, 1, 2, 3, 255)[number % 5])
    return np.array(image)


@pytest.mark.parametrize("seed", range(12))
def test_smooth_regions_have_few_corners(seed: int) -> None:
    mask = curved(seed)
    assert_alike(mask)
    assert (drawn(mask) != known(mask)).mean() < 0.01
    alone = np.where(mask == 1, 1, 0).astype(np.uint8)
    corners = sum(len(one.points) for one in find_outlines(alone, {1}))
    border = np.count_nonzero(alone[:, 1:] != alone[:, :-1]) + np.count_nonzero(alone[1:] != alone[:-1])
    assert corners < 20 + border / 8


def test_between_classes_the_outline_is_exact() -> None:
    rows, columns = np.mgrid[:120, :160]
    mask = np.where((rows - 60) ** 2 + (columns - 80) ** 2 < 45**2, 2, 1).astype(np.uint8)
    assert np.array_equal(drawn(mask), mask)


def test_every_polygon_has_three_points_within_the_image() -> None:
    mask = curved(3)
    for one in find_outlines(mask, CLASSES):
        assert len(one.points) >= 3
        assert (one.points > 0).all() and (one.points < [300, 200]).all()


def test_a_document_of_labelme() -> None:
    mask = np.zeros((6, 9), np.uint8)
    mask[1:5, 2:7] = 2
    mask[2:4, 4:6] = 255
    document = labelme_document(mask, CLASSES, PurePath("..", "photos", "ä b.jpg"))
    outer, hole = document.pop("shapes")
    assert document == {
        "version": "5.5.0", "flags": {}, "imagePath": "../photos/ä b.jpg", "imageData": None,
        "imageHeight": 6, "imageWidth": 9,
    }  # fmt: skip
    assert (outer["label"], outer["shape_type"], hole["label"]) == ("dog", "polygon", "_background_")
    assert sorted(map(tuple, outer["points"])) == [(2.5, 1.5), (2.5, 4.5), (6.5, 1.5), (6.5, 4.5)]
    assert labelme_labels(CLASSES).splitlines() == ["__ignore__", "_background_", "cat", "dog", "grass"]


def test_background_is_what_is_not_drawn() -> None:
    assert exported_classes(("background", "cat")) == {1: "cat"}
    assert exported_classes(("_background_", "cat")) == {1: "cat"}
    assert exported_classes(("road", "car")) == {0: "road", 1: "car"}
    assert coco_categories({0: "road", 1: "car"}) == [
        {"id": 1, "name": "road", "supercategory": ""}, {"id": 2, "name": "car", "supercategory": ""},
    ]  # fmt: skip
    mask = np.array([[0, 0, 1], [0, 255, 1], [0, 0, 1]], np.uint8)
    classes = {0: "road", 1: "car"}
    document = labelme_document(mask, classes, PurePath("a.jpg"))
    assert sorted(one["label"] for one in document["shapes"]) == ["car", "road"]
    assert [one["category_id"] for one in coco_annotations(mask, classes)] == [1, 2]


def test_run_lengths_by_hand() -> None:
    # Column by column: .1 11 .. in an image of two rows and three columns.
    region = np.array([[False, True], [True, True]])
    assert run_lengths(region, slice(0, 2), slice(0, 2), (2, 3)) == [1, 3, 2]
    assert run_lengths(np.ones((2, 3), bool), slice(0, 2), slice(0, 3), (2, 3)) == [0, 6]
    assert run_lengths(np.ones((1, 1), bool), slice(1, 2), slice(2, 3), (2, 3)) == [5, 1]
