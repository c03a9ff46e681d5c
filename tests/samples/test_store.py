"""The packed store: what went in comes out, byte for byte, and damage is told apart from data."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from voc_seg.errors import VocSegError
from voc_seg.samples.store import Sample, SampleStore, write_store


def _ids(store: SampleStore) -> list[str]:
    return [sample.id for sample in store]


@pytest.fixture
def path(tmp_path: Path, scene_samples: list[Sample]) -> Path:
    path = tmp_path / "new" / "folder" / "train.arrow"
    assert write_store(path, iter(scene_samples)) == len(scene_samples)
    return path


def test_round_trip_keeps_order_ids_shapes_and_bytes(path: Path, scene_samples: list[Sample]) -> None:
    store = SampleStore(path)
    assert len(store) == len(scene_samples)
    assert _ids(store) == [sample.id for sample in scene_samples]
    for read, written in zip(store, scene_samples):
        assert read.image.dtype == read.mask.dtype == np.uint8
        np.testing.assert_array_equal(read.image, written.image)
        np.testing.assert_array_equal(read.mask, written.mask)


def test_random_access_equals_iteration(path: Path) -> None:
    store = SampleStore(path)
    for index in (4, 0, 2):
        np.testing.assert_array_equal(store[index].image, list(store)[index].image)


def test_arrays_that_are_not_contiguous_are_packed_as_seen(tmp_path: Path, scene_samples: list[Sample]) -> None:
    mirrored = Sample("mirrored", scene_samples[0].image[:, ::-1], scene_samples[0].mask[:, ::-1])
    write_store(tmp_path / "a.arrow", [mirrored])
    np.testing.assert_array_equal(SampleStore(tmp_path / "a.arrow")[0].image, mirrored.image)


@pytest.mark.parametrize("index", [5, -1])
def test_an_index_outside_the_store_is_an_index_error(path: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"{index} of 5"):
        SampleStore(path)[index]


def test_views_are_read_only(path: Path) -> None:
    sample = SampleStore(path)[0]
    for array in (sample.image, sample.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_reading_copies_nothing(path: Path) -> None:
    store = SampleStore(path)
    assert np.shares_memory(store[1].image, store[1].image)
    assert np.shares_memory(store[1].mask, store[1].mask)


def test_views_outlive_their_store(path: Path, scene_samples: list[Sample]) -> None:
    sample = SampleStore(path)[1]
    np.testing.assert_array_equal(sample.image, scene_samples[1].image)


def test_pickles_as_its_path(path: Path) -> None:
    store = SampleStore(path)
    packed = pickle.dumps(store)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert _ids(again) == _ids(store)
    np.testing.assert_array_equal(again[3].mask, store[3].mask)


def test_an_empty_store_has_length_zero(empty_store: SampleStore) -> None:
    assert len(empty_store) == 0
    assert list(empty_store) == []


def test_a_missing_store_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match=r"nowhere\.arrow.*kedro run --pipelines data_processing"):
        SampleStore(tmp_path / "nowhere.arrow")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99])
def test_a_truncated_store_says_so(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(VocSegError, match=r"train\.arrow is not a complete sample store.*data_processing"):
        SampleStore(path)


def test_an_interrupted_write_leaves_the_old_store(path: Path, scene_samples: list[Sample]) -> None:
    def interrupted() -> Iterator[Sample]:
        yield scene_samples[0]
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_store(path, interrupted())
    assert path.read_bytes() == before
    assert list(path.parent.glob("[!.]*")) == [path]  # what was written may have filled the disk
    # and the next write goes through
    write_store(path, scene_samples[:1])
    assert len(SampleStore(path)) == 1
    assert [file.name for file in path.parent.glob("[!.]*")] == ["train.arrow"]


def test_two_writers_do_not_mix(path: Path, scene_samples: list[Sample]) -> None:
    def while_another_writes() -> Iterator[Sample]:
        with pytest.raises(VocSegError, match=r"Another process is writing .*train\.arrow"):
            write_store(path, scene_samples[:2])
        yield scene_samples[4]

    write_store(path, while_another_writes())
    assert _ids(SampleStore(path)) == [scene_samples[4].id]


def test_an_image_and_a_mask_of_different_sizes_are_not_packed(path: Path, scene_samples: list[Sample]) -> None:
    first = scene_samples[0]
    with pytest.raises(VocSegError, match=rf"{first.id}: image .* and mask .* differ"):
        write_store(path, [Sample(first.id, first.image, first.mask[1:])])
    assert len(SampleStore(path)) == len(scene_samples)
