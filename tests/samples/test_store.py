"""The packed store: samples are read back byte for byte, and damage is detected."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from voc_seg.samples.arrow_file import IncompleteStoreError
from voc_seg.samples.intact import record_intact, stamps_of
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES, Classes, name_classes
from voc_seg.voc.pairs import Reading


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


def test_content_is_that_of_the_samples_wherever_they_lie(path: Path, scene_samples: list[Sample]) -> None:
    again = path.with_name("again.arrow")
    write_store(again, scene_samples, Origin("own", "elsewhere"))
    assert SampleStore(again).content == SampleStore(path).content != ""
    first = scene_samples[0]
    mask = first.mask.copy()
    mask[0, 0] ^= 1
    for other in ([Sample(first.id, first.image, mask), *scene_samples[1:]], scene_samples[::-1], scene_samples[1:]):
        write_store(again, other)
        assert SampleStore(again).content != SampleStore(path).content


def test_a_sample_that_changed_on_the_disk_is_named(path: Path, scene_samples: list[Sample]) -> None:
    SampleStore(path).require_intact()
    whole, mask = path.read_bytes(), scene_samples[2].mask.tobytes()
    at = whole.index(mask) + len(mask) // 2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(IncompleteStoreError, match=rf"train\.arrow.*{scene_samples[2].id}.*has changed"):
        SampleStore(path).require_intact()
    path.write_bytes(whole)
    SampleStore(path).require_intact()


def test_samples_are_not_read_again_while_their_file_stays_as_it_is(path: Path, monkeypatch) -> None:
    read = []
    monkeypatch.setattr("voc_seg.samples.shard.checksum", lambda name, *_: read.append(name))
    SampleStore(path).require_intact()
    assert not read
    path.touch()
    with pytest.raises(IncompleteStoreError):
        SampleStore(path).require_intact()
    assert read


def damage_unseen(file: Path, old: bytes, new: bytes) -> None:
    """Change bytes without changing the note that the samples were verified."""
    whole = file.read_bytes()
    assert whole.count(old) == 1
    file.write_bytes(whole.replace(old, new))
    note = file.with_name(f".{file.name}.intact.json")
    if note.exists():
        record_intact(file, stamps_of([file]))


@pytest.fixture
def own(tmp_path: Path, scene_samples: list[Sample]) -> Path:
    """A store that records the classes of its samples."""
    path = tmp_path / "own.arrow"
    write_store(path, scene_samples, Origin("own", "", CLASS_NAMES, "f"))
    return path


def test_a_sample_with_labels_that_are_no_class_is_compared_with_its_checksum(
    own: Path, scene_samples: list[Sample]
) -> None:
    mask = scene_samples[2].mask.tobytes()
    damage_unseen(own, mask, mask[:-1] + b"\xc8")
    store = SampleStore(own)
    store.require_intact()  # the damage is not known yet
    assert store[0].id == scene_samples[0].id
    message = rf"own\.arrow.*sample 2, '{scene_samples[2].id}', has changed since .*data_processing"
    with pytest.raises(IncompleteStoreError, match=message):
        store[2]
    with pytest.raises(IncompleteStoreError, match="has changed"):  # data_processing now finds it
        SampleStore(own).require_intact()


def test_labels_that_are_no_class_in_a_store_without_checksums(
    own: Path, scene_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = scene_samples[2].mask.tobytes()
    damage_unseen(own, mask, mask[:-1] + b"\xc8")
    monkeypatch.setattr("voc_seg.samples.shard.Shard._written", lambda *_: None)
    with pytest.raises(IncompleteStoreError, match=r"has the label 200, but there are 21 classes\)\. Delete"):
        SampleStore(own)[2]


def test_a_sample_damaged_while_the_store_is_in_use_is_named(own: Path, scene_samples: list[Sample]) -> None:
    store = SampleStore(own)
    assert list(store)
    image = scene_samples[3].image.tobytes()
    with own.open("r+b") as file:
        file.seek(own.read_bytes().index(image))
        file.write(bytes([image[0] ^ 4]))
    assert store[2].id == scene_samples[2].id
    with pytest.raises(IncompleteStoreError, match=rf"own\.arrow.*sample 3, '{scene_samples[3].id}', has changed"):
        store[3]


def test_a_file_that_is_deleted_or_replaced_while_it_is_in_use_stays_as_it_was(
    own: Path, scene_samples: list[Sample]
) -> None:
    store = SampleStore(own)
    assert store[0].id == scene_samples[0].id
    write_store(own, scene_samples[:1])
    np.testing.assert_array_equal(store[4].image, scene_samples[4].image)
    own.unlink()
    np.testing.assert_array_equal(store[3].mask, scene_samples[3].mask)


CUT = """
import os, sys
from pathlib import Path
import numpy as np
from voc_seg.samples.arrow_file import IncompleteStoreError
from voc_seg.samples.store import Sample, SampleStore, write_store

path = Path(sys.argv[1])
zeros = np.zeros((200, 200, 3), np.uint8)
write_store(path, [Sample(f"s{n}", zeros, zeros[..., 0]) for n in range(3)])
store = SampleStore(path)
store[0]
os.truncate(path, 4096)
uses = [lambda: store[2], lambda: store[0], lambda: store.ids, lambda: store.content, store.shards[0].require_intact]
for use in uses:
    try:
        use()
    except IncompleteStoreError as error:
        assert "a.arrow" in str(error) and "to 4096 bytes while" in str(error), error
        assert "data_processing" in str(error), error
    else:
        raise SystemExit("it was not noticed")
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows cuts no file that is mapped")
def test_a_file_that_is_cut_while_it_is_in_use_does_not_end_the_process(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", CUT, tmp_path / "a.arrow"], capture_output=True, text=True)
    assert ended.returncode == 0, ended


FLIPS = """
import random, sys
from pathlib import Path
import numpy as np
from voc_seg.samples.arrow_file import IncompleteStoreError
from voc_seg.samples.store import Sample, SampleStore, write_store

path = Path(sys.argv[1])
random_ = np.random.default_rng(0)
samples = [
    Sample(f"s{w}", random_.integers(0, 255, (3, w, 3), np.uint8), random_.integers(0, 20, (3, w), np.uint8))
    for w in (4, 5, 6)
]
write_store(path, samples)
whole = path.read_bytes()
flips = [(place, bit) for place in range(len(whole)) for bit in (1, 128, 255)]
found = 0
for place, bit in random.Random(0).sample(flips, 700):
    changed = bytearray(whole)
    changed[place] ^= bit
    path.write_bytes(changed)
    try:
        store = SampleStore(path)
        list(store), store.ids, store.content, store.origin
        store.require_intact()
    except IncompleteStoreError as error:
        assert str(path) in str(error) and "data_processing" in str(error), error
        found += 1
        continue
    assert len(store) == len(samples), (place, bit)
    for read, written in zip(store, samples):
        assert read.id == written.id, (place, bit)
        assert np.array_equal(read.image, written.image) and np.array_equal(read.mask, written.mask), (place, bit)
assert found > 250
"""


def test_no_flipped_bit_ends_the_process_or_passes_for_another_sample(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FLIPS, tmp_path / "a.arrow"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_samples_that_were_read_with_other_settings_are_refused(tmp_path, scene_samples):
    names = ("background", "cat")
    classes = name_classes(names)
    packed = Reading(classes, longer_side=96)
    write_store(tmp_path / "s.arrow", scene_samples, Origin("own", "", names, "f", packed.settings))
    store = SampleStore(tmp_path / "s.arrow")
    store.require_reading(packed)
    merged = Classes(names, classes.colours, coded=False, values=((255, 1),))
    for other in (Reading(classes), Reading(merged, longer_side=96), Reading(classes, "apply", 96)):
        with pytest.raises(VocSegError, match=r"was packed with data\.values=\{\}, .*longer_side=96; this run has"):
            store.require_reading(other)
    write_store(tmp_path / "old.arrow", scene_samples, Origin("own", "", names, "f"))  # of an earlier version
    SampleStore(tmp_path / "old.arrow").require_reading(packed)
