"""Arrow files of a sample store: columns, origin of the samples, and mapping into memory."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from voc_seg.system.errors import VocSegError
from voc_seg.voc.sources import data_name

IDS = pa.schema([("id", pa.string())])
"""Column of a file that lists the samples of shards."""
SAMPLES = pa.schema(
    [*IDS, ("height", pa.int32()), ("width", pa.int32()), ("image", pa.binary()), ("mask", pa.binary())]
)
"""Columns of packed samples, one record batch each."""

_ORIGIN, SEAL = b"origin", b"seal"
_SEAL_BYTES = 12
_REPACK_COMMAND = "kedro run --pipelines data_processing"


@dataclass(frozen=True)
class Origin:
    """Source of the samples; stored in the file.

    | field       | type            | meaning                                                          |
    |-------------|-----------------|------------------------------------------------------------------|
    | source      | str             | key of `voc_seg.voc.sources.SOURCES`                              |
    | folder      | str             | the folder of the images                                         |
    | classes     | tuple[str, ...] | class names by mask value; empty: not known                      |
    | fingerprint | str             | changes when any file or the list of images does; empty: unknown |
    | reading     | str             | as `voc_seg.voc.pairs.Reading.settings`; empty: unknown          |
    | channels    | int             | channels of every image                                          |
    | mean, std   | tuple[float, ...] | of each channel over all samples, in [0, 1]; empty: not measured |
    """

    source: str = ""
    folder: str = ""
    classes: tuple[str, ...] = ()
    fingerprint: str = ""
    reading: str = ""
    channels: int = 3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What people call the data, in reports and messages."""
        return data_name(self.source, Path(self.folder).parent)

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """As the metadata of an Arrow schema."""
        # Stores of RGB images stay readable for earlier versions, which do not know these fields.
        found = {name: value for name, value in asdict(self).items() if value != _ADDED.get(name, ...)}
        return {_ORIGIN: json.dumps(found).encode()}

    @classmethod
    def of(cls, schema: pa.Schema) -> "Origin":
        """From the metadata of an Arrow schema."""
        found = json.loads((schema.metadata or {}).get(_ORIGIN, b"{}"))
        return cls(**found | {name: tuple(found.get(name, ())) for name in ("classes", "mean", "std")})


_ADDED = {"channels": 3, "mean": (), "std": ()}
UNKNOWN = Origin()


class IncompleteStoreError(VocSegError):
    """A file of a store is missing or damaged, so the samples must be packed again."""


def digest(*texts: bytes) -> str:
    """A hash of texts that also depends on their boundaries."""
    found = hashlib.blake2b(digest_size=_SEAL_BYTES)
    for text in texts:
        found.update(len(text).to_bytes(8, "big") + text)
    return found.hexdigest()


def with_seal(metadata: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The metadata of an Arrow schema with a checksum, which `open_arrow` compares."""
    others = {key: text for key, text in metadata.items() if key != SEAL}
    return others | {SEAL: digest(*(part for item in sorted(others.items()) for part in item)).encode()}


class Stamp(NamedTuple):
    """Identity and state of a file, from ``os.stat``; it changes when the file is written. Times in ns."""

    inode: int
    size: int
    written: int
    changed: int


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None if the file is missing or inaccessible."""
    try:
        state = os.stat(path)  # noqa: PTH116 - asked for every sample, and quicker than Path.stat
    except OSError:
        return None
    return Stamp(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def open_arrow(path: Path, what: str, *schemas: pa.Schema) -> pa.ipc.RecordBatchFileReader:
    """Map an Arrow file into memory; no descriptor stays open, so thousands of files can be mapped at once.

    A list of ids is read instead of mapped: it is small, and a map of a truncated file would kill the process.

    Args:
        path: The file.
        what: Its name in messages.
        schemas: Accepted columns.

    Raises:
        IncompleteStoreError: The file is missing, incomplete, or not a regular file.
        VocSegError: The file cannot be opened for now: permissions or limits.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise IncompleteStoreError(f"{path} is {kind}, not a {what}. Move it elsewhere and run: {_REPACK_COMMAND}")
        with pa.memory_map(str(path)) as file:
            content = file.read_buffer()  # keeps the map when the file is closed
    except (FileNotFoundError, NotADirectoryError):
        raise IncompleteStoreError(f"No {what} at {path}. Make it with: {_REPACK_COMMAND}") from None
    except (pa.ArrowException, OSError) as error:
        if (found := stamp_of(path)) and not found.size:  # nothing to map
            raise damaged_error(path, what, "it is empty") from error
        raise VocSegError(
            f"{path}, a {what}, cannot be opened ({error}). It may be intact: check its permissions and the "
            "limits on memory (ulimit -v) and on mapped files (vm.max_map_count)."
        ) from error
    try:
        reader = pa.ipc.open_file(content)
        if reader.schema.equals(IDS):
            reader = pa.ipc.open_file(pa.py_buffer(content.to_pybytes()))
        metadata = reader.schema.metadata or {}
        if SEAL in metadata and metadata != with_seal(metadata):
            raise ValueError("its metadata has changed since it was written")
        Origin.of(reader.schema)
        known = any(reader.schema.equals(schema) for schema in schemas)
        columns = ", ".join(reader.schema.names)
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        MemoryError,
    ) as error:
        raise damaged_error(path, what, error) from error
    if not known:
        raise damaged_error(path, what, f"its columns are {columns}")
    return reader


def damaged_error(path: Path, what: str, why: object) -> IncompleteStoreError:
    """The error for a damaged file."""
    return IncompleteStoreError(f"{path} is not a complete {what} ({why}). Delete it and run: {_REPACK_COMMAND}")
