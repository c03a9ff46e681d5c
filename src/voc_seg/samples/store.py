"""The packed sample store: decoded images and masks of a split in memory-mapped Arrow files.

A small store is one file. A large store is a file of the same name that lists the samples of each shard, and a folder
of shards beside it, each a small store itself (written by `voc_seg.samples.sharding`):

    train_samples.arrow
    train_samples.shards/00000-<fingerprint>.arrow
    train_samples.shards/00001-<fingerprint>.arrow
"""

import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import accumulate
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar
from voc_seg.voc.pairs import Reading

from .arrow_file import IDS, SAMPLES, SEAL, UNKNOWN, IncompleteStoreError, Origin, damaged_error, digest, open_arrow
from .intact import discard_intact_record, record_intact, shards_to_verify, stamps_of
from .paths import delete_other_shards, exclusive_writer, shards_folder
from .sample import Sample
from .shard import Shard
from .shard_writer import with_progress, write_shard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNKNOWN", "Origin", "Sample", "SampleStore", "write_store"]

SHARDS, CONTENT, LISTED = b"shards", b"content", b"listed"
"""Metadata keys of a file that lists shards: the list, the content digest of all samples, `ids_digest`."""


def ids_digest(ids: Iterable[str]) -> str:
    """A digest of the ids of all samples, in order."""
    return digest(*(name.encode() for name in ids))


def write_store(path: Path, samples: Iterable[Sample], origin: Origin = UNKNOWN, size: int | None = None) -> int:
    """Write samples into one file, as a stream; an interrupted write leaves the old store in place.

    Args and errors are those of `write_shard`; another process that is writing this store is an error too.

    Returns:
        Number of samples written.
    """
    with exclusive_writer(path), progress_bar(f"packing {path.stem}", length_hint(samples) or None) as advance:
        packed = write_shard(path, with_progress(samples, advance), origin, size)
        delete_other_shards(path, ())
        record_intact(path, stamps_of([path]))
    return len(packed)


class SampleStore:
    """Random access to a written store. Arrays are read-only views of its files.

    A shard is mapped on first access to one of its samples. The store pickles as its path, so that every loader worker
    maps only the shards it needs.

    Args:
        path: The Arrow file.
        read_index: Reads the index that the samples were packed from; not in loader workers.
    """

    def __init__(self, path: Path | str, read_index: Callable[[], "pd.DataFrame"] | None = None) -> None:
        self.path, self.read_index = Path(path), read_index
        self._require_complete_shards()  # raises here rather than in the middle of a run

    @cached_property
    def _file(self) -> pa.ipc.RecordBatchFileReader:
        return open_arrow(self.path, "sample store", SAMPLES, IDS)

    @cached_property
    def _shard_list(self) -> list[dict] | None:
        """Name, images and bytes of each shard; None where the file holds the samples itself."""
        if self._file.schema.equals(SAMPLES):
            return None
        try:
            listed = json.loads(self._file.schema.metadata[SHARDS])
            images = [shard["images"] for shard in listed if {"name", "bytes"} <= shard.keys()]
            # The file also holds the ids of every shard.
            batches = [self._file.get_batch(number).num_rows for number in range(self._file.num_record_batches)]
        except (AttributeError, KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            raise damaged_error(self.path, "sample store", "it lists no shards") from error
        if images != batches or len(images) != len(listed):
            raise damaged_error(self.path, "sample store", "its list of shards does not match its ids")
        written = self._file.schema.metadata.get(LISTED)
        if written is not None and written != ids_digest(self._ids()).encode():
            raise damaged_error(self.path, "sample store", "its ids have changed since it was written")
        return listed

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The files of the samples, in order."""
        if self._shard_list is None:
            return (Shard(self.path),)
        folder, what = shards_folder(self.path), f"shard of {self.path.name}"
        return tuple(Shard(folder / shard["name"], what, shard.get("content", "")) for shard in self._shard_list)

    @cached_property
    def _ends(self) -> list[int]:
        """For each shard the index after its last sample."""
        if self._shard_list is None:
            return [len(self.shards[0])]
        return list(accumulate(shard["images"] for shard in self._shard_list))

    def _require_complete_shards(self) -> None:
        """Check the sizes of all shards without opening them, so that a run fails before it starts."""
        if not self._shard_list:
            return
        folder = shards_folder(self.path)
        sizes = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        wrong = [shard for shard in self._shard_list if sizes.get(shard["name"]) != shard["bytes"]]
        if not wrong:
            return
        first = wrong[0]
        path, size = folder / first["name"], sizes.get(first["name"])
        why = "is missing" if size is None else f"has {size} bytes instead of {first['bytes']}"
        more = f", and {len(wrong) - 1} more are missing or cut off" if len(wrong) > 1 else ""
        shard_images = max(shard["images"] for shard in self._shard_list)
        raise IncompleteStoreError(
            f"{path} {why}{more}: {self.path.name} is not a complete sample store. To write only these of its "
            f"{len(self._shard_list)} shards again: kedro run --pipelines data_processing --params "
            f"data.shard_images={shard_images}"
        )

    @property
    def origin(self) -> Origin:
        """The source of the samples."""
        return Origin.of(self._file.schema)

    @property
    def content(self) -> str:
        """A digest of all samples in order, independent of path and sharding, read from the metadata.

        "" for a store of an earlier version, which has no checksums.
        """
        if self._shard_list is None:
            return self.shards[0].content
        return (self._file.schema.metadata.get(CONTENT) or b"").decode(errors="replace")

    @property
    def has_checksums(self) -> bool:
        """Whether damage to any of its files can be detected; not in a store of an earlier version."""
        metadata = self._file.schema.metadata or {}
        return bool(self.content) and SEAL in metadata and (self._shard_list is None or LISTED in metadata)

    def require_intact(self) -> None:
        """Compare samples with their checksums in files that have changed since the last check.

        Raises:
            IncompleteStoreError: A sample has changed since it was packed; the message names it and its file.
        """
        stamps = stamps_of([shard.path for shard in self.shards])
        try:
            for shard in shards_to_verify(self.path, self.shards):
                shard.require_intact()
        except IncompleteStoreError:
            discard_intact_record(self.path)
            raise
        record_intact(self.path, stamps)

    @property
    def ids(self) -> list[str]:
        """Image ids, in the order of the samples."""
        return self.shards[0].ids() if self._shard_list is None else self._ids()

    def positions(self) -> dict[str, int]:
        """The position of each sample by image id."""
        return {image_id: position for position, image_id in enumerate(self.ids)}

    def _ids(self) -> list[str]:
        """Ids of the file that lists shards."""
        try:
            table = self._file.read_all()
            table.validate(full=True)
            return table["id"].to_pylist()
        except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
            raise damaged_error(self.path, "sample store", error) from error

    def require_classes(self, names: Sequence[str]) -> None:
        """Refuse samples that were packed for other classes.

        Raises:
            VocSegError: With both lists of names.
        """
        packed = self.origin.classes
        if packed and packed != tuple(names):
            raise VocSegError(
                f"{self.path} was packed for the {len(packed)} classes {', '.join(packed)}; this run has the "
                f"{len(names)} classes {', '.join(names)}. Run data_processing with the same data.classes as this "
                "pipeline: kedro run --pipelines data_processing"
            )

    def require_reading(self, reading: Reading) -> None:
        """Refuse samples that were packed with other classes or other reading settings.

        Raises:
            VocSegError: With both settings.
        """
        self.require_classes(reading.classes.names)
        packed = self.origin.reading
        if packed and packed != reading.settings:
            raise VocSegError(
                f"{self.path} was packed with {packed}; this run has {reading.settings}. Run data_processing with the "
                "same settings as this pipeline: kedro run --pipelines data_processing"
            )

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.path}")
        number = bisect_right(self._ends, index)
        try:
            return self.shards[number][index - (self._ends[number - 1] if number else 0)]
        except IncompleteStoreError:
            discard_intact_record(self.path)  # or data_processing would trust the file
            raise

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        # Opened on first access: an error in unpickling would end a worker silently.
        self.path, self.read_index = state["path"], None
