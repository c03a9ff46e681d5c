"""Crops: image and mask stay aligned, geometry equals resizing first, and the key determines everything."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from voc_seg.config import AugmentationConfig
from voc_seg.samples.augment import augment
from voc_seg.samples.colours import jitter_colours
from voc_seg.samples.crops import draw_crop, resize
from voc_seg.samples.store import Sample, SampleStore

MEAN_COLOUR = [124, 116, 104]  # 255 times ImageNet's mean, rounded


def _config(**values: object) -> AugmentationConfig:
    return AugmentationConfig.model_validate({"crop_size": 64, "scale": (1, 1), "flip": 0, **values})


def _coordinates(height: int, width: int) -> Sample:
    """Red is the row and green the column; the mask is a stripe number, five rows each."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return Sample("ramp", np.stack([rows, columns, np.zeros_like(rows)], axis=-1), rows // 5)


def _crop(sample: Sample, config: AugmentationConfig, seed: int = 0) -> tuple[Tensor, Tensor]:
    return augment(sample, config, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [(1, 1), (0.4, 0.6), (0.5, 2), (3, 4)])
def test_shapes_types_and_labels(scene_samples: list[Sample], scale: tuple[float, float], seed: int) -> None:
    sample = scene_samples[seed % len(scene_samples)]
    image, mask = _crop(sample, _config(scale=scale, flip=0.5), seed)
    assert (image.dtype, mask.dtype) == (torch.uint8, torch.uint8)
    assert (image.shape, mask.shape) == ((3, 64, 64), (64, 64))
    assert set(mask.unique().tolist()) <= set(np.unique(sample.mask).tolist()) | {255}


@pytest.mark.parametrize("seed", range(4))
def test_at_scale_one_the_crop_is_a_plain_cut(seed: int) -> None:
    sample, config = _coordinates(90, 96), _config()
    image, mask = _crop(sample, config, seed)
    top, left = (int(value) for value in image[:2, 0, 0])
    np.testing.assert_array_equal(image.permute(1, 2, 0), sample.image[top : top + 64, left : left + 64])
    np.testing.assert_array_equal(mask, sample.mask[top : top + 64, left : left + 64])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.7, 1.3, 2.9])
def test_image_and_mask_are_cut_together(scale: float, seed: int) -> None:
    image, mask = _crop(_coordinates(100, 100), _config(scale=(scale, scale), flip=0.5), seed)
    # Rows of stripe s lie within 5 s ... 5 s + 4; interpolation adds up to one source pixel, rounding half a grey.
    apart = (image[0].float() - (5 * mask.float() + 2)).abs()
    assert apart.max() <= 2 + max(1.0, 1 / scale) + 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [0.66, 0.9, 1.37, 2.2])
def test_every_pixel_shows_the_place_it_should(scale: float, seed: int) -> None:
    """A resized image shows at target pixel i the source position (i + 0.5) * factor - 0.5, its centre."""
    sample, config = _coordinates(110, 120), _config(scale=(scale, scale))
    crop = draw_crop(110, 120, config, np.random.default_rng(seed))
    image, _ = _crop(sample, config, seed)
    for channel, axis, start in ((0, 0, crop.top), (1, 1, crop.left)):
        expected = start + (np.arange(64) + 0.5) * crop.window[axis] / crop.target[axis] - 0.5
        line = image[channel, :, 32] if axis == 0 else image[channel, 32]
        # 0.5 for rounding to bytes, 0.1 for the fixed-point weights of the byte kernel; borders apart.
        assert np.abs(line.numpy()[3:-3] - expected[3:-3]).max() <= 0.6


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_crop_before_resize_equals_resize_before_crop(scene_samples: list[Sample], scale: float) -> None:
    """Within two grey levels inside, exactly for labels; at the border the whole image has more neighbours to blend."""
    picture, truth = scene_samples[0].image[:64], scene_samples[0].mask[:64]
    sample = Sample("tiled", np.tile(picture, (2, 2, 1)), np.tile(truth, (2, 2)))  # (128, 192): halves evenly
    config = _config(scale=(scale, scale), crop_size=64)
    whole_image, whole_mask = resize(sample, (int(128 * scale), int(192 * scale)))
    compared = 0
    for seed in range(20):
        crop = draw_crop(128, 192, config, np.random.default_rng(seed))
        if (crop.top * scale) % 1 or (crop.left * scale) % 1:
            continue  # falls between the pixels of the resized image
        top, left = int(crop.top * scale), int(crop.left * scale)
        image, mask = _crop(sample, config, seed)
        reference = whole_image[:, top : top + 64, left : left + 64]
        apart = (image.int() - reference.int()).abs()
        assert apart[:, 2:-2, 2:-2].max() <= 2
        assert torch.equal(mask, whole_mask[top : top + 64, left : left + 64])
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [(1, 1), (0.9, 2)])
def test_a_flip_is_exact(scene_samples: list[Sample], scale: tuple[float, float], seed: int) -> None:
    """Two crops from one seed differ only in the flip; at these scales no crop is padded."""
    straight = _crop(scene_samples[0], _config(scale=scale, flip=0, crop_size=64), seed)
    flipped = _crop(scene_samples[0], _config(scale=scale, flip=1, crop_size=64), seed)
    assert torch.equal(flipped[0].flip(-1), straight[0])
    assert torch.equal(flipped[1].flip(-1), straight[1])


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 224, 301])
def test_labels_are_torchs_nearest_exact(size: int) -> None:
    for length in (*range(1, 40), 64, 99, 224, 333, 500):
        mask = np.random.default_rng(length).integers(0, 256, (length, length + 3), dtype=np.uint8)
        sample = Sample("m", np.zeros((*mask.shape, 3), np.uint8), mask)
        expected = functional.interpolate(torch.from_numpy(mask)[None, None], (size, size + 1), mode="nearest-exact")
        assert torch.equal(resize(sample, (size, size + 1))[1], expected[0, 0])


@pytest.mark.parametrize("options", [{}, {"scale": (0.5, 2), "flip": 1}, {"scale": (0.3, 0.3)}, {"colour_jitter": 0.2}])
def test_channels_are_last_in_memory(scene_samples: list[Sample], options: dict) -> None:
    """The following operations, up to the network, are fast only in that layout."""
    image, _ = _crop(scene_samples[0], _config(**options))
    assert image.permute(1, 2, 0).is_contiguous()


def test_flip_probability() -> None:
    rng = np.random.default_rng(0)
    flips = [draw_crop(90, 90, _config(flip=0.25), rng).flip for _ in range(1000)]
    assert 0.2 < np.mean(flips) < 0.3
    assert not any(draw_crop(90, 90, _config(flip=0), rng).flip for _ in range(100))


def test_small_images_are_padded_with_mean_colour_and_void() -> None:
    sample = Sample("small", np.full((20, 30, 3), 7, np.uint8), np.full((20, 30), 4, np.uint8))
    image, mask = _crop(sample, _config())
    inside = mask == 4
    assert int(inside.sum()) == 20 * 30
    assert mask[~inside].unique().tolist() == [255]
    assert image[:, inside].unique().tolist() == [7]
    assert image[:, ~inside].unique(dim=1).flatten().tolist() == MEAN_COLOUR


def test_an_axis_that_fits_is_not_padded() -> None:
    image, mask = _crop(_coordinates(20, 100), _config())
    filled = (mask != 255).any(dim=1)
    assert int(filled.sum()) == 20
    assert (mask[filled] != 255).all()
    assert image.shape == (3, 64, 64)


def test_the_same_key_gives_the_same_crop(scene_samples: list[Sample]) -> None:
    config = _config(scale=(0.5, 2), flip=0.5, colour_jitter=0.3)
    first, again, other = (_crop(scene_samples[0], config, seed) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_scale_keeps_to_its_range_and_halving_is_as_likely_as_doubling() -> None:
    rng = np.random.default_rng(0)
    windows = [draw_crop(1000, 1000, _config(scale=(0.5, 2)), rng).window[0] for _ in range(2000)]
    assert 32 <= min(windows) <= 33  # 64 / 2
    assert 125 <= max(windows) <= 128  # 64 / 0.5
    assert 0.45 < np.mean(np.array(windows) > 64) < 0.55
    assert 0.2 < np.mean(np.array(windows) > 64 * 2**0.5) < 0.3


@pytest.mark.parametrize(("height", "width"), [(1000, 800), (375, 500), (60, 500)])
def test_both_axes_share_one_scale(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = draw_crop(height, width, _config(scale=(0.5, 2)), rng)
        rows, columns = (target / window for target, window in zip(crop.target, crop.window))
        assert rows == pytest.approx(columns, rel=0.04)  # windows are whole pixels


def test_crops_reach_every_position() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_crop(67, 66, _config(), rng) for _ in range(500)]
    assert {(crop.top, crop.left) for crop in crops} == {(top, left) for top in range(4) for left in range(3)}
    assert {crop.window for crop in crops} == {(64, 64)}


def test_padded_images_reach_every_place_of_the_crop() -> None:
    rng = np.random.default_rng(0)
    offsets = {draw_crop(61, 62, _config(), rng).offset for _ in range(500)}
    assert offsets == {(top, left) for top in range(4) for left in range(3)}


def test_image_size_comes_before_the_scale() -> None:
    rng = np.random.default_rng(0)
    whole = draw_crop(96, 72, _config(image_size=(48, 64)), rng)
    assert (whole.window, whole.target) == ((96, 72), (48, 64))
    part = draw_crop(100, 400, _config(image_size=(200, 200), scale=(2, 2)), rng)
    # height grows 2 * 2 times, width 200 / 400 * 2 = 1 time
    assert (part.window, part.target) == ((16, 64), (64, 64))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_odd_shapes_give_whole_crops(shape: tuple[int, int]) -> None:
    sample = Sample("odd", np.zeros((*shape, 3), np.uint8), np.ones(shape, np.uint8))
    for seed in range(5):
        image, mask = _crop(sample, _config(scale=(0.05, 20), flip=0.5), seed)
        assert (image.shape, mask.shape) == ((3, 64, 64), (64, 64))
        assert (mask == 1).any()


def test_a_read_only_store_gives_crops_without_warnings(train_store: SampleStore) -> None:
    sample = train_store[0]
    assert not sample.image.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns about tensors over memory that must not be written
        for size in (64, max(sample.mask.shape)):
            _crop(sample, _config(crop_size=size))


class TestColourJitter:
    picture = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8)

    def test_zero_changes_nothing(self) -> None:
        assert torch.equal(jitter_colours(self.picture, 0.0, np.random.default_rng(0)), self.picture)

    def test_a_grey_picture_changes_in_brightness_alone(self) -> None:
        grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
        values = {jitter_colours(grey, 0.2, np.random.default_rng(seed)).unique().item() for seed in range(50)}
        assert 80 <= min(values) < 90
        assert 110 < max(values) <= 120

    def test_values_stay_bytes(self) -> None:
        bright = torch.tensor([0, 255, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4)
        jittered = jitter_colours(bright, 1.0, np.random.default_rng(3))
        assert jittered.dtype == torch.uint8
        assert jittered[1].max() >= jittered[0].max()  # no wrap-around from 256 to 0

    def test_geometry_mask_and_padding_are_untouched(self) -> None:
        sample = Sample("small", np.full((20, 30, 3), 90, np.uint8), np.full((20, 30), 4, np.uint8))
        plain = _crop(sample, _config())
        jittered = _crop(sample, _config(colour_jitter=0.5))
        assert torch.equal(plain[1], jittered[1])
        outside = plain[1] == 255
        assert torch.equal(plain[0][:, outside], jittered[0][:, outside])
        assert not torch.equal(plain[0], jittered[0])


class TestResize:
    def test_equals_interpolation_of_the_whole(self, scene_samples: list[Sample]) -> None:
        sample = scene_samples[0]
        image, mask = resize(sample, (40, 50))
        pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float()
        reference = functional.interpolate(pixels, (40, 50), mode="bilinear", antialias=True)[0]
        assert (image.float() - reference).abs().max() <= 1.5  # bytes are interpolated in fixed point
        assert set(mask.unique().tolist()) <= set(np.unique(sample.mask).tolist())

    def test_own_size_returns_the_sample(self, train_store: SampleStore) -> None:
        sample = train_store[0]
        image, mask = resize(sample, sample.mask.shape)
        np.testing.assert_array_equal(image.permute(1, 2, 0), sample.image)
        np.testing.assert_array_equal(mask, sample.mask)
