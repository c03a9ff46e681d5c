"""The catalog entry of packed samples."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from voc_seg.datasets import OptionalSampleStoreDataset, SampleStoreDataset
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.paths import shards_folder
from voc_seg.samples.store import Origin, Sample, SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.index import fingerprint_of
from voc_seg.voc.splits import VOCSplit


class Samples(list):
    """Samples with a known origin; counts how often they are decoded."""

    def __init__(
        self, samples: list[Sample], source: str = "", fingerprint: str = "", folder: str = "", shard_images: int = 100
    ) -> None:
        super().__init__(samples)
        self.origin = Origin(source, folder, ("background", "cat"), fingerprint)
        self.nbytes = 0
        self.asked = 0
        cuts = range(0, len(samples), shard_images) if len(samples) > shard_images else ()
        self.parts = [Samples(samples[n : n + shard_images], source, f"{fingerprint}{n}", folder) for n in cuts]

    def __iter__(self) -> Iterator[Sample]:
        self.asked += 1
        return super().__iter__()

    def split_into_shards(self) -> list["Samples"]:
        return self.parts or [self]


@pytest.fixture
def dataset(tmp_path: Path) -> SampleStoreDataset:
    return SampleStoreDataset(filepath=str(tmp_path / "05_model_input" / "train_samples.arrow"))


def test_a_stream_goes_in_and_a_store_comes_out(dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
    assert not dataset.exists()
    dataset.save(Samples(scene_samples))
    assert dataset.exists()
    store = dataset.load()
    assert isinstance(store, SampleStore)
    assert [sample.id for sample in store] == [sample.id for sample in scene_samples]
    np.testing.assert_array_equal(store[4].mask, scene_samples[4].mask)


def test_a_failed_save_leaves_the_old_store(dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
    class Failing(Samples):
        def __iter__(self) -> Iterator[Sample]:
            yield scene_samples[1]
            raise OSError("disk on fire")

    dataset.save(Samples(scene_samples[:1]))
    with pytest.raises(DatasetError, match=r"Could not write .*train_samples\.arrow: disk on fire.*is untouched"):
        dataset.save(Failing([]))
    assert [sample.id for sample in dataset.load()] == [scene_samples[0].id]


def test_an_error_of_the_store_reaches_the_user(dataset: SampleStoreDataset) -> None:
    with pytest.raises(DatasetError, match="kedro run --pipelines data_processing") as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, VocSegError)


def test_samples_of_another_source_are_refused(tmp_path: Path, scene_samples: list[Sample]) -> None:
    path = str(tmp_path / "train_samples.arrow")
    SampleStoreDataset(filepath=path, source="sample").save(Samples(scene_samples[:1], "sample"))
    assert SampleStoreDataset(filepath=path, source="sample").load().origin.source == "sample"
    with pytest.raises(DatasetError, match="holds samples of 'sample', but this run is about 'voc2012'"):
        SampleStoreDataset(filepath=path, source="voc2012").load()


def test_it_takes_metadata_for_the_catalog() -> None:
    dataset = SampleStoreDataset(filepath="a.arrow", metadata={"kedro-viz": {"layer": "model_input"}})
    assert dataset.metadata == {"kedro-viz": {"layer": "model_input"}}
    assert "a.arrow" in str(dataset)


def test_the_same_files_are_not_packed_again(dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
    dataset.save(Samples(scene_samples, fingerprint="f"))
    again = Samples(scene_samples, fingerprint="f")
    dataset.save(again)
    assert again.asked == 0


@pytest.mark.parametrize(
    ("count", "source", "fingerprint"), [(5, "", "g"), (4, "", "f"), (5, "voc2012", "f"), (5, "", "")]
)
def test_other_files_are(
    dataset: SampleStoreDataset, scene_samples: list[Sample], count: int, source: str, fingerprint: str
) -> None:
    dataset.save(Samples(scene_samples, fingerprint="f"))
    again = Samples(scene_samples[:count], source, fingerprint)
    dataset.save(again)
    assert again.asked == 1


def test_a_damaged_store_is_packed_again(
    dataset: SampleStoreDataset, scene_samples: list[Sample], tmp_path: Path
) -> None:
    dataset.save(Samples(scene_samples, fingerprint="f"))
    path = tmp_path / "05_model_input" / "train_samples.arrow"
    path.write_bytes(path.read_bytes()[:-20])
    dataset.save(Samples(scene_samples, fingerprint="f"))
    assert len(dataset.load()) == len(scene_samples)


class TestShards:
    def test_many_samples_go_into_shards(self, dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
        dataset.save(Samples(scene_samples, fingerprint="f", shard_images=2))
        store = dataset.load()
        assert [sample.id for sample in store] == store.ids == [sample.id for sample in scene_samples]
        assert [len(shard) for shard in store.shards] == [2, 2, 1]

    def test_images_that_are_left_out_at_the_end_are(
        self, dataset: SampleStoreDataset, scene_samples: list[Sample]
    ) -> None:
        dataset.save(Samples(scene_samples, fingerprint="f", shard_images=2))
        fewer = Samples(scene_samples[:4], fingerprint="f", shard_images=2)
        dataset.save(fewer)
        assert [part.asked for part in fewer.parts] == [0, 0]
        assert dataset.load().ids == [sample.id for sample in scene_samples[:4]]

    def test_the_origin_is_that_of_the_last_save(
        self, dataset: SampleStoreDataset, scene_samples: list[Sample]
    ) -> None:
        dataset.save(Samples(scene_samples, fingerprint="f", shard_images=2))
        same = Samples(scene_samples, fingerprint="f", shard_images=2)
        same.origin = Origin("", "", ("background", "cat"), "another whole of the same parts")
        dataset.save(same)
        assert dataset.load().origin == same.origin

    def test_they_are_not_packed_again(self, dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
        dataset.save(Samples(scene_samples, fingerprint="f", shard_images=2))
        again = Samples(scene_samples, fingerprint="f", shard_images=2)
        dataset.save(again)
        assert [part.asked for part in again.parts] == [0, 0, 0]

    @pytest.mark.parametrize(("before", "after"), [(100, 2), (2, 100), (2, 3)])
    def test_another_shard_size_packs_again(
        self, dataset: SampleStoreDataset, scene_samples: list[Sample], before: int, after: int
    ) -> None:
        for shard_images in (before, after):
            dataset.save(Samples(scene_samples, fingerprint=f"{shard_images}x", shard_images=shard_images))
        store = dataset.load()
        assert len(store.shards) == -(-len(scene_samples) // after)
        assert [sample.id for sample in store] == [sample.id for sample in scene_samples]
        assert shards_folder(store.path).is_dir() == (after < 100)

    @pytest.mark.parametrize("how", ["missing", "cut off", "overwritten"])
    def test_a_damaged_shard_alone_is_packed_again(
        self, dataset: SampleStoreDataset, scene_samples: list[Sample], how: str
    ) -> None:
        dataset.save(Samples(scene_samples, fingerprint="f", shard_images=2))
        shard = dataset.load().shards[1].path
        if how == "missing":
            shard.unlink()
        else:
            whole = shard.read_bytes()
            shard.write_bytes(whole[:-20] if how == "cut off" else whole[:-20] + bytes(20))
        again = Samples(scene_samples, fingerprint="f", shard_images=2)
        dataset.save(again)
        assert [part.asked for part in again.parts] == [0, 1, 0]
        np.testing.assert_array_equal(dataset.load()[3].image, scene_samples[3].image)

    def test_what_an_abandoned_pack_has_left_is_deleted(
        self, dataset: SampleStoreDataset, scene_samples: list[Sample]
    ) -> None:
        samples = Samples(scene_samples, fingerprint="f", shard_images=2)
        dataset.save(samples)
        folder = shards_folder(dataset.load().path)
        (folder / "00000-other.arrow").write_bytes(b"of other files")
        dataset.save(samples)
        assert len(list(folder.iterdir())) == 3


def test_samples_of_other_classes_are_refused(dataset: SampleStoreDataset, scene_samples: list[Sample]) -> None:
    dataset.save(Samples(scene_samples))
    dataset.load().require_classes(("background", "cat"))
    with pytest.raises(VocSegError, match=r"packed for the 2 classes background, cat; this run has the 1 classes dog"):
        dataset.load().require_classes(("dog",))


def test_samples_from_another_folder_are_refused(tmp_path: Path, scene_samples: list[Sample]) -> None:
    path = str(tmp_path / "train_samples.arrow")
    devkit = tmp_path / "cracks"
    samples = Samples(scene_samples[:1], "own", folder=str(devkit / "JPEGImages"))
    SampleStoreDataset(filepath=path, source="own").save(samples)
    assert len(SampleStoreDataset(filepath=path, source="own", voc_root=str(devkit)).load()) == 1
    with pytest.raises(DatasetError, match=r"samples of .*cracks/JPEGImages, but voc_root of this run is .*leaves"):
        SampleStoreDataset(filepath=path, source="own", voc_root=str(tmp_path / "leaves")).load()


def test_links_below_voc_root_lead_to_its_samples(tmp_path: Path, scene_samples: list[Sample]) -> None:
    real, linked = tmp_path / "disk" / "VOC2012", tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    (real / "JPEGImages").mkdir(parents=True)
    linked.parent.mkdir(parents=True)
    linked.symlink_to(real)
    path = str(tmp_path / "train_samples.arrow")
    dataset = SampleStoreDataset(filepath=path, source="voc2012", voc_root=str(tmp_path / "voc"))
    dataset.save(Samples(scene_samples[:1], "voc2012", folder=str(real / "JPEGImages")))
    assert len(dataset.load()) == 1


def test_a_broken_index_names_the_next_step(tmp_path: Path, scene_samples: list[Sample]) -> None:
    index = tmp_path / "index.parquet"
    index.write_bytes(b"PAR1")
    dataset = SampleStoreDataset(filepath=str(tmp_path / "samples.arrow"), index={"filepath": str(index)})
    dataset.save(Samples(scene_samples[:1]))
    with pytest.raises(DatasetError, match=r"index\.parquet cannot be read: .*Rebuild it with: kedro run"):
        dataset.load()


def test_samples_older_than_the_index_are_refused(tmp_path: Path, scene_samples: list[Sample]) -> None:
    index = pd.DataFrame({"image_id": ["a", "b"], "rejected": ["", "empty image"], "fingerprint": ["1", "2"]})
    index.to_parquet(tmp_path / "index.parquet")
    dataset = SampleStoreDataset(
        filepath=str(tmp_path / "train_samples.arrow"), index={"filepath": str(tmp_path / "index.parquet")}
    )
    dataset.save(Samples(scene_samples[:1], fingerprint=fingerprint_of(index[:1])))
    assert len(dataset.load()) == 1
    store = dataset.load()
    pd.testing.assert_frame_equal(store.read_index(), index)
    assert pickle.loads(pickle.dumps(store)).read_index is None
    index.assign(fingerprint="3").to_parquet(tmp_path / "index.parquet")
    with pytest.raises(DatasetError, match=r"is older than .*index\.parquet: .*did not finish packing them\. Run it"):
        dataset.load()
    (tmp_path / "index.parquet").unlink()
    assert len(dataset.load()) == 1


def test_a_split_without_images_is_loaded_and_not_saved_twice(tmp_path: Path) -> None:
    index = pd.DataFrame({"image_id": [], "rejected": [], "fingerprint": []}, dtype=str)
    index.to_parquet(tmp_path / "index.parquet")
    path = tmp_path / "test_samples.arrow"
    dataset = SampleStoreDataset(filepath=str(path), index={"filepath": str(tmp_path / "index.parquet")})
    none = DecodedSamples(VOCSplit("test", "", (), tmp_path, tmp_path), ())
    dataset.save(none)
    assert len(dataset.load()) == 0
    before = path.stat().st_ino
    dataset.save(none)
    assert path.stat().st_ino == before


def test_the_preview_shows_pictures_beside_their_masks(
    dataset: SampleStoreDataset, scene_samples: list[Sample], decoded: Callable
) -> None:
    dataset.save(Samples(scene_samples))
    sheet = decoded(dataset.preview(images=3))
    assert sheet.width == 4 * 180 + 3 * 6
    colours = [len(sheet.crop((left, 0, left + 180, 60)).getcolors(60 * 180)) for left in (0, 186)]
    assert colours[0] > 1000 > 22 >= colours[1]


@pytest.mark.parametrize("shard_images", [2, 100])
def test_a_sample_that_changed_on_the_disk_is_refused_and_then_packed_anew(
    dataset: SampleStoreDataset, scene_samples: list[Sample], shard_images: int
) -> None:
    def samples() -> Samples:
        return Samples(scene_samples, fingerprint="f", shard_images=shard_images)

    dataset.save(samples())
    content = dataset.load().content
    file = dataset.load().shards[0].path
    whole, mask = file.read_bytes(), scene_samples[1].mask.tobytes()
    at = whole.index(mask)
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DatasetError, match=rf"{file.name}.*{scene_samples[1].id}.*data_processing"):
        dataset.load()
    dataset.save(samples())
    np.testing.assert_array_equal(dataset.load()[1].mask, scene_samples[1].mask)
    assert dataset.load().content == content


def test_optional_samples_are_none_with_the_reason_where_they_cannot_be_used(
    tmp_path: Path, scene_samples: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "val_samples.arrow")
    dataset = OptionalSampleStoreDataset(filepath=path)
    assert dataset.IS_OPTIONAL and not dataset.exists()
    assert dataset.load() is None
    SampleStoreDataset(filepath=path).save(Samples(scene_samples))
    assert len(dataset.load()) == len(scene_samples)
    assert OptionalSampleStoreDataset(filepath=path, source="voc2012").load() is None
    assert "val_samples.arrow is not used" in caplog.text and "but this run is about 'voc2012'" in caplog.text
    with pytest.raises(DatasetError, match="is written by another entry"):
        dataset.save(Samples([]))
