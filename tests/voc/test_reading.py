"""Image and mask files; tests/test_damaged_data.py has every kind of damage."""

import numpy as np
import pytest
from PIL import Image

from voc_seg.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES, VOID, name_classes, voc_palette
from voc_seg.voc.reading import decode_image, decode_mask, palette_image

HEIGHT, WIDTH = 12, 20


@pytest.fixture
def mask() -> np.ndarray:
    """Every class and void, ``uint8 (33, 47)``."""
    return np.random.default_rng(1).choice(np.array([*range(21), VOID], np.uint8), (33, 47))


@pytest.mark.parametrize("palette", [True, False])
def test_masks_come_back_bit_by_bit(tmp_path, mask, palette):
    picture = palette_image(mask) if palette else Image.fromarray(mask)
    picture.save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    assert (found.mode, found.note) == ("P" if palette else "L", "")
    decoded = found.indices
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, mask)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_images_become_rgb(tmp_path, mode):
    Image.new(mode, (WIDTH, HEIGHT)).save(tmp_path / "i.jpg")
    image = decode_image(tmp_path / "i.jpg")
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8


def test_decoding_a_missing_file_is_the_users_error(tmp_path):
    with pytest.raises(VocSegError, match="missing image"):
        decode_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_masks_in_class_colours_are_converted_with_a_note(tmp_path, mask, mode):
    Image.fromarray(voc_palette()[mask]).convert(mode).save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found.indices, mask)
    assert found.indices.dtype == np.uint8
    assert (found.mode, found.note) == (mode, "read by RGB colours")


def test_own_colours_are_recognised(tmp_path):
    classes = name_classes(("background", "crack"), ((10, 20, 30), None))
    indices = np.array([[0, 1, VOID]], np.uint8)
    Image.fromarray(classes.palette()[indices]).save(tmp_path / "m.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.png", classes).indices, indices)
    with pytest.raises(VocSegError, match=r"has \(10, 20, 30\), which no class has"):
        decode_mask(tmp_path / "m.png")


def test_only_a_few_strange_colours_are_listed(tmp_path):
    noise = np.random.default_rng(0).integers(1, 9, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "m.png")
    with pytest.raises(VocSegError, match=r"m\.png is RGB and has \(.*\) and \d+ more, which no class has$"):
        decode_mask(tmp_path / "m.png")


def reordered(mask: np.ndarray) -> Image.Image:
    """As an optimiser of PNGs leaves it: the values in use numbered anew, the palette shortened to them."""
    used, numbers = np.unique(mask, return_inverse=True)
    picture = Image.fromarray(numbers.reshape(mask.shape).astype(np.uint8))
    picture.putpalette(voc_palette()[used].tobytes())
    return picture


def test_a_palette_in_another_order_is_seen_through(tmp_path):
    mask = np.array([[0, 15, 15, 8], [VOID, 15, 0, 20]], np.uint8)
    reordered(mask).save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found.indices, mask)
    assert found.note.startswith("read by palette colours")


def test_one_class_alone_in_a_short_palette(tmp_path):
    mask = np.full((4, 5), 15, np.uint8)
    reordered(mask).save(tmp_path / "m.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.png").indices, mask)


@pytest.mark.parametrize(
    "colours",
    [
        np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1),  # greys
        np.zeros((256, 3), np.uint8),  # black all over
        np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8),
        voc_palette(),
    ],
    ids=["grey", "black", "random", "voc"],
)
@pytest.mark.parametrize("values", [(0, 1, 7, VOID), (7,), (0, 255), (0,)])
def test_any_other_palette_plays_no_part(tmp_path, colours, values):
    mask = np.random.default_rng(2).choice(np.array(values, np.uint8), (9, 8))
    picture = Image.fromarray(mask)
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found.indices, mask)
    assert (found.mode, found.note) == ("P", "")


def test_palette_images_hold_indices_and_show_colours(mask):
    picture = palette_image(mask)
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), mask)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), voc_palette()[mask])
    own = palette_image(mask, name_classes(CLASS_NAMES, ((9, 8, 7),)))
    np.testing.assert_array_equal(np.asarray(own.convert("RGB"))[mask == 0], [[9, 8, 7]] * int((mask == 0).sum()))
