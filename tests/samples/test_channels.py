"""Samples of other channels than RGB: the store, augmentation and normalisation."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from voc_seg.config import AugmentationConfig, ModelInput
from voc_seg.samples.arrow_file import Origin
from voc_seg.samples.augment import augment
from voc_seg.samples.batches import normalise, training_batches
from voc_seg.samples.colours import jitter_colours
from voc_seg.samples.sharding import write_shards
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.system.errors import VocSegError

CHANNELS = (1, 2, 4, 6)


def sample(channels: int, name: str = "a", height: int = 20, width: int = 30) -> Sample:
    rng = np.random.default_rng(channels)
    image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Sample(name, image, rng.integers(0, 3, (height, width), dtype=np.uint8))


@pytest.mark.parametrize("channels", CHANNELS)
def test_the_store_keeps_every_band(tmp_path: Path, channels: int) -> None:
    written = [sample(channels, name) for name in "abc"]
    origin = Origin(channels=channels, mean=(0.25,) * channels, std=(0.1,) * channels)
    write_store(tmp_path / "s.arrow", written, origin)
    store = SampleStore(tmp_path / "s.arrow")
    store.require_intact()
    assert store.origin == origin
    for found, expected in zip(store, written):
        np.testing.assert_array_equal(found.image, expected.image)
        assert found.displayed.shape == (20, 30, 3)
    with pytest.raises(VocSegError, match="a: image"):
        write_store(tmp_path / "t.arrow", written, Origin(channels=channels + 1))


def test_a_store_of_rgb_is_the_one_of_earlier_versions(tmp_path: Path) -> None:
    write_store(tmp_path / "s.arrow", [sample(3)], Origin("own", "/data", ("a", "b"), "print", "how"))
    with pa.memory_map(str(tmp_path / "s.arrow")) as file:
        metadata = pa.ipc.open_file(file).schema.metadata
    assert json.loads(metadata[b"origin"]).keys() == {"source", "folder", "classes", "fingerprint", "reading"}
    assert SampleStore(tmp_path / "s.arrow").origin.channels == 3


def test_shards_keep_every_band(tmp_path: Path) -> None:
    class Part(list):
        origin, nbytes = Origin(channels=4), 1000

    whole = Origin(channels=4, mean=(0.5,) * 4, std=(0.5,) * 4)
    write_shards(tmp_path / "s.arrow", [Part([sample(4, "a")]), Part([sample(4, "b")])], whole)
    store = SampleStore(tmp_path / "s.arrow")
    assert (store.origin, len(store.shards)) == (whole, 2)
    np.testing.assert_array_equal(store[1].image, sample(4).image)


@pytest.mark.parametrize("channels", CHANNELS)
def test_bands_are_augmented_alike(channels: int) -> None:
    config = AugmentationConfig(crop_size=64, scale=(0.7, 1.5), flip=0.5)
    one = sample(channels)
    same = Sample("a", np.repeat(one.image[..., :1], channels, -1), one.mask)
    for seed in range(5):
        image, mask = augment(same, config, np.random.default_rng(seed), (0.2,) * channels)
        assert image.shape == (channels, 64, 64)
        assert image.permute(1, 2, 0).is_contiguous()
        assert (image == image[:1]).all()
        assert (image[:, mask == 255] == 51).all()  # outside: 0.2 * 255
        rgb, _ = augment(Sample("a", np.repeat(one.image[..., :1], 3, -1), one.mask), config,
                         np.random.default_rng(seed), (0.2,) * 3)  # fmt: skip
        assert torch.equal(image[0], rgb[0])


@pytest.mark.parametrize("channels", CHANNELS)
def test_jitter_changes_brightness_and_contrast_of_all_and_saturation_of_three(channels: int) -> None:
    image = torch.from_numpy(sample(channels).image).permute(2, 0, 1)
    brightness, saturation, contrast = np.random.default_rng(1).uniform(0.6, 1.4, 3)
    expected = image.double() * brightness
    if channels >= 3:
        grey = expected[:3].mean(0)
        expected[:3] = grey + saturation * (expected[:3] - grey)
    expected = expected.mean() + contrast * (expected - expected.mean())
    found = jitter_colours(image, 0.4, np.random.default_rng(1))
    assert (found.double() - expected.clamp(0, 255)).abs().max() <= 0.501


def test_normalise_uses_the_channels_statistics() -> None:
    images = torch.tensor([0, 51, 255, 102], dtype=torch.uint8).reshape(1, 4, 1, 1).repeat(1, 1, 2, 3)
    found = normalise(images, ModelInput((0.0, 0.2, 0.5, 0.2), (1.0, 0.5, 0.25, 0.1)))
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found[0, :, 1, 2], torch.tensor([0.0, 0.0, 2.0, 2.0]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_have_the_channels_of_the_store(tmp_path: Path, workers: int) -> None:
    write_store(tmp_path / "s.arrow", [sample(4, "a"), sample(4, "b")], Origin(channels=4))
    config = AugmentationConfig(crop_size=64, flip=0)
    batches = list(
        training_batches(SampleStore(tmp_path / "s.arrow"), config, 2, 0, range(1), workers, mean=(0.2,) * 4)
    )
    assert [batch.images.shape for batch in batches] == [(2, 4, 64, 64)]
    assert (batches[0].images.permute(0, 2, 3, 1)[batches[0].targets == 255] == 51).all()
    empty = training_batches(
        SampleStore(tmp_path / "s.arrow"), config, 1, 0, range(1), rank=1, ranks=2, mean=(0.2,) * 4
    )
    assert next(empty).images.shape == (0, 4, 64, 64)
