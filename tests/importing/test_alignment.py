"""Masks that are mirrored, turned or shifted are found by the edges of their images; right ones are left in peace."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_seg.importing.alignment import REACH, STEP, Alignment, align, misplaced_mask, misplaced_masks
from voc_seg.importing.traits import border_values, examine
from voc_seg.scenes.sample import write_scenes

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = write_scenes(tmp_path_factory.mktemp("scenes"), {"train": 30, "val": 1, "test": 1})
    ids = (folder / "ImageSets/Segmentation/train.txt").read_text().split()
    return [
        (np.array(Image.open(folder / f"JPEGImages/{one}.jpg")),
         np.array(Image.open(folder / f"SegmentationClass/{one}.png")))
        for one in ids
    ]  # fmt: skip


def moved(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """The mask moved by pixels, with background where it came from."""
    result = np.zeros_like(mask)
    height, width = mask.shape
    result[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return result


def square(pair: Pair) -> Pair:
    side = min(pair[1].shape)
    return pair[0][:side, :side], pair[1][:side, :side]


def test_right_masks_raise_no_alarm(pairs: list[Pair]) -> None:
    alignments = [align(*pair) for pair in pairs]
    assert misplaced_masks(alignments) is None
    assert sum(misplaced_mask(one) is not None for one in alignments) <= 1
    assert np.mean([one.as_is for one in alignments]) > 0.65


@pytest.mark.parametrize(
    "change, how",
    [
        (lambda mask: mask[:, ::-1], "mirrored left to right"),
        (lambda mask: mask[::-1], "mirrored upside down"),
        (lambda mask: mask[::-1, ::-1], "turned by 180 degrees"),
    ],
)
def test_mirrored_masks_are_found(pairs: list[Pair], change: Callable, how: str) -> None:
    alignments = [align(image, change(mask)) for image, mask in pairs]
    assert misplaced_masks(alignments).how == how
    named = [found.how for one in alignments if (found := misplaced_mask(one))]
    assert named.count(how) > len(pairs) / 2


@pytest.mark.parametrize("turns, how", [(1, "counter-clockwise"), (3, "clockwise")])
def test_turned_squares_are_found(pairs: list[Pair], turns: int, how: str) -> None:
    alignments = [align(image, np.rot90(mask, turns)) for image, mask in map(square, pairs)]
    assert misplaced_masks(alignments).how == f"turned by 90 degrees {how}"
    assert misplaced_masks([align(*square(pair)) for pair in pairs]) is None


@pytest.mark.parametrize("down, right", [(8, 0), (0, -12), (-16, 16)])
def test_shifted_masks_are_found(pairs: list[Pair], down: int, right: int) -> None:
    found = misplaced_masks([align(image, moved(mask, down, right)) for image, mask in pairs])
    factor = -(-max(pairs[0][1].shape) // 256)
    assert found is not None and found.how.startswith("shifted by about")
    words = found.how.split()
    shown = {word: int(words[index - 2]) for index, word in enumerate(words) if word in ("down", "up")}
    shown |= {words[-1]: int(words[-5])} if words[-1] in ("left", "right") else {}
    wanted = {"down" if down > 0 else "up": abs(down)} if down else {}
    wanted |= {"right" if right > 0 else "left": abs(right)} if right else {}
    assert shown.keys() == wanted.keys()
    assert all(abs(shown[word] - wanted[word]) <= STEP * factor for word in wanted)


def test_colours_score_as_values_do(pairs: list[Pair]) -> None:
    image, mask = pairs[0]
    palette = np.random.default_rng(0).permutation(256).astype(np.uint8)
    colours = np.stack([palette[mask], mask, mask], axis=-1)
    assert align(image, colours).scores == align(image, mask).scores


def test_flat_images_empty_masks_and_tiny_ones_have_no_score() -> None:
    mask = np.zeros((40, 40), np.uint8)
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    assert align(image, mask) == Alignment()
    mask[10:30, 10:30] = 1
    assert align(np.full_like(image, 7), mask) == Alignment()
    assert align(image[:6, :6], mask[:6, :6]) == Alignment()
    assert align(image, mask).scores
    assert misplaced_mask(Alignment()) is None
    assert misplaced_masks([align(image, mask)] * 3) is None  # too few to tell


def test_large_images_are_compared_at_a_reduced_size(pairs: list[Pair]) -> None:
    image, mask = pairs[0]
    large = np.kron(image, np.ones((9, 9, 1), np.uint8)), np.kron(mask, np.ones((9, 9), np.uint8))
    found = align(*large)
    assert found.factor == -(-max(large[1].shape) // 256)
    assert found.shifts.shape == (2 * REACH // STEP + 1,) * 2


def test_values_along_borders_only() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[5:25, 5:25] = 255
    assert border_values(mask) == {}
    mask[5, 5:25] = 100
    mask[24, 5:25] = 180
    assert border_values(mask) == {100: 20, 180: 20}
    colours = np.stack([mask, mask, 255 - mask], axis=-1)
    assert border_values(colours) == {(100, 100, 155): 20, (180, 180, 75): 20}


def test_an_image_that_may_be_turned_is_scored_both_ways(pairs: list[Pair], tmp_path: Path) -> None:
    image, mask = pairs[0]
    Image.fromarray(image[::-1, ::-1]).save(tmp_path / "a.png")
    traits = examine(tmp_path / "a.png", image[::-1, ::-1], 3, mask)
    assert traits.upright_score > traits.alignment.as_is + 0.05
    assert traits.image_mode == "RGB" and not traits.grey
    assert examine(tmp_path / "a.png", image, 1, mask).upright_score is None
    portrait = np.ascontiguousarray(np.rot90(image))  # stored on its side; the mask is upright
    assert examine(tmp_path / "a.png", portrait, 6, mask).alignment.as_is > 0.6
