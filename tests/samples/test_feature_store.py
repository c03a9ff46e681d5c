"""Stored features: the values that were computed, whole or in windows, and only while they are as they were written."""

import errno
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voc_seg.samples.feature_batches import window_of_mask
from voc_seg.samples.feature_cache import FeatureCache
from voc_seg.samples.feature_store import DamagedFeaturesError, FeatureFormat, FeatureStore, ImageFeatures, Window
from voc_seg.system.errors import VocSegError

LAYOUT = FeatureFormat(channels=(3, 2), strides=(4, 16), multiple=32, dtype="fp16", views=2)
SIZES = [(70, 90), (33, 32), (1, 64)] * 7  # two files; padded to 96 x 96, 64 x 32 and 32 x 64


def maps_of(index: int) -> list[Tensor]:
    """Random maps of both views; halves, which fp16 and bf16 hold exactly."""
    draw = torch.Generator().manual_seed(index)
    return [torch.randint(-99, 99, shape, generator=draw) / 2 for shape in LAYOUT.shapes(*SIZES[index])]


def compute(index: int) -> ImageFeatures:
    return ImageFeatures(f"image {index}", *SIZES[index], maps_of(index))


class Work:
    """Counts the images that are computed; ``stop_at`` is one that fails."""

    def __init__(self, stop_at: int = -1, error: BaseException | None = None) -> None:
        self.computed: list[int] = []
        self.stop_at, self.error = stop_at, error or KeyboardInterrupt()

    def __call__(self, index: int) -> ImageFeatures:
        if index == self.stop_at:
            raise self.error
        self.computed.append(index)
        return compute(index)


Fill = Callable[..., FeatureStore]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    def features(work: Work, facts: dict[str, Any] | None = None, layout: FeatureFormat = LAYOUT) -> FeatureStore:
        return FeatureCache(tmp_path / "features").features("train", facts or {"scale": 1}, layout, SIZES, work)

    return features


class TestReading:
    @pytest.mark.parametrize("dtype", ["fp16", "bf16"])
    def test_maps_are_those_that_were_computed(self, fill: Fill, dtype: str) -> None:
        store = fill(Work(), layout=FeatureFormat(LAYOUT.channels, LAYOUT.strides, 32, dtype, 2))
        store = pickle.loads(pickle.dumps(store))
        assert store.sizes == SIZES
        for index in (20, 0, 16, 15):
            for view in (0, 1):
                for found, expected in zip(store.read(index, view), maps_of(index), strict=True):
                    assert found.dtype == {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
                    assert torch.equal(found.float(), expected[view])

    @pytest.mark.parametrize("window", [Window(0, 0, 64, 64), Window(32, 0, 64, 32), Window(0, 32, 96, 64)])
    def test_a_window_is_cut_out_of_the_maps(self, fill: Fill, window: Window) -> None:
        whole, found = maps_of(0), fill(Work()).read(0, 1, window)
        for stride, maps, part in zip(LAYOUT.strides, whole, found, strict=True):
            top, left, height, width = (value // stride for value in window)
            assert torch.equal(part.float(), maps[1, top : top + height, left : left + width])

    def test_beyond_the_edge_the_maps_are_mirrored(self, fill: Fill) -> None:
        maps, (_, coarse) = maps_of(2)[1][0], fill(Work()).read(2, 0, Window(0, 0, 96, 96))  # of 2 x 4 values
        rows, columns = [0, 1, 1, 0, 0, 1], [0, 1, 2, 3, 3, 2]
        assert torch.equal(coarse.float(), maps[rows][:, columns])

    def test_targets_are_those_of_the_same_pixels(self) -> None:
        mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
        found = window_of_mask(mask, (6, 8), True, Window(4, 6, 4, 4))
        assert found.tolist() == [[8, 8, 255, 255], [8, 8, 255, 255], [255] * 4, [255] * 4]

    def test_values_that_fp16_cannot_hold_are_refused(self, fill: Fill) -> None:
        def large(index: int) -> ImageFeatures:
            return compute(index)._replace(maps=[1e6 * maps for maps in maps_of(index)])

        with pytest.raises(VocSegError, match=r"image 0: the encoder's features are not finite in fp16\. .*bf16"):
            fill(large)  # type: ignore[arg-type]


class TestComputing:
    def test_the_same_facts_are_computed_once(self, fill: Fill) -> None:
        fill(Work())
        again, other = Work(), Work()
        fill(again)
        fill(other, {"scale": 0.5})
        assert (again.computed, sorted(other.computed)) == ([], list(range(len(SIZES))))

    @pytest.mark.parametrize("killed", [False, True])
    def test_an_interruption_costs_one_file(self, fill: Fill, tmp_path: Path, killed: bool) -> None:
        with pytest.raises(KeyboardInterrupt):
            fill(Work(stop_at=18))
        (folder,) = (tmp_path / "features").iterdir()
        assert sorted(path.name for path in folder.iterdir()) == ["00000.arrow", "about.json"]
        if killed:  # what a process leaves that is killed in the middle of the second file
            (folder / ".00001.arrow.voc_seg-partial").write_bytes(b"half")
            (folder / ".00001.arrow.lock").touch()
        work = Work()
        store = fill(work)
        assert work.computed == [16, 17, 18, 19, 20]
        assert torch.equal(store.read(17)[1].float(), maps_of(17)[1][0])
        assert sorted(path.name for path in folder.iterdir()) == [
            "00000.arrow", "00001.arrow", "about.json", "intact.json",
        ]  # fmt: skip

    def test_two_processes_share_the_work(self, fill: Fill) -> None:
        works = Work(), Work()
        threads = [threading.Thread(target=fill, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(works[0].computed + works[1].computed) == list(range(len(SIZES)))

    @pytest.mark.parametrize("damage", ["cut", "byte"])
    def test_damaged_files_are_computed_again(self, fill: Fill, caplog: pytest.LogCaptureFixture, damage: str) -> None:
        path = fill(Work()).files[1]
        content = bytearray(path.read_bytes())
        if damage == "cut":
            content = content[:-100]
        else:
            content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamagedFeaturesError):
            FeatureStore(path.parent, LAYOUT, len(SIZES)).require_intact(1)
        work = Work()
        store = fill(work)
        assert work.computed == [16, 17, 18, 19, 20]
        assert "It will be computed again" in caplog.text
        assert torch.equal(store.read(20)[0].float(), maps_of(20)[0][0])

    def test_a_file_of_another_folder_is_computed_again(self, fill: Fill, caplog: pytest.LogCaptureFixture) -> None:
        path, other = fill(Work()).files[0], fill(Work(), {"scale": 2}).files[0]
        path.write_bytes(other.read_bytes())
        work = Work()
        fill(work)
        assert work.computed == list(range(16))
        assert "is not a complete file of these features" in caplog.text

    def test_a_disk_without_room_is_refused_before_anything_is_computed(
        self, fill: Fill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed = sum(LAYOUT.nbytes(*size) for size in SIZES)
        assert needed == 7 * 2 * 2 * (96 * 96 + 64 * 32 + 32 * 64) * (3 * 256 // 16 + 2 * 256 // 256) // 256
        usage, work = shutil.disk_usage("."), Work()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
        with pytest.raises(VocSegError, match=r"features take .* are free at .*features.*augmentation\.flip=0"):
            fill(work)
        assert not work.computed
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
        fill(work)

    def test_a_disk_that_fills_up_is_an_error_with_advice(self, fill: Fill, tmp_path: Path) -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(VocSegError, match=r"Could not write .*00000\.arrow: No space left on device\. It takes"):
            fill(Work(stop_at=3, error=full))
        assert not list(tmp_path.rglob("*.arrow"))
