"""Tables and messages of a label review."""

from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest

from voc_seg.metrics.label_errors import LabelSums
from voc_seg.metrics.label_regions import Disagreements, Region, ReviewedImage
from voc_seg.reporting.label_review import Issue, Review, ReviewedSplit, issue_table, quality_table, summary
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import VOC_CLASSES

NOTHING = Disagreements((60, 80), *(np.zeros(0, kind) for kind in "LBBee"))


def image(name: str, quality: float, hits: int = 90) -> ReviewedImage:
    sums = LabelSums(np.full(21, 100), np.array([hits] + [90] * 20), np.full(21, 80.0))
    return ReviewedImage(name, quality, sums, NOTHING)


def region(pixels: int, given: int = 0, suggested: int = 12) -> Region:
    return Region(slice(10, 11), slice(5, 5 + pixels), np.ones((1, pixels), bool), given, suggested, 0.9, pixels * 0.9)


@pytest.fixture
def review(train_store: SampleStore) -> Review:
    store = SampleStore(train_store.path, lambda: pd.DataFrame({"image_id": ["b"], "mask_file": ["masks/b.png"]}))
    split = ReviewedSplit("train", store, [image("a", 0.9), image("b", 0.2), image("c", 0.5)])
    issues = (Issue(split, 1, region(42)), Issue(split, 2, region(21)), Issue(split, 1, region(21, 8, 12)))
    return Review((split,), reduce(add, (one.sums for one in split.images)), issues, VOC_CLASSES, True)


def test_a_row_says_where_and_what(review: Review) -> None:
    table = issue_table(review)
    assert table["rank"].tolist() == [1, 2, 3]
    assert table.iloc[0].to_dict() == {
        "rank": 1, "image_id": "b", "split": "train", "mask_file": "masks/b.png", "left": 5, "top": 10, "width": 42,
        "height": 1, "mask_width": 80, "mask_height": 60, "pixels": 42, "given": "background", "suggested": "dog",
        "confidence": 0.9, "score": pytest.approx(37.8),
    }  # fmt: skip


def test_images_are_ranked_by_their_quality(review: Review) -> None:
    table = quality_table(review)
    assert table["image_id"].tolist() == ["b", "c", "a"]
    assert table["suspicious_share"].tolist() == pytest.approx([63 / 2100, 21 / 2100, 0.0])
    assert table["regions"].tolist() == [2, 1, 0]


def test_the_run_says_what_was_found_and_how_far_to_trust_it(review: Review) -> None:
    text = "\n".join(summary(review))
    assert "3 regions in 2 of 3 images of train" in text
    assert "background -> dog (2), cat -> dog (1)" in text
    assert "trained on images of train" in text and "Not judged" not in text


def test_classes_that_are_not_judged_are_named(review: Review) -> None:
    split = ReviewedSplit("val", review.splits[0].samples, [image("a", 0.9, hits=1)])
    text = "\n".join(summary(Review((split,), split.images[0].sums, (), VOC_CLASSES, False)))
    assert text == (
        "No label error found in 1 image of val.\nNot judged, because the model hardly finds them: background."
    )
