"""Stores of several shards: always the same samples, whatever interrupts writing or damages a file."""

import errno
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from voc_seg.config import AugmentationConfig
from voc_seg.samples.arrow_file import IDS, IncompleteStoreError
from voc_seg.samples.batches import training_batches
from voc_seg.samples.paths import shards_folder
from voc_seg.samples.sharding import delete_unlisted_shards, write_shards
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store
from voc_seg.system.atomic import SCRATCH, partial_path
from voc_seg.system.errors import VocSegError


class ShardRange(list):
    """Samples of one shard; ``asked`` counts those decoded, and the disk fails before ``fails_at``."""

    def __init__(self, samples: list[Sample], fingerprint: str, fails_at: int | None = None) -> None:
        super().__init__(samples)
        self.origin = Origin("own", "", ("background", "cat"), fingerprint)
        self.nbytes = sum(sample.image.nbytes + sample.mask.nbytes for sample in samples)
        self.fails_at = fails_at
        self.asked = 0

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__()):
            if number == self.fails_at:
                raise KeyboardInterrupt
            self.asked += 1
            yield sample


def network_boxes(samples: list[Sample], size: int, name: str = "f") -> list[ShardRange]:
    return [ShardRange(samples[start : start + size], f"{name}{start}") for start in range(0, len(samples), size)]


def tiny(count: int) -> list[Sample]:
    """Samples of one to three pixels, all different."""
    return [
        Sample(f"{n:05d}", np.full((1, 1 + n % 3, 3), n % 251, np.uint8), np.full((1, 1 + n % 3), n % 21, np.uint8))
        for n in range(count)
    ]


@pytest.fixture
def path(tmp_path: Path, scene_samples: list[Sample]) -> Path:
    """Five samples in shards of two, two and one."""
    path = tmp_path / "new" / "train_samples.arrow"
    assert write_shards(path, network_boxes(scene_samples, 2), Origin("own", "", ("background", "cat"), "all")) == 5
    return path


def names(path: Path) -> list[str]:
    return sorted(found.name for found in shards_folder(path).iterdir())


class TestReading:
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
    def test_the_same_samples_in_the_same_order_as_one_file(
        self, tmp_path: Path, scene_samples: list[Sample], size: int
    ) -> None:
        write_store(tmp_path / "one.arrow", scene_samples)
        write_shards(tmp_path / "many.arrow", network_boxes(scene_samples, size))
        one, many = SampleStore(tmp_path / "one.arrow"), SampleStore(tmp_path / "many.arrow")
        assert len(many) == len(one) == 5
        assert many.content == one.content != ""
        assert many.ids == one.ids == [sample.id for sample in scene_samples]
        for index in (4, 0, 2, 1, 3):
            assert many[index].id == one[index].id
            np.testing.assert_array_equal(many[index].image, one[index].image)
            np.testing.assert_array_equal(many[index].mask, one[index].mask)

    def test_origin_and_classes_are_those_of_the_whole(self, path: Path) -> None:
        assert SampleStore(path).origin == Origin("own", "", ("background", "cat"), "all")
        with pytest.raises(VocSegError, match="packed for the 2 classes"):
            SampleStore(path).require_classes(("dog",))

    @pytest.mark.parametrize("index", [5, -1])
    def test_an_index_outside_the_store_is_an_index_error(self, path: Path, index: int) -> None:
        with pytest.raises(IndexError, match=f"{index} of 5"):
            SampleStore(path)[index]

    def test_only_the_shard_that_is_needed_is_opened(self, path: Path, scene_samples: list[Sample]) -> None:
        store = pickle.loads(pickle.dumps(SampleStore(path)))
        for number in (0, 2):
            store.shards[number].path.unlink()
        assert store.ids == [sample.id for sample in scene_samples]
        np.testing.assert_array_equal(store[3].image, scene_samples[3].image)
        with pytest.raises(VocSegError, match=r"No shard of train_samples\.arrow at .*00002-f4\.arrow\. Make it with"):
            store[4]

    def test_views_are_read_only_and_outlive_their_store(self, path: Path, scene_samples: list[Sample]) -> None:
        sample = SampleStore(path)[2]
        np.testing.assert_array_equal(sample.image, scene_samples[2].image)
        with pytest.raises(ValueError, match="read-only"):
            sample.image[0, 0] = 1

    def test_it_pickles_as_its_path(self, path: Path) -> None:
        assert len(pickle.dumps(SampleStore(path))) < 1000

    @pytest.mark.parametrize("workers", [0, 2])
    def test_batches_are_those_of_one_file(
        self, path: Path, tmp_path: Path, scene_samples: list[Sample], workers: int
    ) -> None:
        write_store(tmp_path / "one.arrow", scene_samples)
        config = AugmentationConfig(crop_size=64)
        one = training_batches(SampleStore(tmp_path / "one.arrow"), config, 2, 0, range(2))
        many = training_batches(SampleStore(path), config, 2, 0, range(2), workers=workers)
        for batch, expected in zip(many, one, strict=True):
            assert batch.ids == expected.ids
            np.testing.assert_array_equal(batch.images, expected.images)
            np.testing.assert_array_equal(batch.targets, expected.targets)

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors as Linux lists them")
    def test_many_shards_take_no_descriptors(self, tmp_path: Path) -> None:
        samples = tiny(400)
        write_shards(tmp_path / "a.arrow", [ShardRange([sample], sample.id) for sample in samples])
        before = len(list(Path("/proc/self/fd").iterdir()))
        store = SampleStore(tmp_path / "a.arrow")
        for index in np.random.default_rng(0).permutation(400).tolist():
            assert store[index].id == samples[index].id
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestWriting:
    def test_an_interrupted_pack_goes_on_after_the_last_whole_shard(
        self, tmp_path: Path, scene_samples: list[Sample], caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "a.arrow"
        parts = network_boxes(scene_samples, 2)
        parts[1].fails_at = 1
        with pytest.raises(KeyboardInterrupt):
            write_shards(path, parts)
        assert names(path) == ["00000-f0.arrow"]
        assert not path.exists()
        again = network_boxes(scene_samples, 2)
        with caplog.at_level(logging.INFO):
            assert write_shards(path, again) == 5
        assert [part.asked for part in again] == [0, 2, 1]
        assert "a.arrow: 1 of 3 shards are already written" in caplog.text
        assert [sample.id for sample in SampleStore(path)] == [sample.id for sample in scene_samples]

    def test_the_old_store_stays_until_the_new_one_is_whole(self, path: Path, scene_samples: list[Sample]) -> None:
        old, listed = names(path), path.read_bytes()
        parts = network_boxes(scene_samples[::-1], 2, "g")
        parts[2].fails_at = 0
        with pytest.raises(KeyboardInterrupt):
            write_shards(path, parts)
        assert path.read_bytes() == listed
        assert [sample.id for sample in SampleStore(path)] == [sample.id for sample in scene_samples]
        assert set(names(path)) == {*old, "00000-g0.arrow", "00001-g2.arrow"}
        write_shards(path, network_boxes(scene_samples[::-1], 2, "g"))
        assert SampleStore(path).ids == [sample.id for sample in scene_samples[::-1]]
        assert names(path) == ["00000-g0.arrow", "00001-g2.arrow", "00002-g4.arrow"]

    def test_only_shards_whose_files_changed_are_written(self, path: Path, scene_samples: list[Sample]) -> None:
        kept = [(shards_folder(path) / name).stat().st_ino for name in names(path)]
        parts = network_boxes(scene_samples, 2)
        parts[1] = ShardRange(scene_samples[2:4], "new")
        write_shards(path, parts)
        assert [part.asked for part in parts] == [0, 2, 0]
        now = [(shards_folder(path) / name).stat().st_ino for name in names(path)]
        assert (now[0], now[2]) == (kept[0], kept[2])
        assert names(path)[1] == "00001-new.arrow"

    def test_leftovers_of_other_files_go_first(self, path: Path, scene_samples: list[Sample]) -> None:
        (shards_folder(path) / "00000-abandoned.arrow").write_bytes(b"")

        class Looking(ShardRange):
            def __iter__(self) -> Iterator[Sample]:
                assert not (shards_folder(path) / "00000-abandoned.arrow").exists()
                assert (shards_folder(path) / "00000-f0.arrow").exists()  # of the store that is still in use
                return super().__iter__()

        write_shards(path, [Looking(scene_samples, "h")])
        assert names(path) == ["00000-h.arrow"]

    def test_unknown_files_are_always_packed(self, tmp_path: Path, scene_samples: list[Sample]) -> None:
        for _ in range(2):
            parts = [ShardRange(scene_samples[:2], ""), ShardRange(scene_samples[2:], "")]
            write_shards(tmp_path / "a.arrow", parts)
            assert [part.asked for part in parts] == [2, 3]
            assert len(names(tmp_path / "a.arrow")) == 2

    def test_one_file_in_the_place_of_shards_leaves_none(self, path: Path, scene_samples: list[Sample]) -> None:
        write_store(path, scene_samples)
        assert not shards_folder(path).exists()
        assert len(SampleStore(path)) == 5

    def test_a_link_to_another_disk_stays(self, tmp_path: Path, scene_samples: list[Sample]) -> None:
        path = tmp_path / "a.arrow"
        (tmp_path / "large").mkdir()
        shards_folder(path).symlink_to(tmp_path / "large")
        write_shards(path, network_boxes(scene_samples, 2))
        assert len(list((tmp_path / "large").iterdir())) == 3
        write_store(path, scene_samples)
        assert not list((tmp_path / "large").iterdir())
        assert shards_folder(path).is_symlink()

    def test_a_killed_pack_of_one_file_leaves_no_room_taken(self, path: Path, scene_samples: list[Sample]) -> None:
        partial = partial_path(path)
        partial.write_bytes(b"half of a large file")
        delete_unlisted_shards(path)
        assert not partial.exists()
        partial.write_bytes(b"half of a large file")

        class Looking(ShardRange):
            def __iter__(self) -> Iterator[Sample]:
                assert not partial.exists()
                return super().__iter__()

        write_shards(path, [Looking(scene_samples, "h")])

    def test_a_shard_damaged_inside_is_written_again(self, path: Path, scene_samples: list[Sample]) -> None:
        shard = shards_folder(path) / "00001-f2.arrow"
        damaged = bytearray(shard.read_bytes())
        damaged[:600] = bytes(600)
        shard.write_bytes(damaged)
        parts = network_boxes(scene_samples, 2)
        write_shards(path, parts)
        assert [part.asked for part in parts] == [0, 2, 0]
        np.testing.assert_array_equal(SampleStore(path)[2].image, scene_samples[2].image)

    def test_files_of_others_stay_among_the_shards(self, path: Path, scene_samples: list[Sample]) -> None:
        theirs = ["00000-f0.arrow.bak", "00001-f2 copy.arrow", "left.arrow", "notes.txt"]
        for name in theirs:
            (shards_folder(path) / name).write_text("theirs")
        write_shards(path, [ShardRange(scene_samples, "h")])
        delete_unlisted_shards(path)
        assert names(path) == ["00000-f0.arrow.bak", "00000-h.arrow", *theirs[1:]]
        write_store(path, scene_samples)
        assert names(path) == theirs

    def test_unused_shards_are_deleted_by_a_sole_writer_only(self, path: Path, scene_samples: list[Sample]) -> None:
        class Meanwhile(ShardRange):
            def __iter__(self) -> Iterator[Sample]:
                (shards_folder(path) / "00001-left.arrow").write_bytes(b"")
                with pytest.raises(VocSegError, match="Another process is writing"):
                    delete_unlisted_shards(path)
                return super().__iter__()

        write_shards(path, [Meanwhile(scene_samples, "h")])
        assert names(path) == ["00000-h.arrow"]

    @pytest.mark.parametrize(
        "write", [write_store, lambda path, samples: write_shards(path, [ShardRange(samples, "f")])]
    )
    def test_a_folder_that_cannot_be_written_to(self, tmp_path: Path, write: Callable) -> None:
        (tmp_path / "out").write_bytes(b"")  # a file where the folder should be: refused to root as well
        with pytest.raises(VocSegError, match=r"Could not write .*a\.arrow: .*is untouched"):
            write(tmp_path / "out" / "a.arrow", tiny(2))

    def test_a_full_disk_names_the_shard_and_what_it_takes(
        self, path: Path, scene_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        part = ShardRange(scene_samples, "h")
        part.nbytes = 5_000_000
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(VocSegError, match=r"Could not write .*00000-h\.arrow: No space .*It takes about 5\.0 MB"):
            write_shards(path, [part])
        assert len(SampleStore(path)) == 5
        assert "00000-h.arrow.partial" not in names(path)

    def test_a_killed_pack_leaves_whole_shards(self, tmp_path: Path) -> None:
        path = tmp_path / "a.arrow"
        with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"third\n"
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
        assert [name for name in names(path) if not name.endswith(SCRATCH)] == ["00000-f0.arrow", "00001-f2.arrow"]
        parts = network_boxes(tiny(6), 2)
        write_shards(path, parts)
        assert [part.asked for part in parts] == [0, 0, 2]
        assert SampleStore(path).ids == [sample.id for sample in tiny(6)]
        assert names(path) == ["00000-f0.arrow", "00001-f2.arrow", "00002-f4.arrow"]


_ENDLESS = """
import sys, time
from pathlib import Path
import numpy as np
from voc_seg.samples.sharding import write_shards
from voc_seg.samples.store import Origin, Sample

class ShardRange(list):
    nbytes = 0
    def __iter__(self):
        for number in super().__iter__():
            image = np.full((1, 1 + number % 3, 3), number % 251, np.uint8)
            yield Sample(f"{number:05d}", image, np.full((1, 1 + number % 3), number % 21, np.uint8))
            if number == 4:
                print("third", flush=True)
                time.sleep(60)

parts = [ShardRange(range(start, start + 2)) for start in (0, 2, 4)]
for part in parts:
    part.origin = Origin("own", "", ("background", "cat"), f"f{part[0]}")
write_shards(Path(sys.argv[1]), parts)
"""


class TestDamage:
    def test_a_missing_shard_is_named_before_anything_is_read(self, path: Path) -> None:
        (shards_folder(path) / "00001-f2.arrow").unlink()
        with pytest.raises(
            VocSegError,
            match=r"00001-f2\.arrow is missing: train_samples\.arrow is not a complete sample store\. To write only "
            r"these of its 3 shards again: kedro run --pipelines data_processing --params data\.shard_images=2$",
        ):
            SampleStore(path)

    def test_a_missing_folder_says_how_many(self, path: Path) -> None:
        shards_folder(path).rename(path.parent / "elsewhere")
        with pytest.raises(VocSegError, match=r"00000-f0\.arrow is missing, and 2 more are missing or cut off: "):
            SampleStore(path)

    def test_a_shard_cut_off_is_named(self, path: Path) -> None:
        shard = shards_folder(path) / "00002-f4.arrow"
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-20])
        sizes = rf"has {len(whole) - 20} bytes instead of {len(whole)}: "
        with pytest.raises(VocSegError, match=rf"00002-f4\.arrow {sizes}"):
            SampleStore(path)

    @pytest.mark.parametrize("start", [0, -600])
    def test_a_shard_overwritten_in_place_is_told_when_it_is_read(self, path: Path, start: int) -> None:
        shard = shards_folder(path) / "00001-f2.arrow"
        damaged = bytearray(shard.read_bytes())
        damaged[start : start + 600 or None] = bytes(600)
        shard.write_bytes(damaged)
        store = SampleStore(path)
        assert store[0].id == store.ids[0]
        message = (
            rf"^{re.escape(str(shard))} is not a complete shard of train_samples\.arrow \(.*\)\. Delete it and run: "
        )
        with pytest.raises(VocSegError, match=message):
            store[2]

    @pytest.mark.parametrize("before_end", [20, 110, 400])
    def test_a_damaged_foot_is_damage(self, path: Path, before_end: int) -> None:
        content = bytearray(path.read_bytes())
        content[-before_end : -before_end + 20 or None] = bytes(20)
        path.write_bytes(content)
        with pytest.raises(IncompleteStoreError, match=r"train_samples\.arrow is not a complete sample store"):
            SampleStore(path)

    def test_a_shard_that_cannot_be_opened_is_not_called_damaged(
        self, path: Path, scene_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_memory(*_: object) -> None:
            raise OSError(errno.ENOMEM, "Memory mapping file failed: Cannot allocate memory")

        store = SampleStore(path)
        assert len(store) == 5
        monkeypatch.setattr(pa, "memory_map", no_memory)
        for use in (lambda: store[0], lambda: write_shards(path, network_boxes(scene_samples[:3], 2))):
            with pytest.raises(VocSegError, match=r"cannot be opened \(.*allocate memory.* It may be intact: check"):
                use()
        monkeypatch.undo()
        assert len(SampleStore(path)) == 5

    def test_a_list_without_shards_is_no_store(self, path: Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, IDS):
            pass
        with pytest.raises(VocSegError, match=r"not a complete sample store \(it lists no shards\)"):
            SampleStore(path)
