"""The catalog entry of packed samples."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from voc_seg.datasets import SampleStoreDataset
from voc_seg.errors import VocSegError
from voc_seg.samples.store import Sample, SampleStore


@pytest.fixture
def dataset(tmp_path: Path) -> SampleStoreDataset:
    return SampleStoreDataset(filepath=str(tmp_path / "05_model_input" / "train_samples.arrow"))


def test_a_stream_goes_in_and_a_store_comes_out(dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
    assert not dataset.exists()
    dataset.save(iter(scene_samples))
    assert dataset.exists()
    store = dataset.load()
    assert isinstance(store, SampleStore)
    assert [sample.id for sample in store] == [sample.id for sample in scene_samples]
    np.testing.assert_array_equal(store[4].mask, scene_samples[4].mask)


def test_a_failed_save_leaves_the_old_store(dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
    def failing() -> Iterator[Sample]:
        yield scene_samples[1]
        raise OSError("disk on fire")

    dataset.save(scene_samples[:1])
    with pytest.raises(DatasetError, match="disk on fire"):
        dataset.save(failing())
    assert [sample.id for sample in dataset.load()] == [scene_samples[0].id]


def test_an_error_of_the_store_reaches_the_user(dataset: SampleStoreDataset) -> None:
    with pytest.raises(DatasetError, match="kedro run --pipelines data_processing") as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, VocSegError)


def test_samples_of_another_source_are_refused(tmp_path: Path, scene_samples: list[Sample]) -> None:
    path = str(tmp_path / "train_samples.arrow")
    SampleStoreDataset(filepath=path, source="sample").save(scene_samples[:1])
    assert SampleStoreDataset(filepath=path, source="sample").load().source == "sample"
    with pytest.raises(DatasetError, match="holds samples of 'sample', but this run is about 'voc2012'"):
        SampleStoreDataset(filepath=path, source="voc2012").load()


def test_it_takes_metadata_for_the_catalog() -> None:
    dataset = SampleStoreDataset(filepath="a.arrow", metadata={"kedro-viz": {"layer": "model_input"}})
    assert dataset.metadata == {"kedro-viz": {"layer": "model_input"}}
    assert "a.arrow" in str(dataset)
