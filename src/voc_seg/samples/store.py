"""The packed sample store: decoded images and masks of a split in one memory-mapped Arrow file."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import filelock
import numpy as np
import pyarrow as pa

from voc_seg.atomic import sync_folder
from voc_seg.errors import VocSegError

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.binary()),
        ("mask", pa.binary()),
    ]
)


_ORIGIN = b"origin"


@dataclass(frozen=True)
class Origin:
    """What samples were made from; kept in the file.

    | field       | type            | meaning                                                          |
    |-------------|-----------------|------------------------------------------------------------------|
    | source      | str             | key of `voc_seg.voc.splits.SOURCES`                              |
    | folder      | str             | the folder of the images                                         |
    | classes     | tuple[str, ...] | class names by mask value; empty: not known                      |
    | fingerprint | str             | changes when any file or the list of images does; empty: unknown |
    """

    source: str = ""
    folder: str = ""
    classes: tuple[str, ...] = ()
    fingerprint: str = ""


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


def write_store(path: Path, samples: Iterable[Sample], origin: Origin = Origin()) -> int:
    """Write samples as a stream, one record batch each; an interrupted write leaves the old file in place.

    Args:
        path: Arrow IPC file to write.
        samples: Consumed one by one, so memory stays flat.
        origin: What they are made from.

    Returns:
        Number of samples written.

    Raises:
        VocSegError: Another process is writing this store, or an image and its mask have different sizes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(path.with_name(f".{path.name}.lock"), blocking=False):
            return _write(path, samples, origin)
    except filelock.Timeout:
        raise VocSegError(f"Another process is writing {path}. Wait for it to end and run again.") from None


def _write(path: Path, samples: Iterable[Sample], origin: Origin) -> int:
    partial = path.with_name(path.name + ".partial")
    count = 0
    schema = _SCHEMA.with_metadata({_ORIGIN: json.dumps(asdict(origin))})
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for sample in samples:
                height, width = sample.mask.shape
                if sample.image.shape != (height, width, 3):
                    raise VocSegError(f"{sample.id}: image {sample.image.shape} and mask {sample.mask.shape} differ.")
                row = [[sample.id], [height], [width], [sample.image.tobytes()], [sample.mask.tobytes()]]
                columns = [pa.array(values, field.type) for values, field in zip(row, _SCHEMA)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                count += 1
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)  # it may have filled the disk
        raise
    return count


class SampleStore:
    """Random access to a written store. Arrays are views of the file: read-only, nothing is copied.

    Pickles as its path, so that every loader worker maps the file itself.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        _ = self._reader  # what is wrong with the file is told here

    @cached_property
    def _reader(self) -> pa.ipc.RecordBatchFileReader:
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
            if not reader.schema.equals(_SCHEMA):
                raise pa.ArrowInvalid(f"its columns are {', '.join(reader.schema.names)}")
            return reader
        except FileNotFoundError:
            raise VocSegError(
                f"No sample store at {self.path}. Make it with: kedro run --pipelines data_processing"
            ) from None
        except pa.ArrowInvalid as error:
            raise VocSegError(
                f"{self.path} is not a complete sample store ({error}). "
                "Delete it and run: kedro run --pipelines data_processing"
            ) from error

    @property
    def origin(self) -> Origin:
        """What the samples were made from."""
        found = json.loads((self._reader.schema.metadata or {}).get(_ORIGIN, b"{}"))
        return Origin(**found | {"classes": tuple(found.get("classes", ()))})

    @property
    def ids(self) -> list[str]:
        """Image ids, in the order of the samples."""
        return [self._reader.get_batch(index)["id"][0].as_py() for index in range(len(self))]

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

    def __len__(self) -> int:
        return self._reader.num_record_batches

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.path}")
        batch = self._reader.get_batch(index)
        height, width = batch["height"][0].as_py(), batch["width"][0].as_py()
        # buffers()[2] is the column's data in the map itself; a scalar's as_buffer() would be a copy.
        image = np.frombuffer(batch["image"].buffers()[2], np.uint8, height * width * 3).reshape(height, width, 3)
        mask = np.frombuffer(batch["mask"].buffers()[2], np.uint8, height * width).reshape(height, width)
        return Sample(batch["id"][0].as_py(), image, mask)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.path = state["path"]  # opened when first asked: an error in unpickling would end a worker without a word
