"""Colours, blur, rotation and holes: what each does to the image, and that the mask follows or stays."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from voc_seg.config import AugmentationConfig
from voc_seg.samples.augment import augment
from voc_seg.samples.colours import blur, change_look, recolour_image
from voc_seg.samples.mixing import cut_hole, distort, rotate
from voc_seg.samples.store import Sample
from voc_seg.samples.strengths import STRENGTHS, Strength
from voc_seg.voc.classes import VOID

MEAN = (0.2, 0.4, 0.6)
COLOUR = torch.tensor([51, 102, 153], dtype=torch.uint8)


def picture(channels: int = 3, size: int = 48) -> torch.Tensor:
    pixels = np.random.default_rng(channels).integers(0, 256, (size, size, channels), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def smooth(size: int = 64) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.stack([3 * rows, 2 * columns, rows + columns], -1) + 20
    return image.to(torch.uint8).permute(2, 0, 1)


class TestColours:
    def test_nothing_changes_without_changes(self) -> None:
        image = picture()
        assert torch.equal(recolour_image(image, 1, 1, 1, 0), image)
        assert (recolour_image(image, 1, 1, 1, 1e-9).int() - image.int()).abs().max() <= 1

    def test_grey_is_torchvisions(self) -> None:
        image = picture()
        expected = transforms.rgb_to_grayscale(image, num_output_channels=3)
        assert (recolour_image(image, 1, 1, 0, 0).int() - expected.int()).abs().max() <= 1

    def test_brightness_and_saturation_are_torchvisions(self) -> None:
        image = picture()
        expected = transforms.adjust_saturation(transforms.adjust_brightness(image.float() / 255, 0.8), 0.6) * 255
        assert (recolour_image(image, 0.8, 1, 0.6, 0).float() - expected).abs().max() <= 1

    @pytest.mark.parametrize("channels", [1, 2, 3])
    def test_contrast_keeps_the_mean(self, channels: int) -> None:
        image = picture(channels).clamp(80, 170)
        changed = recolour_image(image, 1, 0.5, 1, 0).float()
        assert abs(changed.mean() - image.float().mean()) < 4  # of every fourth pixel
        assert float(changed.std()) == pytest.approx(float(image.float().std()) / 2, rel=0.02)

    def test_a_third_of_a_turn_swaps_the_colours_and_grey_stays(self) -> None:
        image = picture()
        turned = recolour_image(image, 1, 1, 1, 2 * math.pi / 3)
        assert (turned.int() - image[[2, 0, 1]].int()).abs().max() <= 1
        grey = image[:1].expand(3, -1, -1).permute(1, 2, 0).contiguous().permute(2, 0, 1)
        assert (recolour_image(grey, 1, 1, 1, 0.5).int() - grey.int()).abs().max() <= 1

    @pytest.mark.parametrize("channels", [1, 2, 4, 6])
    def test_other_bands_change_in_brightness_and_contrast_alone(self, channels: int) -> None:
        image = picture(channels)
        changed = recolour_image(image, 0.9, 0.8, 0.0, 0.3)
        bands = slice(0, None) if channels < 3 else slice(3, None)
        plain = recolour_image(image, 0.9, 0.8, 1.0, 0.0)
        assert torch.equal(changed[bands], plain[bands])
        if channels > 3:
            assert not torch.equal(changed[:3], plain[:3])
        assert changed.permute(1, 2, 0).is_contiguous()


class TestBlur:
    def test_one_pass_is_the_binomial_filter(self) -> None:
        image = picture()
        kernel = torch.tensor([1.0, 2, 1]) / 4
        padded = torch.nn.functional.pad(image.float()[None], (1, 1, 1, 1), mode="replicate")
        weights = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
        expected = torch.nn.functional.conv2d(padded, weights, groups=3)[0]
        assert (blur(image, 1).float() - expected).abs().max() <= 1  # each axis is rounded
        assert blur(image, 2).float().std() < blur(image, 1).float().std() < image.float().std()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3)])
    @pytest.mark.parametrize("channels", [1, 3, 5])
    def test_flat_images_of_any_shape_stay(self, shape: tuple[int, int], channels: int) -> None:
        flat = torch.full((*shape, channels), 255, dtype=torch.uint8).permute(2, 0, 1)
        assert torch.equal(blur(flat, 4), flat)


class TestRotation:
    @pytest.mark.parametrize("angle", [-0.3, 0.1, 0.35])
    def test_it_is_torchvisions(self, angle: float) -> None:
        image = smooth()
        found, _ = rotate(image, image[0], angle, MEAN)
        bilinear = transforms.InterpolationMode.BILINEAR
        expected = transforms.rotate(image.float(), -math.degrees(angle), bilinear)
        inside = transforms.rotate(torch.ones(1, 64, 64), -math.degrees(angle), bilinear)[0] == 1
        assert (found.float() - expected).abs()[:, inside].max() <= 1
        assert found.permute(1, 2, 0).is_contiguous()

    @pytest.mark.parametrize("angle", [-0.35, -0.1, 0.2])
    def test_the_mask_turns_with_the_image(self, angle: float) -> None:
        """The image encodes the mask, in stripes of eight rows, and void is where it has the mean colour."""
        mask = (torch.arange(64)[:, None] // 8).expand(64, 64).to(torch.uint8).contiguous()
        image = (30 * mask).expand(3, 64, 64).permute(1, 2, 0).contiguous().permute(2, 0, 1)
        found, labels = rotate(image, mask, angle, MEAN)
        assert set(labels.unique().tolist()) <= {*range(8), VOID}
        shown = labels != VOID
        apart = (found[0].float() - 30.0 * labels)[shown].abs()
        assert apart.mean() < 5 and (apart < 16).float().mean() > 0.9  # but for pixels between two stripes
        outside = ~shown
        assert outside[0, 0] and outside[-1, -1]
        assert ((found[:, outside].float() - COLOUR[:, None]).abs().max(0).values < 2).float().mean() > 0.6

    def test_it_turns_nothing_by_nothing(self) -> None:
        image = picture()
        found, labels = rotate(image, image[0], 0.0, MEAN)
        assert torch.equal(labels, image[0]) and (found.int() - image.int()).abs().max() <= 1

    @pytest.mark.parametrize("channels", [1, 4, 6])
    def test_any_number_of_bands(self, channels: int) -> None:
        image = picture(1).expand(channels, -1, -1).permute(1, 2, 0).contiguous().permute(2, 0, 1)
        found, _ = rotate(image, image[0].contiguous(), 0.2, (0.5,) * channels)
        assert (found == found[:1]).all()


def test_a_hole_has_the_mean_colour_and_is_void() -> None:
    image, mask = picture(), torch.zeros(48, 48, dtype=torch.uint8)
    sizes = set()
    for seed in range(20):
        found, labels = cut_hole(image, mask, 0.3, np.random.default_rng(seed), MEAN)
        hole = labels == VOID
        rows, columns = torch.nonzero(hole).T
        height, width = (int(along.max() - along.min()) + 1 for along in (rows, columns))
        assert int(hole.sum()) == height * width
        assert (found[:, hole] == COLOUR[:, None]).all() and torch.equal(found[:, ~hole], image[:, ~hole])
        sizes |= {height, width}
    assert min(sizes) >= 5 and max(sizes) <= 14 and len(sizes) > 5
    assert not mask.any(), "the crop itself is unchanged"


class TestStrengths:
    def test_every_value_of_the_setting_has_a_strength(self) -> None:
        choices = AugmentationConfig.model_fields["strength"].annotation
        assert set(choices.__args__) == {"none", *STRENGTHS}

    @pytest.mark.parametrize("field", ["colours", "grey", "blur"])
    def test_each_change_of_the_look_changes_the_image(self, field: str) -> None:
        only = Strength(**{"colours": 0.0, "amount": 0.3, field: 1.0})
        image = picture()
        assert not torch.equal(change_look(image, only, np.random.default_rng(0)), image)
        off = Strength(colours=0.0, amount=0.3)
        assert torch.equal(change_look(image, off, np.random.default_rng(0)), image)

    @pytest.mark.parametrize("options", [{"rotation": 1.0, "degrees": 20.0}, {"cutout": 1.0, "hole_side": 0.3}])
    def test_each_distortion_changes_image_and_mask(self, options: dict[str, float]) -> None:
        image, mask = picture(), torch.zeros(48, 48, dtype=torch.uint8)
        found, labels = distort(image, mask, Strength(0, 0, **options), np.random.default_rng(0), MEAN)
        assert not torch.equal(found, image)
        assert set(labels.unique().tolist()) == {0, VOID}
        same = distort(image, mask, Strength(0, 0), np.random.default_rng(0), MEAN)
        assert torch.equal(same[0], image) and torch.equal(same[1], mask)

    def test_stronger_is_further_from_the_plain_crop(self, scene_samples: list[Sample]) -> None:
        def apart(strength: str) -> float:
            crops = [
                augment(scene_samples[0], AugmentationConfig(crop_size=64, flip=0, strength=name),
                        np.random.default_rng(seed))[0].float()
                for seed in range(30) for name in ("none", strength)
            ]  # fmt: skip
            return float(np.mean([(one - other).abs().mean() for one, other in zip(crops[::2], crops[1::2])]))

        light, standard, strong = map(apart, STRENGTHS)
        assert apart("none") == 0 < light < standard < strong
