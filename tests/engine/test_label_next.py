"""The choice of images to label: uncertain, different, the same in every run."""

import numpy as np
import pytest

from voc_seg.engine.label_next import choose_to_label


def towards(*degrees: float) -> np.ndarray:
    """Features of length 1 to 4 in a plane."""
    angles = np.radians(degrees)
    lengths = 1 + np.arange(len(degrees)) % 4
    return (lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)


def test_by_hand() -> None:
    # Distances of unit vectors are chords, 2 sin(angle / 2): 60 degrees 1, 90 degrees 1.414, 180 degrees 2.
    features = towards(0, 1, 60, 90, 180)
    order, distances = choose_to_label(np.array([0.9, 0.8, 0.6, 0.5, 0.1]), features, 4)
    # After 0: 1 has 0.8 x 0.017, 2 has 0.6 x 1, 3 has 0.5 x 1.414 = 0.707, 4 has 0.1 x 2. After 3, the distance of 2
    # is 0.518: 2 has 0.311, 4 has 0.141. Then 4, and 1 last.
    assert order.tolist() == [0, 3, 2, 4]
    assert np.isnan(distances[0])
    assert distances[1:] == pytest.approx([2**0.5, 2 * np.sin(np.radians(15)), 2**0.5], abs=1e-5)


def test_copies_of_the_most_uncertain_image_are_not_all_chosen() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((60, 32)).astype(np.float32)
    features[1:30] = features[0] * rng.uniform(0.5, 2, (29, 1)).astype(np.float32) + 1e-4 * rng.random((29, 32))
    uncertainty = np.where(np.arange(60) < 30, 0.5, 0.2) + rng.uniform(0, 0.01, 60)
    by_uncertainty = np.argsort(-uncertainty)[:10]
    order, _ = choose_to_label(uncertainty, features, 10)
    assert (by_uncertainty < 30).all()
    assert (order < 30).sum() == 1


def test_with_equal_uncertainty_it_is_greedy_k_centre() -> None:
    features = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    order, distances = choose_to_label(np.full(40, 0.3), features, 8)
    centres = [0]
    for _ in range(7):
        to_nearest = np.linalg.norm(unit[:, None] - unit[centres], axis=2).min(1)
        centres.append(int(to_nearest.argmax()))
    assert order.tolist() == centres
    assert (np.diff(distances[1:]) <= 1e-6).all()


def test_images_without_difference_come_by_uncertainty() -> None:
    order, distances = choose_to_label(np.array([0.1, 0.3, 0.3, 0.2]), np.ones((4, 3), np.float32), 10)
    assert order.tolist() == [1, 2, 3, 0]
    assert distances[1:].tolist() == [0, 0, 0]


def test_scaling_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    features, uncertainty = rng.random((50, 8)).astype(np.float32), rng.random(50)
    expected, _ = choose_to_label(uncertainty, features, 20)
    for order, _ in (choose_to_label(uncertainty / 7, features, 20), choose_to_label(uncertainty, 8 * features, 20)):
        assert order.tolist() == expected.tolist()


def test_a_feature_of_zeros_and_an_image_without_uncertainty() -> None:
    order, distances = choose_to_label(np.zeros(3), np.zeros((3, 4), np.float32), 3)
    assert order.tolist() == [0, 1, 2]
    assert distances[1:].tolist() == [0, 0]
