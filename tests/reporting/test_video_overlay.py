"""Overlays of videos: tinted by class, with a legend that keeps its order."""

import numpy as np

from voc_seg.reporting.overlays import tinted
from voc_seg.reporting.video_overlay import VideoOverlays
from voc_seg.voc.classes import VOC_CLASSES, VOID, name_classes

IMAGE = np.full((240, 320, 3), 90, np.uint8)


def mask_of(*values: int) -> np.ndarray:
    """Vertical stripes of these classes."""
    return np.repeat(np.repeat(np.array([values], np.uint8), 240, axis=0), 320 // len(values), axis=1)


def test_above_the_legend_it_is_the_overlay_of_images() -> None:
    mask = mask_of(0, 15, 7, 0)
    drawn = VideoOverlays(VOC_CLASSES).draw(IMAGE, mask, 0.0)
    assert drawn.shape == IMAGE.shape and drawn.dtype == np.uint8
    assert np.array_equal(drawn[:180], tinted(IMAGE, mask, VOC_CLASSES)[:180])
    assert not np.array_equal(drawn[-20:], tinted(IMAGE, mask, VOC_CLASSES)[-20:])
    assert (IMAGE == 90).all()


def test_a_class_stays_in_the_legend_for_two_seconds() -> None:
    overlays = VideoOverlays(VOC_CLASSES)
    orders = []
    for second, values in ((0, (15, 0)), (1, (7, 0)), (2, (15, 7)), (3.5, (0, 0)), (4.1, (0, 0)), (9, (7, 0))):
        overlays.draw(IMAGE, mask_of(*values), second)
        orders.append(list(overlays._seen))
    assert orders == [[15], [15, 7], [15, 7], [15, 7], [], [7]]


def test_single_wrong_pixels_and_background_are_not_in_it() -> None:
    mask = mask_of(0, 0)
    mask[:3, :3] = 12
    drawn = VideoOverlays(VOC_CLASSES).draw(IMAGE, mask, 0.0)
    assert np.array_equal(drawn, tinted(IMAGE, mask, VOC_CLASSES))


def test_it_covers_at_most_a_quarter_of_the_height() -> None:
    classes = name_classes([f"a long name {number}" for number in range(60)])
    mask = np.repeat(np.arange(60, dtype=np.uint8)[None], 60, axis=0)
    image = np.full((60, 60, 3), 90, np.uint8)
    plain, drawn = tinted(image, mask, classes), VideoOverlays(classes).draw(image, mask, 0.0)
    assert np.array_equal(drawn[:44], plain[:44])
    tiny = VideoOverlays(classes).draw(image[:8, :8], mask[:8, :8], 0.0)  # no room for any
    assert np.array_equal(tiny, tinted(image[:8, :8], mask[:8, :8], classes))


def test_pixels_that_are_not_sure_have_an_entry() -> None:
    overlays = VideoOverlays(VOC_CLASSES)
    overlays.draw(IMAGE, mask_of(VOID, 0), 0.0)
    assert list(overlays._seen) == [VOID] and overlays._legend.size
