"""Overlays of images without ground truth: the legend names every class and hides nothing."""

import numpy as np
import pytest
from PIL import Image

from voc_seg.reporting.inference import (
    OVERLAY_SIDE,
    caption_of,
    class_shares,
    labelled_overlay,
    plot_contact_sheet,
    thumbnail,
    void_share,
)
from voc_seg.reporting.overlays import reduced
from voc_seg.voc.classes import CLASS_NAMES, name_classes


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    """A quarter person, a tenth dog."""
    mask = np.zeros((300, 400), np.uint8)
    mask[:150, :200], mask[200:, 280:] = 15, 12
    return mask


def test_shares_are_of_all_pixels(mask: np.ndarray) -> None:
    shares = class_shares(mask)
    assert tuple(shares) == CLASS_NAMES
    assert (shares["person"], shares["dog"], shares["cat"]) == (0.25, 0.1, 0)
    assert shares["background"] == pytest.approx(0.65)


def test_background_stays_and_the_rest_takes_the_hue_of_its_class(image: np.ndarray, mask: np.ndarray) -> None:
    seen = np.array(labelled_overlay(image, mask))
    assert (seen[:300, :400][mask == 0] == image[mask == 0]).all()
    # 0.4 of a grey and 0.6 of person's (192, 128, 128): whatever the colour of the image, red leads by 0.6 x 64.
    inside = seen[10:140, 10:190].astype(int)
    assert np.abs(inside[..., 0] - inside[..., 1] - 38.4).max() <= 1
    assert (inside[..., 1] == inside[..., 2]).all()


def test_the_legend_is_below_the_picture(image: np.ndarray, mask: np.ndarray) -> None:
    seen = labelled_overlay(image, mask)
    assert seen.width == 400 and 320 < seen.height < 400
    colours = {colour for _, colour in seen.crop((0, 300, *seen.size)).getcolors(100_000)}
    assert {(255, 255, 255), (192, 128, 128), (64, 0, 128), (230, 230, 230)} <= colours
    assert (128, 0, 0) not in colours  # no aeroplane here


def test_what_the_reduction_loses_is_in_the_legend() -> None:
    mask = np.zeros((2000, 3200), np.uint8)
    mask[0, 0] = 15
    colours = {colour for _, colour in labelled_overlay(np.zeros((2000, 3200, 3), np.uint8), mask).getcolors(10_000)}
    assert (192, 128, 128) in colours


def test_unsure_pixels_have_their_colour_and_an_entry(image: np.ndarray, mask: np.ndarray) -> None:
    mask[150:, :100] = 255
    assert void_share(mask) == pytest.approx(0.125)
    assert sum(class_shares(mask).values()) == pytest.approx(0.875)
    seen = np.array(labelled_overlay(image, mask))
    inside = seen[160:290, 10:90].astype(int)  # 0.4 of a grey and 0.6 of (224, 224, 192)
    assert np.abs(inside[..., 0] - inside[..., 2] - 0.6 * 32).max() <= 1
    assert (224, 224, 192) in {tuple(colour) for colour in seen[300:].reshape(-1, 3).tolist()}
    (legend,) = plot_contact_sheet([thumbnail("a", image, mask)], 1).legends
    assert "not sure" in [text.get_text() for text in legend.get_texts()]


def test_many_classes_take_more_rows_and_none_is_cut() -> None:
    mask = np.repeat(np.arange(21, dtype=np.uint8), 20)[None].repeat(50, 0)
    seen = labelled_overlay(np.zeros((50, 420, 3), np.uint8), mask)
    strip = np.array(seen)[50:]
    assert len(strip) > 130
    assert (strip[:, -4:] == 255).all() and (strip[-4:] == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_odd_shapes_have_a_legend(shape: tuple[int, int]) -> None:
    seen = labelled_overlay(np.zeros((*shape, 3), np.uint8), np.ones(shape, np.uint8))
    assert seen.width >= 240 and max(seen.size) <= OVERLAY_SIDE + 60


def test_large_pictures_are_reduced_and_small_ones_are_not(image: np.ndarray, mask: np.ndarray) -> None:
    small_image, small_mask = reduced(100, image, mask)
    assert (small_image.shape, small_mask.shape) == ((75, 100, 3), (75, 100))
    assert set(np.unique(small_mask)) == {0, 12, 15}
    assert reduced(400, image, mask)[0] is image


def test_own_classes_of_any_script() -> None:
    classes = name_classes(("地面", "fissure très longue" * 4), ((1, 2, 3), (250, 10, 10)))
    seen = labelled_overlay(np.zeros((40, 60, 3), np.uint8), np.ones((40, 60), np.uint8), classes)
    assert (250, 10, 10) in {colour for _, colour in seen.getcolors(100_000)}


def test_captions_name_the_two_largest() -> None:
    shares = dict.fromkeys(CLASS_NAMES, 0.0)
    assert caption_of(shares | {"background": 1.0}) == "background only"
    assert caption_of(shares | {"dog": 0.004, "cat": 0.3, "person": 0.0002}) == "cat 30 %, dog 0.4 %"
    assert caption_of(shares | {"dog": 0.0004}) == "dog < 0.1 %"


def test_the_sheet_shows_a_dozen_and_says_of_how_many(image: np.ndarray, mask: np.ndarray) -> None:
    items = [thumbnail(f"picture {number} $x$", image, mask) for number in range(13)]
    figure = plot_contact_sheet(items, 40, 2)
    assert len(figure.axes) == 12
    texts = [text.get_text() for text in figure.texts]
    assert "The first 12 of 40 images; files that could not be read: 2 (inference_rejected.csv)" in texts
    assert "picture 11 $x$" in texts and "picture 12 $x$" not in texts
    (legend,) = figure.legends
    assert sorted(text.get_text() for text in legend.get_texts()) == ["background (not tinted)", "dog", "person"]
    figure.canvas.draw()


def test_a_sheet_of_one_portrait(tmp_path, image: np.ndarray, mask: np.ndarray) -> None:
    tall = np.ascontiguousarray(image.transpose(1, 0, 2)), np.ascontiguousarray(mask.T)
    plot_contact_sheet([thumbnail("a", *tall)], 1).savefig(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 300
