"""Batches: every sample once an epoch, in an order and with crops that follow from seed and epoch alone."""

import multiprocessing
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from voc_seg.config import AugmentationConfig
from voc_seg.samples.batches import AugmentedCrops, Batch, epoch_order, normalise, training_batches
from voc_seg.samples.store import Sample, SampleStore, write_store

CONFIG = AugmentationConfig(crop_size=64, scale=(0.5, 2), flip=0.5, colour_jitter=0.1)


@pytest.fixture(scope="module")
def store(scene_samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Five samples, so that a batch size of two leaves one over."""
    path = tmp_path_factory.mktemp("batches") / "five.arrow"
    write_store(path, scene_samples)
    return SampleStore(path)


def _batches(store: SampleStore, epochs: range, **options: int) -> Iterator[Batch]:
    return training_batches(store, CONFIG, batch_size=2, **{"seed": 0, **options}, epochs=epochs)


def _assert_equal(found: list[Batch], expected: list[Batch]) -> None:
    assert [batch.ids for batch in found] == [batch.ids for batch in expected]
    for one, other in zip(found, expected):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def test_shapes_and_types(store: SampleStore) -> None:
    batches = list(_batches(store, range(1)))
    assert [len(batch.ids) for batch in batches] == [2, 2, 1]
    for batch in batches:
        count = len(batch.ids)
        assert (batch.images.shape, batch.images.dtype) == ((count, 3, 64, 64), torch.uint8)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.targets.shape, batch.targets.dtype) == ((count, 64, 64), torch.uint8)


def test_every_sample_exactly_once_an_epoch(store: SampleStore) -> None:
    batches = list(_batches(store, range(4)))
    every = sorted(sample.id for sample in store)
    for epoch in range(4):
        ids = [name for batch in batches[3 * epoch : 3 * epoch + 3] for name in batch.ids]
        assert sorted(ids) == every


def test_order_is_a_permutation_that_changes_with_epoch_and_seed() -> None:
    orders = [tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 6
    np.testing.assert_array_equal(epoch_order(50, 1, 2), orders[-1])


def test_crops_change_with_epoch_seed_and_index(store: SampleStore) -> None:
    crops = [AugmentedCrops(store, CONFIG, seed)[epoch, 0][0] for seed in (0, 1) for epoch in (0, 1)]
    assert len({crop.numpy().tobytes() for crop in crops}) == 4
    assert torch.equal(AugmentedCrops(store, CONFIG, 1)[1, 0][0], crops[-1])


def test_a_later_range_is_the_tail_of_the_full_one(store: SampleStore) -> None:
    _assert_equal(list(_batches(store, range(2, 4))), list(_batches(store, range(4)))[6:])


def test_the_global_random_state_plays_no_part(store: SampleStore) -> None:
    torch.manual_seed(1)
    first = list(_batches(store, range(1)))
    torch.manual_seed(2)
    _assert_equal(list(_batches(store, range(1))), first)


def test_a_loader_worker_gives_the_same_batches(store: SampleStore) -> None:
    _assert_equal(list(_batches(store, range(2), workers=1)), list(_batches(store, range(2))))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_signals_for_all_processes_of_a_terminal_do_not_end_a_worker(store: SampleStore) -> None:
    """The shell sends SIGHUP to each when ssh disconnects; only the training process may stop."""
    batches = _batches(store, range(4), workers=1)
    found = [next(batches)]
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    _assert_equal([*found, *batches], list(_batches(store, range(4))))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_parts_of_several_processes_are_the_batches_of_one(store: SampleStore, ranks: int) -> None:
    whole = list(_batches(store, range(2), position=2))
    parts = [list(_batches(store, range(2), position=2, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert all(len(part) == len(whole) for part in parts)
    for batch, *shares in zip(whole, *parts):
        joined = Batch(
            torch.cat([share.images for share in shares]),
            torch.cat([share.targets for share in shares]),
            tuple(name for share in shares for name in share.ids),
        )
        _assert_equal([joined], [batch])
        assert [share.first for share in shares] == [sum(len(s.ids) for s in shares[:r]) for r in range(ranks)]
        assert {share.whole for share in shares} == {len(batch.ids)}
        sizes = [len(share.ids) for share in shares]
        assert sizes[0] == max(sizes), "rank 0 is never without"
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalise_is_that_of_torchvisions_weights(dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (2, 3, 7, 9), generator=torch.Generator().manual_seed(0)).to(dtype)
    before = images.clone()
    found = normalise(images)
    expected = transforms.normalize(images / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before), "the caller's bytes must stay as they are"
