"""Near-duplicates are found, distinct and flat images are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import Found, LabelledImage
from voc_seg.voc.duplicates import MAX_DISTANCE, near_duplicates, perceptual_hash


def photograph(seed: int, height: int = 300, width: int = 400) -> Image.Image:
    """Coloured blobs of all sizes, as in photographs."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).resize((width, height)), np.float64
        ) / side**0.5
        for side in (3, 6, 12, 24, 48)
    ]  # fmt: skip
    total = np.sum(layers, axis=0)
    return Image.fromarray((255 * (total - total.min()) / np.ptp(total)).astype(np.uint8))


def hash_of(image: Image.Image) -> int:
    return perceptual_hash(np.asarray(image))


def saved_again(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file)


@pytest.mark.parametrize(
    "change",
    [
        saved_again,
        lambda image: image.resize((200, 150)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: ImageEnhance.Brightness(image).enhance(0.85),
        lambda image: image.crop((4, 3, 396, 297)),
    ],
    ids=["JPEG", "half", "brighter", "darker", "cropped"],
)
def test_copies_are_found(change) -> None:
    originals = [photograph(seed) for seed in range(10)]
    hashes = [hash_of(one) for one in originals] + [hash_of(change(one)) for one in originals]
    assert near_duplicates(hashes) == tuple((one, one + 10) for one in range(10))


def test_distinct_images_are_far_apart() -> None:
    hashes = [hash_of(photograph(seed)) for seed in range(60)]
    assert near_duplicates(hashes) == ()
    distances = [(one ^ other).bit_count() for one in hashes for other in hashes if one < other]
    assert min(distances) > MAX_DISTANCE + 16


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_images_have_no_hash(level: int) -> None:
    flat = [np.full((90, 120, 3), level, np.uint8) for _ in range(3)]
    foggy = [(one + np.random.default_rng(seed).integers(0, 3, one.shape)).clip(0, 255).astype(np.uint8)
             for seed, one in enumerate(flat)]  # fmt: skip
    hashes = [perceptual_hash(one) for one in (*flat, *foggy)]
    assert hashes == [0] * 6
    assert near_duplicates(hashes) == ()


def test_noisy_skies_do_not_form_a_group() -> None:
    slope = np.linspace(100, 140, 200)[:, None, None]
    skies = [(slope + np.random.default_rng(seed).normal(0, 6, (200, 300, 3))).clip(0, 255).astype(np.uint8)
             for seed in range(20)]  # fmt: skip
    assert near_duplicates([perceptual_hash(one) for one in skies]) == ()


def test_a_chain_is_one_group() -> None:
    frames = [(1 << 255) | ((1 << 20 * number) - 1) for number in range(8)]  # neighbours differ by 20 bits
    assert (frames[0] ^ frames[-1]).bit_count() > MAX_DISTANCE
    order = [3, 0, 6, 1, 7, 2, 5, 4]
    assert near_duplicates([frames[one] for one in order] + [0, 0]) == (tuple(range(8)),)


def test_the_threshold_is_exact() -> None:
    one = (1 << 200) - 1
    assert near_duplicates([one, one ^ ((1 << MAX_DISTANCE) - 1)]) == ((0, 1),)
    assert near_duplicates([one, one ^ ((1 << MAX_DISTANCE + 1) - 1)]) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2), (31, 700), (2000, 40)])
def test_any_size_has_a_hash(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert 0 <= perceptual_hash(image) < 1 << 256


def test_no_images() -> None:
    assert near_duplicates([]) == near_duplicates([0]) == near_duplicates([5]) == ()


def test_many_images_in_several_blocks() -> None:
    rng = np.random.default_rng(0)
    hashes = [int.from_bytes(rng.bytes(32), "big") for _ in range(1500)]
    assert near_duplicates([*hashes, *(one ^ 7 for one in hashes)]) == tuple((one, one + 1500) for one in range(1500))
    assert near_duplicates([hashes[0]] * 3000) == (tuple(range(3000)),)


def test_facts_have_the_hash(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.png")
    Image.new("L", (400, 300)).save(tmp_path / "mask.png")
    facts = inspect_pairs(Found((LabelledImage(tmp_path / "a.png", tmp_path / "mask.png"),)))
    assert facts[0].image_hash == hash_of(photograph(0)) != 0
