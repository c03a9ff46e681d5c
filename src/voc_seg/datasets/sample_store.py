"""The packed samples of a split as a catalog entry."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from voc_seg.errors import VocSegError
from voc_seg.samples.store import Sample, SampleStore, write_store


class SampleStoreDataset(AbstractDataset[Iterable[Sample], SampleStore]):
    """Saves any iterable of samples as a stream; loads a memory-mapped :class:`SampleStore`.

    Args:
        filepath: The Arrow file.
        source: The data a run is about. Samples packed from another source are not loaded, so that no network
            is trained or scored on the wrong pictures.
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, filepath: str, source: str = "", metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._source = source
        self.metadata = metadata

    def save(self, data: Iterable[Sample]) -> None:
        write_store(self._filepath, data, self._source)

    def load(self) -> SampleStore:
        store = SampleStore(self._filepath)
        if store.source != self._source:
            raise VocSegError(
                f"{self._filepath} holds samples of {store.source!r}, but this run is about {self._source!r}. "
                "Run data_processing with the same --env as this pipeline."
            )
        return store

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "source": self._source}
