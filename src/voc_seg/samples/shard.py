"""Random access to one Arrow file of packed samples."""

import math
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from voc_seg.voc.classes import VOID

from .arrow_file import SAMPLES, Origin, damaged_error, open_arrow, stamp_of
from .sample import IdAndChecksum, Sample, checksum, content_digest
from .shard_writer import CHECKSUM, CONTENT, LAST, POSITION

_STRIP = 2**20
"""Labels checked at a time."""


def _extent(column: pa.BinaryArray) -> tuple[int, int]:
    """Start and end of the only row's bytes in the column's data."""
    begin, end = np.frombuffer(column.buffers()[1], np.int32, 2).tolist()
    return begin, end


def _find_unknown_label(mask: np.ndarray, classes: int) -> int | None:
    """The first label in ``uint8 (H, W)`` that is neither a class nor void, if any."""
    labels = mask.reshape(-1)
    for start in range(0, labels.size, _STRIP):
        part = labels[start : start + _STRIP]
        if (part + np.uint8(1)).max() > classes:
            return int(part[(part >= classes) & (part != VOID)][0])
    return None


class Shard:
    """Random access to one file of samples, opened on first access.

    Arrays are read-only views of the file. A sample is compared with its checksum if it has unknown labels or the file
    has been written to since it was opened.

    Args:
        path: The file.
        what: Its name in messages.
        content: Expected value of `Shard.content`; "" if unknown.
    """

    def __init__(self, path: Path, what: str = "sample store", content: str = "") -> None:
        self.path = path
        self._what = what
        self._expected = content
        self._checked: set[int] = set()
        self._overwritten = False

    @cached_property
    def _reader(self) -> pa.ipc.RecordBatchFileReader:
        self._stamp = stamp_of(self.path)
        reader = open_arrow(self.path, self._what, SAMPLES)
        notes = self._notes_of(reader, reader.num_record_batches - 1) if reader.num_record_batches else {}
        if CHECKSUM in notes and LAST not in notes:
            raise damaged_error(self.path, self._what, "its last samples are missing")
        if self._expected and notes.get(CONTENT) != self._expected:
            raise damaged_error(self.path, self._what, "it holds other samples than the store lists")
        return reader

    @cached_property
    def _classes(self) -> int:
        """Number of classes the samples were packed for; 0 if unknown."""
        return len(self.origin.classes)

    @cached_property
    def _channels(self) -> int:
        return self.origin.channels

    @property
    def origin(self) -> Origin:
        """The source of the samples."""
        return Origin.of(self._reader.schema)

    @property
    def content(self) -> str:
        """`content_digest` of all samples, read from the metadata of the last."""
        return self._notes(len(self) - 1).get(CONTENT, "") if len(self) else content_digest(())

    def ids(self) -> list[str]:
        """Ids of the samples; reads every record batch."""
        return [self._batch(index)["id"][0].as_py() for index in range(len(self))]

    def packed(self) -> list[IdAndChecksum]:
        """Id of each sample and the checksum it was written with; pixels are not read."""
        return [(name, self._written(index)) for index, name in enumerate(self.ids())]

    def require_intact(self) -> None:
        """Read every byte of every sample and compare it with its checksum.

        Raises:
            IncompleteStoreError: One has changed since it was written; it is named.
        """
        for index in range(len(self)):
            self._verify_checksum(index, self[index])
        if len(self) and self.content and self.content != content_digest(value for _, value in self.packed()):
            raise damaged_error(self.path, self._what, "its samples are not those it was written with")

    def _verify_checksum(self, index: int, sample: Sample) -> bool:
        """Compare a sample with its checksum; False if it has none, in a store of an earlier version."""
        written = self._written(index)
        if written is None:
            return False
        height, width = sample.mask.shape
        found = checksum(sample.id, height, width, sample.image.data, sample.mask.data)
        if found != written or self._notes(index).get(POSITION) != str(index):
            raise damaged_error(
                self.path, self._what, f"sample {index}, {sample.id!r}, has changed since it was packed"
            )
        return True

    def _written(self, index: int) -> int | None:
        try:
            text = self._notes(index).get(CHECKSUM)
            return None if text is None else int(text, 16) % 2**32
        except ValueError as error:
            raise damaged_error(self.path, self._what, f"sample {index}: {error}") from error

    def _notes(self, index: int) -> dict[str, str]:
        self._check_file_unchanged()
        return self._notes_of(self._reader, index)

    def _notes_of(self, reader: pa.ipc.RecordBatchFileReader, index: int) -> dict[str, str]:
        try:
            notes = reader.get_batch_with_custom_metadata(index).custom_metadata or {}
            return {key.decode(): value.decode() for key, value in notes.items()}
        except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
            raise damaged_error(self.path, self._what, f"sample {index}: {error}") from error

    def __len__(self) -> int:
        self._check_file_unchanged()
        return self._reader.num_record_batches

    def __getitem__(self, index: int) -> Sample:
        batch = self._batch(index)
        height, width = batch["height"][0].as_py(), batch["width"][0].as_py()
        if index not in self._checked:
            self._require_sizes(batch, index, height, width)
        try:
            # buffers()[2] is the column's data in the map itself; a scalar's as_buffer() would be a copy.
            size = height, width, self._channels
            image = np.frombuffer(batch["image"].buffers()[2], np.uint8, math.prod(size)).reshape(size)
            mask = np.frombuffer(batch["mask"].buffers()[2], np.uint8, height * width).reshape(height, width)
            sample = Sample(batch["id"][0].as_py(), image, mask)
        except ValueError as error:
            raise damaged_error(self.path, self._what, f"sample {index}: {error}") from error
        if index not in self._checked:
            self._verify_if_suspect(index, sample)
            self._checked.add(index)  # crops are taken thousands of times
        return sample

    def _check_file_unchanged(self) -> None:
        """Check the file before the map is read: reading the map of a truncated file kills the process (SIGBUS)."""
        stamp = self._reader and self._stamp
        now = stamp_of(self.path)
        # The map of a file that was deleted or replaced keeps the old content.
        if now == stamp or now is None or stamp is None or now.inode != stamp.inode:
            return
        if now.size < stamp.size:
            why = f"truncated from {stamp.size} to {now.size} bytes while it was in use"
            raise damaged_error(self.path, self._what, why)
        self._stamp, self._overwritten = now, True
        self._checked.clear()

    def _verify_if_suspect(self, index: int, sample: Sample) -> None:
        """Compare a sample with its checksum if its file was written to or a label is unknown."""
        label = _find_unknown_label(sample.mask, self._classes) if self._classes else None
        if (self._overwritten or label is not None) and self._verify_checksum(index, sample):
            return
        if label is not None:
            why = f"sample {index}, {sample.id!r}, has the label {label}, but there are {self._classes} classes"
            raise damaged_error(self.path, self._what, why)

    def _require_sizes(self, batch: pa.RecordBatch, index: int, height: int, width: int) -> None:
        sizes = {"image": height * width * self._channels, "mask": height * width}
        if min(height, width) < 1 or any(_extent(batch[name]) != (0, size) for name, size in sizes.items()):
            raise damaged_error(
                self.path, self._what, f"sample {index} does not have the size it states, {width} x {height}"
            )

    def _batch(self, index: int) -> pa.RecordBatch:
        self._check_file_unchanged()
        try:
            batch = self._reader.get_batch(index)
            if index in self._checked:
                return batch
            batch.validate(full=True)  # rejects offsets outside the file before they are used
        except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
            raise damaged_error(self.path, self._what, f"sample {index}: {error}") from error
        if batch.num_rows != 1 or any(column.null_count for column in batch.columns):
            raise damaged_error(self.path, self._what, f"sample {index} is not one row")
        return batch
