"""Packing many samples into shards; complete shards survive an interruption."""

import json
import logging
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from voc_seg.system.atomic import atomic_write, partial_path
from voc_seg.system.names import counted
from voc_seg.system.progress import progress_bar

from .arrow_file import IDS, UNKNOWN, IncompleteStoreError, Origin, with_seal
from .intact import record_intact, shards_to_verify, stamps_of
from .paths import delete_other_shards, exclusive_writer, move_aside, shard_files, shards_folder
from .sample import IdAndChecksum, Sample, content_digest
from .shard import Shard
from .shard_writer import with_progress, write_shard
from .store import CONTENT, LISTED, SHARDS, SampleStore, ids_digest

logger = logging.getLogger(__name__)


class ShardRange(Protocol):
    """Samples of one shard, decoded on iteration."""

    @property
    def origin(self) -> Origin:
        """Their source; the fingerprint covers only these samples."""

    @property
    def nbytes(self) -> int:
        """Approximate decoded size."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


def write_shards(path: Path, parts: Sequence[ShardRange], origin: Origin = UNKNOWN) -> int:
    """Write samples into shards, one for each part, and then the file that lists them.

    A shard has its part's fingerprint in its name, so an existing shard is not written again: after an interruption the
    next call resumes after the last complete shard, and where files have changed only their shards are written. The old
    store stays complete until the list replaces it atomically; until then both take disk space.

    Args:
        path: The file that lists them; shards go into `shards_folder`.
        parts: Consumed one after the other, sample by sample.
        origin: The source of all of them.

    Returns:
        Number of samples in the store.

    Raises:
        VocSegError: As for `write_store`.
    """
    with exclusive_writer(path), progress_bar(f"packing {path.stem}", sum(map(len, parts))) as advance:
        move_aside(shards_folder(path), folder=True)
        shards = [Shard(shards_folder(path) / _shard_name(number, part)) for number, part in enumerate(parts)]
        names = [shard.path.name for shard in shards]
        delete_other_shards(path, {*names, *_listed_shards(path)})  # left by an interrupted run of other files
        partial_path(path).unlink(missing_ok=True)  # perhaps left by a killed write of a single file
        changed = {shard.path for shard in shards_to_verify(path, shards)}
        reusable = [_reusable_samples(shard, part, shard.path in changed) for shard, part in zip(shards, parts)]
        if kept := sum(found is not None for found in reusable):
            logger.info("%s: %d of %d shards are already written", path.name, kept, len(reusable))
        packed: list[list[IdAndChecksum]] = []
        for shard, part, found in zip(shards, parts, reusable):
            if found is None:
                found = write_shard(shard.path, with_progress(part, advance), part.origin, part.nbytes)
            else:
                advance(len(part))
            packed.append(found)
        listed = [_list_entry(shard, of_shard) for shard, of_shard in zip(shards, packed)]
        content = content_digest(value for of_shard in packed for _, value in of_shard)
        ids = ids_digest(name for of_shard in packed for name, _ in of_shard)
        lists = {SHARDS: json.dumps(listed).encode(), CONTENT: content.encode(), LISTED: ids.encode()}
        schema = IDS.with_metadata(with_seal(origin.metadata | lists))
        move_aside(path)
        with (
            atomic_write(path) as partial,
            pa.OSFile(str(partial), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for of_shard in packed:
                ids = pa.array([name for name, _ in of_shard], pa.string())
                writer.write_batch(pa.record_batch([ids], schema=schema))
        delete_other_shards(path, names)
        record_intact(path, stamps_of([shard.path for shard in shards]))
    images = sum(map(len, packed))
    logger.info("%s: %s in %s", path.name, counted(images, "image"), counted(len(packed), "shard"))
    return images


def shard_matches(shard: Shard, part: ShardRange) -> bool:
    """Whether a shard holds the samples of a part, according to its metadata; samples are not read.

    Raises:
        VocSegError: The shard exists but cannot be opened.
    """
    try:
        return bool(part.origin.fingerprint) and shard.origin == part.origin and len(shard) == len(part)
    except IncompleteStoreError:
        return False


def delete_unlisted_shards(path: Path) -> None:
    """Delete leftovers of an abandoned write beside a store.

    Raises:
        VocSegError: Another process is writing this store.
    """
    partial = partial_path(path)
    found = {shard.name for shard in shard_files(path)}
    if partial.exists() or found.difference(_listed_shards(path)):
        with exclusive_writer(path):
            partial.unlink(missing_ok=True)
            delete_other_shards(path, _listed_shards(path))


def _shard_name(number: int, part: ShardRange) -> str:
    # Without a fingerprint a shard cannot be reused and must not replace one that an old store needs: a random name.
    return f"{number:05d}-{part.origin.fingerprint or secrets.token_hex(12)}.arrow"


def _list_entry(shard: Shard, packed: list[IdAndChecksum]) -> dict[str, str | int]:
    """A shard's entry in the list; its content digest reveals a swapped shard."""
    size, content = shard.path.stat().st_size, content_digest(value for _, value in packed)
    return {"name": shard.path.name, "images": len(packed), "bytes": size, "content": content if packed else ""}


def _listed_shards(path: Path) -> list[str]:
    try:
        return [shard.path.name for shard in SampleStore(path).shards]
    except IncompleteStoreError:
        return []  # unreadable, so nothing is in use


def _reusable_samples(shard: Shard, part: ShardRange, changed: bool) -> list[IdAndChecksum] | None:
    """The entries of a shard if it holds the part's samples intact, else None."""
    try:
        if not shard_matches(shard, part):
            return None
        if changed:
            shard.require_intact()
        return shard.packed()
    except IncompleteStoreError:
        return None
