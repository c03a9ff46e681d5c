"""Images and masks read together: EXIF orientation, sizes, reduction."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID
from voc_seg.voc.images import UPRIGHT
from voc_seg.voc.pairs import Reading, nearest_indices, read_pair

HEIGHT, WIDTH = 12, 20


@pytest.fixture
def save(tmp_path):
    """Save an image that is bright at its upper left, with an orientation, and a mask; return their paths."""

    def write(turn, mask_size=(HEIGHT, WIDTH), size=(HEIGHT, WIDTH)):
        pixels = np.zeros((*size, 3), np.uint8)
        pixels[: size[0] // 2, : size[1] // 2] = 255
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(pixels).save(tmp_path / "i.png", exif=exif)
        Image.fromarray(np.zeros(mask_size, np.uint8)).save(tmp_path / "m.png")
        return tmp_path / "i.png", tmp_path / "m.png", pixels

    return write


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_the_size_of_the_mask_tells_which_way_up_it_was_drawn(save, turn):
    image, mask, pixels = save(turn, mask_size=(WIDTH, HEIGHT))
    found = read_pair(image, mask)
    np.testing.assert_array_equal(found.image, np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[turn])))
    assert found.notes == (f"image turned upright by its EXIF orientation {turn}",)
    image, mask, pixels = save(turn)
    found = read_pair(image, mask)
    np.testing.assert_array_equal(found.image, pixels)
    assert found.notes == (f"EXIF orientation {turn} not applied",)


@pytest.mark.parametrize("turn", [2, 3, 4])
def test_where_both_ways_fit_it_has_to_be_said(save, turn):
    image, mask, pixels = save(turn)
    with pytest.raises(VocSegError, match=rf"i\.png has {turn}, .*fits .* upright and as stored.*exif=apply.*ign"):
        read_pair(image, mask)
    np.testing.assert_array_equal(read_pair(image, mask, Reading(exif="ignore")).image, pixels)
    applied = read_pair(image, mask, Reading(exif="apply")).image
    np.testing.assert_array_equal(applied, np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[turn])))


def test_a_square_image_may_be_turned_by_a_quarter_in_secret(save):
    image, mask, _ = save(6, mask_size=(HEIGHT, HEIGHT), size=(HEIGHT, HEIGHT))
    with pytest.raises(VocSegError, match="EXIF orientation"):
        read_pair(image, mask)


def test_apply_wants_masks_that_fit_upright(save):
    image, mask, _ = save(6)
    with pytest.raises(VocSegError, match=r"turned: .*i\.png is 12x20, .*m\.png 20x12.*orientation 6 .*exif=apply"):
        read_pair(image, mask, Reading(exif="apply"))


def test_a_mask_of_another_size_fits_no_way(save):
    image, mask, _ = save(6, mask_size=(5, 5))
    with pytest.raises(VocSegError, match="size mismatch"):
        read_pair(image, mask)


def test_large_images_are_reduced(tmp_path):
    rng = np.random.default_rng(0)
    indices = rng.choice(np.array([0, 1, VOID], np.uint8), (300, 200))
    Image.fromarray(rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)).save(tmp_path / "i.png")
    Image.fromarray(indices).save(tmp_path / "m.png")
    found = read_pair(tmp_path / "i.png", tmp_path / "m.png", Reading(longer_side=100))
    assert found.image.shape == (100, 67, 3)
    assert found.image.dtype == found.mask.indices.dtype == np.uint8
    expected = functional.interpolate(torch.from_numpy(indices)[None, None].float(), (100, 67), mode="nearest-exact")
    np.testing.assert_array_equal(found.mask.indices, expected[0, 0].numpy())
    assert found.notes == ("reduced to a longer side of 100 pixels (data.longer_side)",)
    assert found.image.std() < 40  # averaged: single pixels of noise would have a deviation of 74
    same = read_pair(tmp_path / "i.png", tmp_path / "m.png", Reading(longer_side=300))
    assert (same.image.shape, same.notes) == ((300, 200, 3), ())


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (HEIGHT, HEIGHT)])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_every_format_is_turned_alike(save, turn, size, format):
    """Pillow turns TIFFs by itself while it loads them."""
    upright_size = size[::-1] if turn >= 5 else size
    image, mask, pixels = save(turn, mask_size=upright_size, size=size)
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(image, format=format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    upright = read_pair(image, mask, Reading(exif="apply")).image
    np.testing.assert_array_equal(upright, np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[turn])))
    image, mask, pixels = save(turn, mask_size=size, size=size)
    Image.fromarray(pixels).save(image, format=format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    np.testing.assert_array_equal(read_pair(image, mask, Reading(exif="ignore")).image, pixels)


def test_nearest_is_centre_to_centre():
    assert nearest_indices(4, 2).tolist() == [1, 3]
    assert nearest_indices(2, 4).tolist() == [0, 0, 1, 1]
