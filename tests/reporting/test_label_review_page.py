"""Crops and outlines of the page of label errors."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from voc_seg.metrics.label_errors import LabelSums
from voc_seg.metrics.label_regions import Disagreements, Region, ReviewedImage
from voc_seg.reporting.label_review import Issue, ReviewedSplit
from voc_seg.reporting.label_review_page import crop_around, draw_issue, outline_layer
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import VOC_CLASSES, VOID


@pytest.fixture
def region() -> Callable[..., Region]:
    def make(top: int, left: int, height: int, width: int) -> Region:
        inside = np.ones((height, width), bool)
        return Region(slice(top, top + height), slice(left, left + width), inside, 0, 12, 0.9, 1.0)

    return make


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (30, 2000), (8, 8)])
@pytest.mark.parametrize("place", ["corner", "middle"])
def test_a_crop_lies_in_the_image_and_holds_the_region(region: Callable, shape: tuple, place: str) -> None:
    height, width = shape[0] // 8 or 1, shape[1] // 8 or 1
    top, left = (shape[0] - height, shape[1] - width) if place == "corner" else (shape[0] // 3, shape[1] // 3)
    found = region(top, left, height, width)
    rows, columns = crop_around(found, shape)
    assert 0 <= rows.start <= found.rows.start and found.rows.stop <= rows.stop <= shape[0]
    assert 0 <= columns.start <= found.columns.start and found.columns.stop <= columns.stop <= shape[1]


def test_outlines_have_the_colour_of_their_class() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:30], mask[:, 50:] = 12, VOID
    layer = outline_layer(mask, mask == 12, VOC_CLASSES)
    assert layer[10, 20].tolist() == [*VOC_CLASSES.palette()[12].tolist(), 255]
    assert 0 < layer[20, 20, 3] < 255, "tinted"
    assert layer[35, 40, 3] == 0 and layer[20, 55, 3] == 0, "neither background nor void"
    around = layer[8:10, 10:30].reshape(-1, 4)
    assert {tuple(pixel) for pixel in around.tolist()} == {(0, 0, 0, 255), (255, 255, 255, 255)}, "dashes"


def test_an_issue_is_drawn_as_crop_and_two_layers(region: Callable, train_store: SampleStore) -> None:
    sample = train_store[0]
    height, width = sample.mask.shape
    found = region(height // 4, width // 4, height // 4, width // 4)
    marked = np.zeros(sample.mask.shape, bool)
    marked[found.rows, found.columns] = sample.mask[found.rows, found.columns] != VOID
    where = np.flatnonzero(marked)
    zeros = np.zeros(len(where), np.float16)
    differences = Disagreements((height, width), where.astype(np.uint32), sample.mask.reshape(-1)[where],
                              np.full(len(where), 12, np.uint8), zeros, zeros)  # fmt: skip
    sums = LabelSums(np.zeros(21, int), np.zeros(21, int), np.zeros(21))
    split = ReviewedSplit("train", train_store, [ReviewedImage(sample.id, 0.5, sums, differences)])
    files = draw_issue(Issue(split, 0, found), VOC_CLASSES)
    images = {ending: Image.open(io.BytesIO(content)) for ending, content in files.items()}
    assert set(images) == {".jpg", ".given.png", ".suggested.png"}
    assert len({image.size for image in images.values()}) == 1
    assert max(images[".jpg"].size) <= 400
    colours = {tuple(pixel) for pixel in np.array(images[".suggested.png"]).reshape(-1, 4).tolist()}
    assert (*VOC_CLASSES.palette()[12].tolist(), 255) in colours
