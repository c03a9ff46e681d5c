"""The packed samples of a split as a catalog entry."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from voc_seg.samples.store import Sample, SampleStore, write_store


class SampleStoreDataset(AbstractDataset[Iterable[Sample], SampleStore]):
    """Saves any iterable of samples as a stream; loads a memory-mapped :class:`SampleStore`."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Iterable[Sample]) -> None:
        write_store(self._filepath, data)

    def load(self) -> SampleStore:
        return SampleStore(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
