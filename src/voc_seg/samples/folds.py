"""A fold of train: some of its samples, which behave like a store of their own."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.voc.folds import folds_of_index

from .arrow_file import Origin, digest
from .sample import Sample
from .store import SampleStore, ids_digest

if TYPE_CHECKING:
    import pandas as pd


class SelectedSamples(SampleStore):
    """Some samples of a store, in its order; nothing is copied.

    Args:
        store: All samples.
        positions: Those to take, ascending.
    """

    def __init__(self, store: SampleStore, positions: Sequence[int]) -> None:
        self._store, self._positions = store, tuple(positions)
        self.path, self.read_index = store.path, self._reader(store.read_index)

    def _reader(self, read: "Callable[[], pd.DataFrame] | None") -> "Callable[[], pd.DataFrame] | None":
        """Reads the rows of these samples; None without an index."""
        if read is None:
            return None
        wanted = set(self.ids)
        return lambda: _rows_of(read(), wanted)

    @property
    def origin(self) -> Origin:
        """The source of the samples, with the statistics of all samples of the store."""
        return self._store.origin

    @property
    def content(self) -> str:
        """A digest of these samples; "" for a store of an earlier version."""
        whole = self._store.content
        return digest(whole.encode(), ids_digest(self.ids).encode()) if whole else ""

    @property
    def ids(self) -> list[str]:
        """Image ids, in the order of the samples."""
        ids = self._store.ids
        return [ids[position] for position in self._positions]

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in a part of {self.path}")
        return self._store[self._positions[index]]

    def __getstate__(self) -> dict:
        return {"_store": self._store, "_positions": self._positions, "path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.read_index = None


def _rows_of(index: "pd.DataFrame", ids: set[str]) -> "pd.DataFrame":
    return index[index["image_id"].isin(ids)] if "image_id" in index.columns else index


def divide_fold(train: SampleStore, fold: str, seed: int) -> tuple[SelectedSamples, SelectedSamples]:
    """The samples of train outside a fold, and those of the fold, which is held out.

    Args:
        train: All samples, with the index that they were packed from.
        fold: ``training.fold``: ``2/5`` is the second of five.
        seed: Of the folds.

    Raises:
        VocSegError: There are too few images or groups for the folds, or there is no index of these samples.
    """
    number, folds = map(int, fold.split("/"))
    names = train.origin.classes
    index = train.read_index() if train.read_index else None
    if index is None or not {"image_id", "rejected", "traits", *names} <= set(index.columns):
        raise VocSegError(
            f"training.fold={fold} needs the index of train, which says what is in the images. Recreate it with: "
            "kedro run --pipelines data_processing"
        )
    usable = index[index["rejected"] == ""]
    if usable["image_id"].tolist() != train.ids:
        raise VocSegError(
            f"training.fold={fold}: the index of train has other images than {train.path}. Update both with: kedro run "
            "--pipelines data_processing"
        )
    held_out = folds_of_index(usable, names, folds, seed) == number - 1
    rest, held_out_samples = (SelectedSamples(train, np.flatnonzero(part).tolist()) for part in (~held_out, held_out))
    return rest, held_out_samples
