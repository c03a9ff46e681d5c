"""The samples of a fold behave like a store of their own."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from voc_seg.samples.class_pixels import class_pixels
from voc_seg.samples.folds import SelectedSamples, divide_fold
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store
from voc_seg.system.errors import VocSegError

NAMES = ("background", "cat")
ID = "image_id"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Nine samples and their index, which also has a rejected image."""
    path = tmp_path_factory.mktemp("packed") / "train.arrow"
    masks = [np.full((4, 6), number % 2, np.uint8) for number in range(9)]
    samples = [Sample(f"i{n}", np.full((4, 6, 3), n, np.uint8), mask) for n, mask in enumerate(masks)]
    write_store(path, samples, Origin("sample", classes=NAMES))
    rows = [(f"i{n}", "", json.dumps({"hash": "0"}), 24 * (n % 2 == 0), 24 * (n % 2)) for n in range(9)]
    index = pd.DataFrame([*rows, ("bad", "unreadable", "", 0, 0)], columns=[ID, "rejected", "traits", *NAMES])
    return SampleStore(path, lambda: index)


def test_folds_divide_the_samples(store: SampleStore) -> None:
    held_out: list[str] = []
    for number in (1, 2, 3):
        rest, fold = divide_fold(store, f"{number}/3", seed=0)
        assert (len(rest), len(fold)) == (6, 3)
        assert sorted(rest.ids + fold.ids) == store.ids
        assert [sample.id for sample in fold] == fold.ids == [fold[index].id for index in range(3)]
        np.testing.assert_array_equal(fold[1].image, store[store.ids.index(fold.ids[1])].image)
        held_out += fold.ids
    assert sorted(held_out) == store.ids


def test_a_selection_has_its_own_index_and_content(store: SampleStore) -> None:
    rest, fold = divide_fold(store, "1/3", seed=0)
    assert fold.read_index()[ID].tolist() == fold.ids
    assert len(list(class_pixels(fold))) == 3
    assert len({store.content, rest.content, fold.content, SelectedSamples(store, [0]).content}) == 4
    assert fold.content == divide_fold(store, "1/3", seed=0)[1].content
    assert fold.origin == store.origin
    fold.require_classes(NAMES)
    with pytest.raises(IndexError, match="sample 3 of 3"):
        fold[3]


def test_it_reaches_loader_workers(store: SampleStore) -> None:
    _, fold = divide_fold(store, "1/3", seed=0)
    found = pickle.loads(pickle.dumps(fold))
    assert found.ids == fold.ids and found.read_index is None
    np.testing.assert_array_equal(found[2].mask, fold[2].mask)


@pytest.mark.parametrize("index", [None, pd.DataFrame(), pd.DataFrame({ID: ["a"], "rejected": [""]})])
def test_folds_need_the_index(store: SampleStore, index: pd.DataFrame | None) -> None:
    bare = SampleStore(store.path, None if index is None else lambda: index)
    with pytest.raises(VocSegError, match="needs the index of train"):
        divide_fold(bare, "1/3", seed=0)


def test_an_index_of_other_images_is_refused(store: SampleStore) -> None:
    other = SampleStore(store.path, lambda: store.read_index().iloc[1:])
    with pytest.raises(VocSegError, match="the index of train has other images than"):
        divide_fold(other, "1/3", seed=0)
