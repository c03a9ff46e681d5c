"""The packed samples of a split as a catalog entry."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview
from PIL import Image

from voc_seg.samples.arrow_file import IncompleteStoreError
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.sharding import delete_unlisted_shards, shard_matches, write_shards
from voc_seg.samples.store import Origin, SampleStore, write_store
from voc_seg.system.errors import VocSegError
from voc_seg.system.versions import newest_version
from voc_seg.voc.decode_memory import allow_large_images
from voc_seg.voc.index import fingerprint_of
from voc_seg.voc.masks import palette_image
from voc_seg.voc.sources import source_named
from voc_seg.voc.splits import find_voc_folder

from .data_root import resolve_root
from .earlier_table import read_earlier_table
from .previews import contact_sheet

logger = logging.getLogger(__name__)


class SampleStoreDataset(AbstractDataset[DecodedSamples, SampleStore]):
    """Saves samples as a stream; loads a memory-mapped :class:`SampleStore`.

    A store packed from the same files stays unchanged, and nothing is decoded again. Many images are saved in shards;
    complete shards of the same files are reused.

    Args:
        filepath: The Arrow file; shards go into a folder beside it.
        source: The data source of the run. Samples packed from another source are refused, so that no network is
            trained or scored on the wrong images.
        voc_root: Folder the images must come from, if the run sets one.
        index: Its ``filepath`` is the index used for packing. Samples older than the index are refused: it was rebuilt,
            but packing did not finish. Samples are loaded with a function that reads it.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        source: str = "",
        voc_root: str | None = None,
        index: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath)
        self._source = source
        self._voc_root = resolve_root(voc_root, filepath) if voc_root else None
        self._index = Path(index["filepath"]) if index else None
        self.metadata = metadata

    def save(self, data: DecodedSamples) -> None:
        parts = data.split_into_shards()
        if self._matches(data.origin, parts):
            logger.info("%s: %d samples, unchanged", self._filepath.name, len(data))
            delete_unlisted_shards(self._filepath)
            return
        with allow_large_images():
            if len(parts) == 1:
                write_store(self._filepath, data, data.origin, data.nbytes)
            else:
                write_shards(self._filepath, parts, data.origin)

    def _matches(self, origin: Origin, parts: Sequence[DecodedSamples]) -> bool:
        """Whether the store holds exactly these samples, intact, in these parts."""
        try:
            store = SampleStore(self._filepath)
            same = (
                store.origin == origin
                and len(store.shards) == len(parts)
                and all(map(shard_matches, store.shards, parts))
            )
            if same:
                store.require_intact()
        except IncompleteStoreError as error:
            if self._filepath.exists():
                fault = str(error).partition(" Delete it")[0].partition(" Move it")[0]
                logger.warning("%s The samples are packed again.", fault)
            return False
        # A store of an earlier version has no checksums and is packed again.
        return same and store.has_checksums

    def load(self) -> SampleStore:
        return self._read()

    def _read(self) -> SampleStore:
        read_index = partial(read_earlier_table, self._index) if self._index else None
        store = SampleStore(self._filepath, read_index)
        if store.origin.source != self._source:
            raise VocSegError(
                f"{self._filepath} holds samples of {store.origin.source!r}, but this run is about "
                f"{self._source!r}. Run data_processing with the same --env as this pipeline."
            )
        if self._voc_root and not self._is_below_root(Path(store.origin.folder)):
            raise VocSegError(
                f"{self._filepath} holds samples of {store.origin.folder}, but voc_root of this run is "
                f"{self._voc_root}. Run data_processing with the same --env and --params voc_root as this pipeline."
            )
        if (
            self._index
            and newest_version(self._index).is_file()
            and store.origin.fingerprint != self._index_fingerprint()
        ):
            raise VocSegError(
                f"{self._filepath} is older than {self._index}: the last data_processing found other files and did "
                "not finish packing them. Run it again: kedro run --pipelines data_processing"
            )
        store.require_intact()
        return store

    def _is_below_root(self, images: Path) -> bool:
        """Whether a folder of images belongs to ``voc_root``, possibly through links."""
        assert self._voc_root is not None
        if images.is_relative_to(self._voc_root):
            return True
        try:
            folder = find_voc_folder(self._voc_root, source_named(self._source).year)
        except VocSegError:
            return False
        return images == (folder / "JPEGImages").resolve()

    def _index_fingerprint(self) -> str:
        """Fingerprint of the usable images of the index."""
        assert self._index is not None
        try:
            rows = pd.read_parquet(newest_version(self._index), columns=["image_id", "rejected", "fingerprint"])
        except Exception as error:  # readers raise many exception types on broken files
            raise VocSegError(
                f"{self._index} cannot be read: {error}. Rebuild it with: kedro run --pipelines data_processing"
            ) from error
        return fingerprint_of(rows[rows["rejected"] == ""])

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "source": self._source}

    def preview(self, images: int = 8) -> ImagePreview:
        """The first images, each with its mask, for Kedro-Viz."""
        store = SampleStore(self._filepath)
        samples = [store[position] for position in range(min(images, len(store)))]
        return contact_sheet(
            picture for sample in samples for picture in (Image.fromarray(sample.displayed), palette_image(sample.mask))
        )


class OptionalSampleStoreDataset(SampleStoreDataset):
    """Samples as an optional input, as a model may come from elsewhere: None where there are none."""

    IS_OPTIONAL = True

    def load(self) -> SampleStore | None:  # type: ignore[override]
        """The store; None if it is missing, or, with a warning, damaged or of other data than this run."""
        if not self._exists():
            return None
        try:
            return self._read()  # not load, as Kedro's wrapper would hide the error
        except VocSegError as error:
            logger.warning("%s is not used: %s", self._filepath.name, error)
            return None

    def save(self, data: DecodedSamples) -> None:
        """Always an error."""
        raise DatasetError(f"{self._filepath} is written by another entry of the catalog.")
