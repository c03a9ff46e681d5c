"""Rare classes: which they are, how often they are drawn, and crops around them and pasted from them."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from voc_seg.config import AugmentationConfig
from voc_seg.samples.arrow_file import Origin
from voc_seg.samples.augment import augment
from voc_seg.samples.batches import AugmentedCrops, Batch, training_batches
from voc_seg.samples.crops import choose_crop, largest_share
from voc_seg.samples.rare_classes import RareClasses, find_rare_classes, thinned
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.voc.classes import VOID


def coded(name: str, mask: np.ndarray) -> Sample:
    """An image whose red channel is the mask and whose blue one says which image it is."""
    mask = mask.astype(np.uint8)
    image = np.stack([mask, np.zeros_like(mask), np.full_like(mask, 40 * (1 + ord(name) - ord("a")))], -1)
    return Sample(name, image, mask)


def scenes() -> list[Sample]:
    """Class 0 everywhere but for a patch of 1 in b, one of 2 in b and c, and void in d."""
    a, b, c, d = (np.zeros((120, 160)) for _ in range(4))
    b[:30, :40] = 1
    b[100:112, 140:150] = 2
    c[50:54, 60:70] = 2
    d[:, 100:] = VOID
    return [coded(name, mask) for name, mask in zip("abcd", (a, b, c, d))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    path = tmp_path_factory.mktemp("rare") / "four.arrow"
    write_store(path, scenes(), Origin(classes=("ground", "patch", "dot", "never")))
    return SampleStore(path)


def config(**values: object) -> AugmentationConfig:
    return AugmentationConfig.model_validate({"crop_size": 64, "scale": (1, 1), "flip": 0.5, **values})


class TestFinding:
    def test_rare_is_less_than_an_equal_share_and_weighted_by_its_inverse_square_root(self, store: SampleStore) -> None:
        rare = find_rare_classes(store)
        labelled = 4 * 120 * 160 - 120 * 60
        patch, dot = 1200 / labelled, (120 + 40) / labelled
        assert np.flatnonzero(rare.weights).tolist() == [1, 2]
        # The share of the dots, 0.0023, is below a hundredth of an equal one, 1 / 3, which is the least that counts.
        assert rare.weights[1:3] == pytest.approx([patch**-0.5, (1 / 300) ** -0.5])
        assert dot < 1 / 300
        assert {value: found.tolist() for value, found in rare.holders.items()} == {1: [1], 2: [1, 2]}

    def test_the_index_gives_the_same_without_reading_masks(
        self, store: SampleStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = find_rare_classes(store)
        counts = [np.bincount(sample.mask.ravel(), minlength=4)[:4] for sample in store]
        index = pd.DataFrame(counts, columns=list(store.origin.classes)).assign(image_id=store.ids, rejected="")
        bad = index.iloc[:1].assign(image_id="broken", rejected="unreadable")
        indexed = SampleStore(store.path, lambda: pd.concat([bad, index]))
        monkeypatch.setattr(SampleStore, "__iter__", lambda self: pytest.fail("read the masks"))
        found = find_rare_classes(indexed)
        np.testing.assert_array_equal(found.weights, expected.weights)
        assert {value: samples.tolist() for value, samples in found.holders.items()} == {1: [1], 2: [1, 2]}

    def test_an_index_of_other_images_is_not_used(self, store: SampleStore) -> None:
        index = pd.DataFrame({name: [5] for name in store.origin.classes}).assign(image_id="z", rejected="")
        found = find_rare_classes(SampleStore(store.path, lambda: index))
        np.testing.assert_array_equal(found.weights, find_rare_classes(store).weights)

    @pytest.mark.parametrize("value", [0, VOID])
    def test_one_class_or_none_is_not_rare(self, tmp_path: Path, value: int) -> None:
        write_store(tmp_path / "s.arrow", [coded("a", np.full((70, 80), value))])
        store = SampleStore(tmp_path / "s.arrow")
        rare = find_rare_classes(store)
        assert not rare.weights.any() and not rare.holders
        assert rare.draw_class(np.random.default_rng(0)) is None
        crops = AugmentedCrops.of(store, config(rare_crops=1, copy_paste=1, max_class_share=0.5, strength="strong"), 0)
        for epoch in range(4):
            assert set(crops[epoch, 0][1].unique().tolist()) <= {value, VOID}

    def test_classes_are_drawn_by_weight(self) -> None:
        weights = np.zeros(255)
        weights[[3, 254]] = 1, 3
        rng = np.random.default_rng(0)
        drawn = [RareClasses(weights, {}).draw_class(rng) for _ in range(2000)]
        assert set(drawn) == {3, 254}
        assert 0.2 < drawn.count(3) / 2000 < 0.3

    def test_a_pixel_between_the_points_of_the_grid_is_found_for_its_class(self) -> None:
        mask = np.zeros((1000, 1000), np.uint8)
        mask[501, 333] = 7
        assert thinned(mask, 2**16)[1] == 4
        weights = np.zeros(255)
        weights[7] = 1
        rare = RareClasses(weights, {7: np.array([0])})
        assert rare.draw_pixel(mask, np.random.default_rng(0), 7) == (501, 333)
        assert rare.draw_pixel(mask, np.random.default_rng(0)) is None  # no search of every pixel of every image


class TestCrops:
    def test_rare_crops_show_the_class_in_their_middle_half(self, store: SampleStore) -> None:
        rare, sample = find_rare_classes(store), store[2]
        for seed in range(30):
            rng = np.random.default_rng(seed)
            crop = choose_crop(sample.mask, config(rare_crops=1), rng, rare)
            seen = sample.mask[crop.rows, crop.columns] == 2
            rows, columns = np.nonzero(seen)
            # Rows 50 to 53 and columns 60 to 69 of 120 x 160; the image's border allows any position.
            assert rows.min() >= 16 - 3 and rows.max() <= 48 + 3
            assert columns.min() >= 16 - 9 and columns.max() <= 48 + 9

    def test_rare_crops_make_rare_classes_more_frequent(self, store: SampleStore) -> None:
        def shows(**options: float) -> float:
            crops = AugmentedCrops.of(store, config(**options), 0)
            return float(np.mean([bool((crops[epoch, 2][1] == 2).any()) for epoch in range(100)]))

        plain, rare, half = shows(), shows(rare_crops=1), shows(rare_crops=0.5)
        assert plain < 0.8
        assert rare == 1
        assert plain < half < 1

    def test_fewer_crops_are_filled_by_one_class(self) -> None:
        mask = np.zeros((200, 200), np.uint8)
        mask[:, 150:] = 1

        def dominated(share: float) -> float:
            shares = []
            for seed in range(200):
                crop = choose_crop(mask, config(max_class_share=share), np.random.default_rng(seed))
                shares.append(largest_share(mask[crop.rows, crop.columns]))
            return float(np.mean(np.array(shares) > 0.75))

        assert dominated(1) > 0.7
        assert dominated(0.75) < 0.2

    def test_a_crop_that_passes_is_that_without_the_option(self) -> None:
        mask = np.indices((200, 200)).sum(0).astype(np.uint8) // 8 % 2
        for seed in range(20):
            plain, balanced = (
                choose_crop(mask, config(max_class_share=share), np.random.default_rng(seed)) for share in (1, 0.75)
            )
            assert plain == balanced

    def test_the_largest_share_is_of_the_labelled_pixels(self) -> None:
        assert largest_share(np.array([[0, 1, 1, VOID]], np.uint8)) == pytest.approx(2 / 3)
        assert largest_share(np.full((5, 5), VOID, np.uint8)) == 1


class TestCopyPaste:
    def test_image_and_mask_come_from_the_second_sample_where_it_shows_the_class(self, store: SampleStore) -> None:
        crops = AugmentedCrops.of(store, config(copy_paste=1), 0)
        pasted = 0
        for epoch in range(20):
            image, mask, _ = crops[epoch, 0]
            plain, before, _ = AugmentedCrops(store, config(), 0)[epoch, 0]
            changed = mask != before
            values = mask[changed].unique().tolist()
            assert len(values) <= 1 and set(values) <= {1, 2}
            assert torch.equal(image[:, ~changed], plain[:, ~changed])
            assert torch.equal(image[0][changed], mask[changed])  # red is the class
            assert (image[2][changed] != 40).all()  # blue says that it is not the first image
            assert image.permute(1, 2, 0).is_contiguous()
            pasted += bool(changed.any())
        assert pasted == 20

    def test_void_is_never_pasted(self, store: SampleStore) -> None:
        crops = AugmentedCrops.of(store, config(copy_paste=1, scale=(0.2, 0.2)), 0)  # the second crop is padded
        for epoch in range(10):
            before = AugmentedCrops(store, config(scale=(0.2, 0.2)), 0)[epoch, 0][1]
            mask = crops[epoch, 0][1]
            assert (mask[before != VOID] != VOID).all()

    def test_it_happens_as_often_as_asked(self, store: SampleStore) -> None:
        crops = AugmentedCrops.of(store, config(copy_paste=0.3), 0)
        share = np.mean([bool((crops[epoch, 0][1] > 0).any()) for epoch in range(200)])
        assert 0.2 < share < 0.4

    def test_without_other_samples_nothing_is_pasted(self, store: SampleStore) -> None:
        plain = augment(store[0], config(), np.random.default_rng(3))
        alone = augment(store[0], config(copy_paste=1, rare_crops=1), np.random.default_rng(3))
        assert torch.equal(plain[0], alone[0]) and torch.equal(plain[1], alone[1])


EVERYTHING = {
    "scale": (0.5, 2), "strength": "strong", "max_class_share": 0.75, "rare_crops": 0.5, "copy_paste": 0.5,
}  # fmt: skip


def _batches(store: SampleStore, **options: int) -> list[Batch]:
    return list(training_batches(store, config(**EVERYTHING), 3, 0, range(3), **options))


class TestKeys:
    def test_crops_travel_pickled_and_depend_on_their_key_alone(self, store: SampleStore) -> None:
        crops = AugmentedCrops.of(store, config(**EVERYTHING), 5)
        sent = pickle.loads(pickle.dumps(crops))
        for key in [(3, 1), (0, 2), (3, 1)]:
            for one, other in zip(crops[key], sent[key]):
                assert one == other if isinstance(one, str) else torch.equal(one, other)

    def test_position_ranks_and_workers_change_nothing(self, store: SampleStore) -> None:
        whole = _batches(store)
        for found, expected in zip(_batches(store, position=3), whole[1:], strict=True):
            assert torch.equal(found.images, expected.images)
        parts = [_batches(store, rank=rank, ranks=2) for rank in range(2)]
        for expected, *slices in zip(whole, *parts, strict=True):
            assert torch.equal(torch.cat([part.images for part in slices]), expected.images)
            assert torch.equal(torch.cat([part.targets for part in slices]), expected.targets)
        for found, expected in zip(_batches(store, workers=1), whole, strict=True):
            assert torch.equal(found.images, expected.images)
            assert torch.equal(found.targets, expected.targets)
