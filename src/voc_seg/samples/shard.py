"""One Arrow file of packed samples: how it is written, mapped and read."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID

from .arrow_file import SAMPLES, Origin, damaged, open_arrow, sealed, stamp_of
from .paths import make_way

_CHECKSUM, _POSITION, _CONTENT, _LAST = "checksum", "position", "content", "last"
"""Keys of the metadata of a record batch; stores of earlier versions have none of them."""
_CONTENT_BYTES = 12
_STRIP = 2**20
"""Labels that are looked at at once."""


@dataclass(frozen=True)
class Sample:
    """One image with its truth.

    | field | shape     | dtype | range                                 |
    |-------|-----------|-------|---------------------------------------|
    | id    |           | str   | file name without ending              |
    | image | (H, W, 3) | uint8 | RGB, 0..255                           |
    | mask  | (H, W)    | uint8 | class index 0, 1 ..., or 255 for void |
    """

    id: str
    image: np.ndarray
    mask: np.ndarray


def write_shard(path: Path, samples: Iterable[Sample], origin: Origin, size: int | None = None) -> list["Packed"]:
    """Write samples as a stream, one record batch each; an interrupted write leaves the old file in place.

    Args:
        path: Arrow IPC file to write.
        samples: Consumed one by one, so memory stays flat.
        origin: What they are made from.
        size: Bytes they will take; for the message when there is no room.

    Returns:
        Id and `checksum` of each.

    Raises:
        VocSegError: An image and its mask have different sizes, or the file cannot be written.
    """
    make_way(path)
    packed: list[Packed] = []
    content = hashlib.blake2b(digest_size=_CONTENT_BYTES)
    schema = SAMPLES.with_metadata(sealed(origin.metadata))
    with (
        atomic_write(path, size) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for sample, last in _with_last(samples):
            height, width = sample.mask.shape
            if sample.image.shape != (height, width, 3):
                raise VocSegError(f"{sample.id}: image {sample.image.shape} and mask {sample.mask.shape} differ.")
            image, mask = (pa.py_buffer(np.ascontiguousarray(pixels)) for pixels in (sample.image, sample.mask))
            found = checksum(sample.id, height, width, image, mask)
            head = (pa.array([value], field.type) for value, field in zip((sample.id, height, width), schema))
            arrays = [*head, _only_value(image), _only_value(mask)]
            content.update(found.to_bytes(4, "big"))
            notes = {_CHECKSUM: f"{found:08x}", _POSITION: str(len(packed))}
            if last:
                notes |= {_LAST: "yes", _CONTENT: content.hexdigest()}
            packed.append((sample.id, found))
            writer.write_batch(pa.record_batch(arrays, schema=schema), custom_metadata=notes)
    return packed


def _only_value(content: pa.Buffer) -> pa.BinaryArray:
    """A column of one row; the bytes are not copied."""
    extent = pa.py_buffer(np.array([0, content.size], np.int32))
    return pa.BinaryArray.from_buffers(pa.binary(), 1, [None, extent, content])


def _with_last(samples: Iterable[Sample]) -> Iterator[tuple[Sample, bool]]:
    """Each sample, and whether it is the last."""
    before = None
    for sample in samples:
        if before is not None:
            yield before, False
        before = sample
    if before is not None:
        yield before, True


Packed = tuple[str, int | None]
"""Id of a sample and its checksum; None in a store of an earlier version."""


def checksum(name: str, height: int, width: int, image: bytes | pa.Buffer, mask: bytes | pa.Buffer) -> int:
    """CRC-32 of everything a sample consists of."""
    return zlib.crc32(mask, zlib.crc32(image, zlib.crc32(f"{name} {height} {width} ".encode())))


def content_of(checksums: Iterable[int | None]) -> str:
    """One text for samples by their checksums, in order, however they are sharded; "" where one is unknown."""
    digest = hashlib.blake2b(digest_size=_CONTENT_BYTES)
    for value in checksums:
        if value is None:
            return ""
        digest.update(value.to_bytes(4, "big"))
    return digest.hexdigest()


def counted(samples: Iterable[Sample], advance: Callable[[int], None]) -> Iterator[Sample]:
    """The same samples; a progress bar advances by each."""
    for sample in samples:
        yield sample
        advance(1)


def _extent(column: pa.BinaryArray) -> tuple[int, int]:
    """Where the bytes of the only row begin and end in the column's data."""
    begin, end = np.frombuffer(column.buffers()[1], np.int32, 2).tolist()
    return begin, end


def _unknown_label(mask: np.ndarray, classes: int) -> int | None:
    """A label in ``uint8 (H, W)`` that is neither a class nor void; None where there is none."""
    labels = mask.reshape(-1)
    for start in range(0, labels.size, _STRIP):
        part = labels[start : start + _STRIP]
        if (part + np.uint8(1)).max() > classes:
            return int(part[(part >= classes) & (part != VOID)][0])
    return None


class Shard:
    """Random access to one file of samples, which is opened when the first is asked for.

    Arrays are views of the file: read-only, nothing is copied. A sample is compared with its checksum where it has
    labels that are no class, and where somebody has written to the file since it was opened.

    Args:
        path: The file.
        what: What a message calls it.
        content: What `Shard.content` is to be; "": not known.
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
        if _CHECKSUM in notes and _LAST not in notes:
            raise damaged(self.path, self._what, "its last samples are missing")
        if self._expected and notes.get(_CONTENT) != self._expected:
            raise damaged(self.path, self._what, "it holds other samples than the store lists")
        return reader

    @cached_property
    def _classes(self) -> int:
        """How many classes the samples were packed for; 0: not known."""
        return len(self.origin.classes)

    @property
    def origin(self) -> Origin:
        """What the samples were made from."""
        return Origin.of(self._reader.schema)

    @property
    def content(self) -> str:
        """What `content_of` says of all samples; read from the last of them alone."""
        return self._notes(len(self) - 1).get(_CONTENT, "") if len(self) else content_of(())

    def ids(self) -> list[str]:
        """Ids of the samples; every one is looked at."""
        return [self._batch(index)["id"][0].as_py() for index in range(len(self))]

    def packed(self) -> list[Packed]:
        """Id of each sample and the checksum it was written with; every one is looked at, but not its pixels."""
        return [(name, self._written(index)) for index, name in enumerate(self.ids())]

    def require_intact(self) -> None:
        """Read every byte of every sample and compare it with its checksum.

        Raises:
            IncompleteStoreError: One has changed since it was written; it is named.
        """
        for index in range(len(self)):
            self._require_as_packed(index, self[index])
        if len(self) and self.content and self.content != content_of(value for _, value in self.packed()):
            raise damaged(self.path, self._what, "its samples are not those it was written with")

    def _require_as_packed(self, index: int, sample: Sample) -> bool:
        """Compare a sample with its checksum; False if it has none, in a store of an earlier version."""
        written = self._written(index)
        if written is None:
            return False
        height, width = sample.mask.shape
        found = checksum(sample.id, height, width, sample.image.data, sample.mask.data)
        if found != written or self._notes(index).get(_POSITION) != str(index):
            raise damaged(self.path, self._what, f"sample {index}, {sample.id!r}, has changed since it was packed")
        return True

    def _written(self, index: int) -> int | None:
        try:
            text = self._notes(index).get(_CHECKSUM)
            return None if text is None else int(text, 16) % 2**32
        except ValueError as error:
            raise damaged(self.path, self._what, f"sample {index}: {error}") from error

    def _notes(self, index: int) -> dict[str, str]:
        self._look_at_file()
        return self._notes_of(self._reader, index)

    def _notes_of(self, reader: pa.ipc.RecordBatchFileReader, index: int) -> dict[str, str]:
        try:
            notes = reader.get_batch_with_custom_metadata(index).custom_metadata or {}
            return {key.decode(): value.decode() for key, value in notes.items()}
        except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
            raise damaged(self.path, self._what, f"sample {index}: {error}") from error

    def __len__(self) -> int:
        self._look_at_file()
        return self._reader.num_record_batches

    def __getitem__(self, index: int) -> Sample:
        batch = self._batch(index)
        height, width = batch["height"][0].as_py(), batch["width"][0].as_py()
        if index not in self._checked:
            self._require_sizes(batch, index, height, width)
        try:
            # buffers()[2] is the column's data in the map itself; a scalar's as_buffer() would be a copy.
            image = np.frombuffer(batch["image"].buffers()[2], np.uint8, height * width * 3).reshape(height, width, 3)
            mask = np.frombuffer(batch["mask"].buffers()[2], np.uint8, height * width).reshape(height, width)
            sample = Sample(batch["id"][0].as_py(), image, mask)
        except ValueError as error:
            raise damaged(self.path, self._what, f"sample {index}: {error}") from error
        if index not in self._checked:
            self._require_sound(index, sample)
            self._checked.add(index)  # crops are taken thousands of times
        return sample

    def _look_at_file(self) -> None:
        """Check that the file has not changed since it was mapped, before the map is read.

        Reading the map of a truncated file would kill the process (SIGBUS).
        """
        stamp = self._reader and self._stamp
        now = stamp_of(self.path)
        # The map of a file that was deleted or replaced keeps the old content.
        if now == stamp or now is None or stamp is None or now.inode != stamp.inode:
            return
        if now.size < stamp.size:
            why = f"truncated from {stamp.size} to {now.size} bytes while it was in use"
            raise damaged(self.path, self._what, why)
        self._stamp, self._overwritten = now, True
        self._checked.clear()

    def _require_sound(self, index: int, sample: Sample) -> None:
        """Compare a sample with its checksum if its file was written to or a label is no class."""
        label = _unknown_label(sample.mask, self._classes) if self._classes else None
        if (self._overwritten or label is not None) and self._require_as_packed(index, sample):
            return
        if label is not None:
            why = f"sample {index}, {sample.id!r}, has the label {label}, but there are {self._classes} classes"
            raise damaged(self.path, self._what, why)

    def _require_sizes(self, batch: pa.RecordBatch, index: int, height: int, width: int) -> None:
        sizes = {"image": height * width * 3, "mask": height * width}
        if min(height, width) < 1 or any(_extent(batch[name]) != (0, size) for name, size in sizes.items()):
            raise damaged(self.path, self._what, f"sample {index} does not have the size it states, {width} x {height}")

    def _batch(self, index: int) -> pa.RecordBatch:
        self._look_at_file()
        try:
            batch = self._reader.get_batch(index)
            if index in self._checked:
                return batch
            batch.validate(full=True)  # of offsets that lead out of the file, before anything follows them
        except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
            raise damaged(self.path, self._what, f"sample {index}: {error}") from error
        if batch.num_rows != 1 or any(column.null_count for column in batch.columns):
            raise damaged(self.path, self._what, f"sample {index} is not one row")
        return batch
