"""Masks as colours, overlays and error maps: VOC's colours, untinted background, the right errors."""

import numpy as np
import pytest

from voc_seg.reporting.overlays import VOID_COLOUR, WRONG_COLOUR, colourise, error_map, overlay, pale_grey


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_colours_are_those_of_the_voc_development_kit():
    # From VOClabelcolormap.m: background, aeroplane, bicycle, bottle, person, tvmonitor, void.
    mask = np.array([[0, 1, 2, 5, 15, 20, 255]], dtype=np.uint8)
    expected = [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 0, 128], [192, 128, 128], [0, 64, 128], [224, 224, 192]
    ]  # fmt: skip
    colours = colourise(mask)
    assert colours.dtype == np.uint8
    assert colours.tolist() == [expected]


def test_overlay_keeps_background_tints_regions_and_outlines_them(image):
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:30, 20:50] = 15
    before = image.copy()
    image.setflags(write=False)  # like images from the packed store
    result = overlay(image, mask, opacity=0.25)
    assert result.dtype == np.uint8
    assert (image == before).all()
    assert (result[mask == 0] == image[mask == 0]).all()
    for side in (np.s_[10, 20:50], np.s_[29, 20:50], np.s_[10:30, 20], np.s_[10:30, 49]):
        assert (result[side] == (192, 128, 128)).all()  # the outline, one pixel wide and inside the region
    inside = np.s_[11:29, 21:49]
    expected = np.rint(0.75 * image[inside] + 0.25 * np.array([192, 128, 128]))
    assert (result[inside] == expected).all()


def test_overlay_gives_no_outline_to_the_border_of_the_image(image):
    mask = np.full((40, 60), 15, dtype=np.uint8)
    assert (overlay(image, mask, opacity=0.0) == image).all()


def test_error_map_marks_exactly_the_wrong_pixels_and_leaves_void_neutral(image):
    random = np.random.default_rng(1)
    truth = random.choice(np.array([0, 3, 15, 255], dtype=np.uint8), (40, 60))
    prediction = random.choice(np.array([0, 3, 15], dtype=np.uint8), (40, 60))
    errors = error_map(image, truth, prediction)
    void = truth == 255
    wrong = ~void & (truth != prediction)
    assert errors.dtype == np.uint8
    assert ((errors == WRONG_COLOUR).all(-1) == wrong).all()
    assert ((errors == VOID_COLOUR).all(-1) == void).all()
    right = ~void & ~wrong
    assert (errors[right] == pale_grey(image)[right]).all()


def test_right_wrong_and_void_differ_in_lightness_alone():
    # Lightness, for readers without colour vision and for grey prints: at least 40 of 255 apart.
    luma = np.array([0.299, 0.587, 0.114])
    black = np.zeros((1, 1, 3), dtype=np.uint8)
    wrong, void, right = luma @ WRONG_COLOUR, luma @ VOID_COLOUR, pale_grey(black)[0, 0] @ luma
    assert wrong + 40 < void < right - 40


def test_all_void_is_neutral_everywhere(image):
    void = np.full((40, 60), 255, dtype=np.uint8)
    assert (error_map(image, void, np.zeros_like(void)) == VOID_COLOUR).all()
