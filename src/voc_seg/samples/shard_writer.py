"""Writing one Arrow file of packed samples."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError

from .arrow_file import SAMPLES, Origin, with_seal
from .paths import move_aside
from .sample import CHECKSUM_BYTES, IdAndChecksum, Sample, checksum

CHECKSUM, POSITION, CONTENT, LAST = "checksum", "position", "content", "last"
"""Keys of the metadata of a record batch; stores of earlier versions have none of them."""


def write_shard(path: Path, samples: Iterable[Sample], origin: Origin, size: int | None = None) -> list[IdAndChecksum]:
    """Write samples as a stream, one record batch each; an interrupted write leaves the old file in place.

    Args:
        path: Arrow IPC file to write.
        samples: Consumed one by one, so memory stays flat.
        origin: Their source.
        size: Expected bytes, for the message when the disk is full.

    Returns:
        Id and `checksum` of each.

    Raises:
        VocSegError: An image and its mask have different sizes, or the file cannot be written.
    """
    move_aside(path)
    packed: list[IdAndChecksum] = []
    content = hashlib.blake2b(digest_size=CHECKSUM_BYTES)
    schema = SAMPLES.with_metadata(with_seal(origin.metadata))
    with (
        atomic_write(path, size) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for sample, last in _mark_last(samples):
            height, width = sample.mask.shape
            if sample.image.shape != (height, width, origin.channels):
                raise VocSegError(f"{sample.id}: image {sample.image.shape} and mask {sample.mask.shape} differ.")
            image, mask = (pa.py_buffer(np.ascontiguousarray(pixels)) for pixels in (sample.image, sample.mask))
            found = checksum(sample.id, height, width, image, mask)
            head = (pa.array([value], field.type) for value, field in zip((sample.id, height, width), schema))
            arrays = [*head, _single_row_column(image), _single_row_column(mask)]
            content.update(found.to_bytes(4, "big"))
            notes = {CHECKSUM: f"{found:08x}", POSITION: str(len(packed))}
            if last:
                notes |= {LAST: "yes", CONTENT: content.hexdigest()}
            packed.append((sample.id, found))
            writer.write_batch(pa.record_batch(arrays, schema=schema), custom_metadata=notes)
    return packed


def _single_row_column(content: pa.Buffer) -> pa.BinaryArray:
    """A column of one row; the bytes are not copied."""
    extent = pa.py_buffer(np.array([0, content.size], np.int32))
    return pa.BinaryArray.from_buffers(pa.binary(), 1, [None, extent, content])


def _mark_last(samples: Iterable[Sample]) -> Iterator[tuple[Sample, bool]]:
    """Each sample, and whether it is the last."""
    before = None
    for sample in samples:
        if before is not None:
            yield before, False
        before = sample
    if before is not None:
        yield before, True


def with_progress(samples: Iterable[Sample], advance: Callable[[int], None]) -> Iterator[Sample]:
    """The same samples, with one step of a progress bar for each."""
    for sample in samples:
        yield sample
        advance(1)
