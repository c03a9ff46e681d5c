"""Scores of boundaries: by hand, and against erosion as in the code of Boundary IoU's authors."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from voc_seg.metrics.boundaries import (
    boundary_distance,
    count_boundaries,
    from_columns,
    near_other_label,
    to_columns,
)


def authors_boundary(mask: np.ndarray) -> np.ndarray:
    """``mask_to_boundary`` of bowenc0221/boundary-iou-api, with SciPy's erosion instead of OpenCV's.

    The mask is padded with one row of 0 on each side and eroded d times by a 3x3 square; beyond the padding nothing
    erodes.
    """
    distance = max(1, round(0.02 * math.hypot(*mask.shape)))
    padded = np.pad(mask, 1)
    eroded = ndimage.binary_erosion(padded, np.ones((3, 3)), iterations=distance, border_value=1)
    return mask & ~eroded[1:-1, 1:-1]


def blobs(shape: tuple[int, int], seed: int, classes: int = 4) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return ndimage.gaussian_filter(noise, (0, 9, 9)).argmax(0).astype(np.uint8)


@pytest.mark.parametrize("shape", [(120, 160), (375, 500), (31, 90), (5, 7), (1, 300)])
def test_the_boundary_iou_of_every_class_is_that_of_the_authors(shape: tuple[int, int]) -> None:
    truth, prediction = blobs(shape, 0), blobs(shape, 0)
    rows = min(20, shape[0] // 2)
    prediction[rows:] = np.roll(truth, 3, axis=1)[rows:]
    found = count_boundaries(truth, prediction, 4).boundary.iou()
    for index in range(4):
        one, other = (authors_boundary(labels == index) for labels in (truth, prediction))
        union = (one | other).sum()
        expected = (one & other).sum() / union if union else float("nan")
        assert found[index] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_by_hand() -> None:
    """A square of 20x20 in an image of 50x50, d = 1: its boundary has 76 pixels; shifted by one, 20 + 18 are shared."""
    assert boundary_distance((50, 50)) == 1
    truth, prediction = np.zeros((50, 50), np.uint8), np.zeros((50, 50), np.uint8)
    truth[10:30, 10:30], prediction[10:30, 11:31] = 1, 1
    counts = count_boundaries(truth, prediction, 3).boundary
    # Rows 10 and 29 share 19 columns each. The left and right columns are apart.
    assert (counts.truth[1], counts.predicted[1], counts.hits[1]) == (76, 76, 38)
    assert counts.iou()[1] == pytest.approx(38 / (76 + 76 - 38))
    assert np.isnan(counts.iou()[2])


def test_a_perfect_prediction_scores_one_whatever_it_has_in_void() -> None:
    truth = blobs((100, 100), 1)
    prediction = truth.copy()
    void = near_other_label(truth, 3, edge=False)
    truth[void], prediction[void] = 255, np.random.default_rng(0).integers(0, 4, int(void.sum()))
    assert count_boundaries(truth, prediction, 4).boundary.miou() == 1
    assert count_boundaries(truth, prediction, 4).trimap.miou() == 1


def test_nothing_is_labelled() -> None:
    truth, prediction = np.full((9, 9), 255, np.uint8), np.zeros((9, 9), np.uint8)
    found = count_boundaries(truth, prediction, 2)
    for counts in (found.boundary, found.trimap):
        assert counts.truth.sum() == counts.predicted.sum() == 0
        assert np.isnan(counts.miou())


def test_the_trimap_is_the_pixels_near_another_class_or_void() -> None:
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30:], truth[:, 29:31] = 1, 255
    prediction = np.zeros_like(truth)
    counts = count_boundaries(truth, prediction, 2).trimap
    # Eight columns on each side of the void; the edge of the image is no boundary.
    assert counts.truth.tolist() == [40 * 8, 40 * 8]
    assert counts.hits.tolist() == [40 * 8, 0]
    assert counts.predicted.tolist() == [2 * 40 * 8, 0]


@pytest.mark.parametrize("distance", [1, 2, 5, 12])
@pytest.mark.parametrize("edge", [True, False])
def test_near_another_label_is_a_dilation(distance: int, edge: bool) -> None:
    labels = blobs((60, 70), 2)
    found = near_other_label(labels, distance, edge=edge)
    square = np.ones((2 * distance + 1,) * 2)
    for index in range(4):
        other = np.pad(labels != index, distance, constant_values=edge)
        near = ndimage.binary_dilation(other, square)[distance:-distance, distance:-distance]
        np.testing.assert_array_equal(found[labels == index], near[labels == index])


def test_the_columns_give_the_same_counts() -> None:
    images = [count_boundaries(blobs((80, 90), seed), blobs((80, 90), seed + 1), 6) for seed in range(3)]
    nothing = np.full((9, 9), 255, np.uint8)
    images.append(count_boundaries(nothing, nothing * 0, 6))
    file = io.BytesIO()
    to_columns(images).to_parquet(file)
    found = from_columns(pd.read_parquet(file), 6)
    for kind in ("boundary", "trimap"):
        for field in ("hits", "truth", "predicted"):
            expected = np.stack([getattr(getattr(image, kind), field) for image in images])
            np.testing.assert_array_equal(getattr(getattr(found, kind), field), expected)
