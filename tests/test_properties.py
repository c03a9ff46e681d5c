"""Properties that hold for every input, tested with hypothesis."""

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.metrics import confusion_matrix as sklearn_confusion

from voc_seg.config import AugmentationConfig
from voc_seg.datasets.model_file import read_state, write_state
from voc_seg.metrics.confusion import class_iou, confusion_matrix, mean_iou, pixel_accuracy
from voc_seg.samples.augment import augment
from voc_seg.samples.batches import AugmentedCrops, epoch_order, training_batches
from voc_seg.samples.crops import draw_crop
from voc_seg.samples.paths import shards_folder
from voc_seg.samples.sharding import write_shards
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID
from voc_seg.voc.masks import decode_mask, palette_image

# The same examples on every run: a suite that fails at random is worse than one with fewer examples.
settings.register_profile("voc_seg", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("voc_seg")

LABELS = st.sampled_from([*range(21), VOID])
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
masks = SIZES.flatmap(lambda size: hnp.arrays(np.uint8, size, elements=LABELS, fill=st.nothing() | LABELS))
numbers = itertools.count()


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    height, width = draw(SIZES)
    pixels = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = np.array([*range(21), VOID], np.uint8)
    image = pixels.integers(0, 256, (height, width, 3), np.uint8)
    return Sample(draw(st.text(min_size=1)), image, pixels.choice(labels, (height, width)))


@st.composite
def augmentations(draw: st.DrawFn) -> AugmentationConfig:
    low, high = sorted(draw(st.tuples(st.floats(0.05, 20), st.floats(0.05, 20))))
    strength = draw(st.sampled_from(["none", "light", "standard", "strong"]))
    return AugmentationConfig(
        crop_size=draw(st.integers(64, 80)),
        scale=(low, high),
        flip=draw(st.floats(0, 1)),
        colour_jitter=draw(st.floats(0, 1)) if strength == "none" else 0.0,
        strength=strength,
        max_class_share=draw(st.floats(0.01, 1)),
        rare_crops=draw(st.floats(0, 1)),
        copy_paste=draw(st.floats(0, 1)),
        image_size=draw(st.none() | SIZES),
    )


class TestAugmentation:
    @given(samples(), augmentations(), st.integers(0, 2**32))
    def test_a_crop_has_its_size_and_no_label_but_the_samples(
        self, sample: Sample, config: AugmentationConfig, seed: int
    ) -> None:
        image, mask = augment(sample, config, np.random.default_rng(seed))
        side = config.crop_size
        assert (image.shape, image.dtype) == ((3, side, side), torch.uint8)
        assert (mask.shape, mask.dtype) == ((side, side), torch.uint8)
        assert set(mask.unique().tolist()) <= set(np.unique(sample.mask).tolist()) | {VOID}
        again = augment(sample, config, np.random.default_rng(seed))
        assert torch.equal(image, again[0]) and torch.equal(mask, again[1])

    @given(st.lists(samples(), min_size=2, max_size=3), augmentations(), st.integers(0, 2**32))
    @settings(max_examples=50)
    def test_no_label_but_those_of_the_two_samples(
        self, tmp_path_factory: pytest.TempPathFactory, split: list[Sample], config: AugmentationConfig, seed: int
    ) -> None:
        path = tmp_path_factory.getbasetemp() / f"property_{next(numbers)}.arrow"
        write_store(path, split)
        store = SampleStore(path)
        crops = AugmentedCrops.of(store, config.model_copy(update={"copy_paste": 1.0}), seed)
        plain = AugmentedCrops.of(store, config, seed)
        labels = set().union(*(np.unique(sample.mask).tolist() for sample in split))
        for one in (crops[0, 0], plain[0, 0]):
            assert set(one[1].unique().tolist()) <= labels | {VOID}

    @given(SIZES, augmentations(), st.integers(0, 2**32))
    def test_the_window_lies_in_the_image_and_the_target_in_the_crop(
        self, size: tuple[int, int], config: AugmentationConfig, seed: int
    ) -> None:
        crop = draw_crop(*size, config, np.random.default_rng(seed))
        for start, window, length in zip((crop.top, crop.left), crop.window, size):
            assert start >= 0 and window >= 1 and start + window <= length
        for offset, target in zip(crop.offset, crop.target):
            assert offset >= 0 and target >= 1 and offset + target <= config.crop_size


class TestStore:
    @given(st.lists(samples(), max_size=4))
    @settings(max_examples=30)
    def test_what_went_in_comes_out(self, tmp_path_factory: pytest.TempPathFactory, given_samples: list) -> None:
        path = tmp_path_factory.getbasetemp() / f"property_{next(numbers)}.arrow"
        assert write_store(path, given_samples) == len(given_samples)
        store = SampleStore(path)
        assert store.ids == [sample.id for sample in given_samples]
        for read, written in zip(store, given_samples):
            assert np.array_equal(read.image, written.image) and np.array_equal(read.mask, written.mask)

    @given(st.lists(samples(), min_size=1, max_size=6), st.integers(1, 7), st.integers(0, 7))
    @settings(max_examples=30)
    def test_shards_change_nothing(
        self, tmp_path_factory: pytest.TempPathFactory, given_samples: list, shard_images: int, interrupted_at: int
    ) -> None:
        path = tmp_path_factory.getbasetemp() / f"property_{next(numbers)}.arrow"
        cuts = range(0, len(given_samples), shard_images)
        parts = [ShardRange(given_samples[start : start + shard_images], start) for start in cuts]
        with contextlib.suppress(VocSegError):
            write_shards(path, [*parts[:interrupted_at], Broken([], "broken")])
        path.unlink(missing_ok=True)
        assert write_shards(path, parts) == len(given_samples)
        store = SampleStore(path)
        assert store.ids == [sample.id for sample in given_samples]
        for read, written in zip(store, given_samples):
            assert np.array_equal(read.image, written.image) and np.array_equal(read.mask, written.mask)
        assert len(list(shards_folder(path).iterdir())) == len(parts)


class ShardRange(list):
    """Samples of one shard."""

    nbytes = 0

    def __init__(self, samples: list[Sample], fingerprint: object) -> None:
        super().__init__(samples)
        self.origin = Origin(fingerprint=f"print {fingerprint}")


class Broken(ShardRange):
    """Samples that cannot be decoded."""

    def __iter__(self) -> Iterator[Sample]:
        raise VocSegError("broken")


class TestOrder:
    @given(st.integers(0, 500), st.integers(0, 2**32), st.integers(0, 1000))
    def test_an_epoch_has_every_sample_once(self, size: int, seed: int, epoch: int) -> None:
        assert sorted(epoch_order(size, seed, epoch)) == list(range(size))

    @given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 3))
    @settings(max_examples=20)
    def test_resuming_at_a_position_gives_the_rest_of_the_order(
        self, train_store: SampleStore, batch_size: int, batches: int, seed: int
    ) -> None:
        def ids(position: int) -> list[str]:
            config = AugmentationConfig(crop_size=64)
            found = training_batches(train_store, config, batch_size, seed, range(2, 4), position=position)
            return [name for batch in found for name in batch.ids]

        position = min(len(train_store), batches * batch_size)
        assert ids(position) == ids(0)[position:]


class TestPalette:
    @given(masks)
    def test_masks_survive_as_files(self, tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
        path = tmp_path_factory.getbasetemp() / f"property_{next(numbers)}.png"
        palette_image(mask).save(path)
        assert np.array_equal(decode_mask(path).indices, mask)

    @given(masks)
    def test_masks_survive_as_colours(self, tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
        path = tmp_path_factory.getbasetemp() / f"property_{next(numbers)}.png"
        palette_image(mask).convert("RGB").save(path)
        assert np.array_equal(decode_mask(path).indices, mask)
        assert Image.open(path).mode == "RGB"


class TestConfusion:
    @given(st.integers(2, 30), st.integers(0, 2**32), st.integers(1, 400))
    def test_it_is_scikit_learns_and_its_scores_stay_in_range(self, classes: int, seed: int, pixels: int) -> None:
        rng = np.random.default_rng(seed)
        truth = rng.choice(np.array([*range(classes), VOID], np.uint8), pixels)
        prediction = rng.integers(0, classes, pixels)
        found = confusion_matrix(torch.from_numpy(truth), torch.from_numpy(prediction), classes).numpy()
        known = truth != VOID
        if known.any():
            expected = sklearn_confusion(truth[known], prediction[known], labels=range(classes))
            assert np.array_equal(found, expected)
            assert 0 <= mean_iou(found) <= pixel_accuracy(found) * classes
        assert found.sum() == known.sum()
        assert np.isnan(class_iou(found)).sum() == (found.sum(0) + found.sum(1) == 0).sum()

    @given(st.integers(0, 2**32), st.integers(0, 100))
    def test_parts_add_up(self, seed: int, cut: int) -> None:
        rng = np.random.default_rng(seed)
        truth, prediction = (torch.from_numpy(rng.integers(0, 21, 100)) for _ in range(2))
        parts = sum(confusion_matrix(truth[part], prediction[part], 21) for part in (slice(cut), slice(cut, None)))
        assert torch.equal(parts, confusion_matrix(truth, prediction, 21))


plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text()
tensors = hnp.arrays(st.sampled_from([np.float32, np.int64, np.uint8]), hnp.array_shapes(min_dims=0, max_dims=3)).map(
    torch.from_numpy
)
nested = st.recursive(plain | tensors, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
states = st.dictionaries(st.text(), nested)


class TestCheckpointFile:
    @given(states)
    @settings(max_examples=25)
    def test_what_went_in_comes_out(self, tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
        path = tmp_path_factory.getbasetemp() / "property.pth"
        state = {"epoch": 1, "state": state}  # a file with only tensors counts as plain weights
        write_state(path, state)
        assert _comparable(read_state(path)) == _comparable(state)
        assert not Path(f"{path}.partial").exists()


def _comparable(value: Any) -> Any:
    """Tensors as their type and bytes, so that NaN equals itself and values can be compared whole."""
    if isinstance(value, torch.Tensor):
        file = io.BytesIO()
        np.save(file, value.numpy())
        return file.getvalue()
    if isinstance(value, dict):
        return {key: _comparable(entry) for key, entry in value.items()}
    return [_comparable(entry) for entry in value] if isinstance(value, list) else value
