"""Packing into shards, for what is too much for one file: what is written stays, whatever ends the run."""

import json
import logging
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from voc_seg.system.atomic import atomic_write, partial_path
from voc_seg.system.progress import progress_bar

from .arrow_file import IDS, UNKNOWN, IncompleteStoreError, Origin, sealed
from .intact import note_intact, stamps_of, unchecked
from .paths import delete_shards_but, files_of_shards, make_way, shards_folder, sole_writer
from .shard import Packed, Sample, Shard, content_of, counted, write_shard
from .store import CONTENT, LISTED, SHARDS, SampleStore, digest_of_ids

logger = logging.getLogger(__name__)


class Part(Protocol):
    """Samples of one shard, decoded while they are iterated over."""

    @property
    def origin(self) -> Origin:
        """What they are made from; the fingerprint is that of these samples alone."""

    @property
    def nbytes(self) -> int:
        """Bytes they take decoded, about."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


def write_shards(path: Path, parts: Sequence[Part], origin: Origin = UNKNOWN) -> int:
    """Write samples into shards, one a part, and then the file that lists them.

    A shard has its part's fingerprint in its name, so whatever part is there already is not decoded again: after an
    interruption the next call goes on after the last whole shard, and where files have changed only their shards are
    written. The old store stays whole until the list takes its place in one step; until then both take room.

    Args:
        path: The file that lists them; shards go into `shards_folder`.
        parts: Consumed one after the other, sample by sample.
        origin: What all of them are made from.

    Returns:
        Number of samples in the store.

    Raises:
        VocSegError: As for `write_store`.
    """
    with sole_writer(path), progress_bar(f"packing {path.stem}", sum(map(len, parts))) as advance:
        make_way(shards_folder(path), folder=True)
        shards = [Shard(shards_folder(path) / _name(number, part)) for number, part in enumerate(parts)]
        names = [shard.path.name for shard in shards]
        delete_shards_but(path, {*names, *_shards_in_use(path)})  # left by an interrupted run of other files
        partial_path(path).unlink(missing_ok=True)  # of one large file, perhaps, which was killed
        changed = {shard.path for shard in unchecked(path, shards)}
        held = [_packed_if_held(shard, part, shard.path in changed) for shard, part in zip(shards, parts)]
        if kept := sum(found is not None for found in held):
            logger.info("%s: %d of %d shards are there already", path.name, kept, len(held))
        packed: list[list[Packed]] = []
        for shard, part, found in zip(shards, parts, held):
            if found is None:
                found = write_shard(shard.path, counted(part, advance), part.origin, part.nbytes)
            else:
                advance(len(part))
            packed.append(found)
        listed = [_listed(shard, of_shard) for shard, of_shard in zip(shards, packed)]
        content = content_of(value for of_shard in packed for _, value in of_shard)
        ids = digest_of_ids(name for of_shard in packed for name, _ in of_shard)
        lists = {SHARDS: json.dumps(listed).encode(), CONTENT: content.encode(), LISTED: ids.encode()}
        schema = IDS.with_metadata(sealed(origin.metadata | lists))
        make_way(path)
        with (
            atomic_write(path) as partial,
            pa.OSFile(str(partial), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for of_shard in packed:
                ids = pa.array([name for name, _ in of_shard], pa.string())
                writer.write_batch(pa.record_batch([ids], schema=schema))
        delete_shards_but(path, names)
        note_intact(path, stamps_of([shard.path for shard in shards]))
    images = sum(map(len, packed))
    logger.info("%s: %d images in %d shards", path.name, images, len(packed))
    return images


def holds(shard: Shard, part: Part) -> bool:
    """Whether a shard holds the very samples of a part, by its head; nothing is read of the samples.

    Raises:
        VocSegError: The shard is there and cannot be opened.
    """
    try:
        return bool(part.origin.fingerprint) and shard.origin == part.origin and len(shard) == len(part)
    except IncompleteStoreError:
        return False


def delete_unused_shards(path: Path) -> None:
    """Delete what a pack that was given up half-way has left beside a store.

    Raises:
        VocSegError: Another process is writing this store.
    """
    partial = partial_path(path)
    found = {shard.name for shard in files_of_shards(path)}
    if partial.exists() or found.difference(_shards_in_use(path)):
        with sole_writer(path):
            partial.unlink(missing_ok=True)
            delete_shards_but(path, _shards_in_use(path))


def _name(number: int, part: Part) -> str:
    # Of unknown files nothing is ever taken up again, nor is anything replaced that an old store may still need.
    return f"{number:05d}-{part.origin.fingerprint or secrets.token_hex(12)}.arrow"


def _listed(shard: Shard, packed: list[Packed]) -> dict[str, str | int]:
    """What the list says of a shard; by its content one that has taken the place of another shows."""
    size, content = shard.path.stat().st_size, content_of(value for _, value in packed)
    return {"name": shard.path.name, "images": len(packed), "bytes": size, "content": content if packed else ""}


def _shards_in_use(path: Path) -> list[str]:
    try:
        return [shard.path.name for shard in SampleStore(path).shards]
    except IncompleteStoreError:
        return []  # nobody can read it


def _packed_if_held(shard: Shard, part: Part, changed: bool) -> list[Packed] | None:
    """The samples of a shard that holds those of a part; None if it does not, or is damaged inside."""
    try:
        if not holds(shard, part):
            return None
        if changed:
            shard.require_intact()
        return shard.packed()
    except IncompleteStoreError:
        return None
