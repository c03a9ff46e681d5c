"""Record of store files whose samples have been verified, so that unchanged files need not be read again."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError

from .arrow_file import stamp_of
from .shard import Shard


def stamps_of(files: Sequence[Path]) -> dict[str, str]:
    """For each file name a text that changes when the file is written. Take it before reading the file."""
    return {file.name: _stamp(file) for file in files}


def shards_to_verify(store: Path, shards: Sequence[Shard]) -> list[Shard]:
    """The shards that are new or have changed since `record_intact`."""
    known = _read_record(store)
    return [shard for shard in shards if known.get(shard.path.name) != _stamp(shard.path)]


def record_intact(store: Path, stamps: dict[str, str]) -> None:
    """Record that the samples in files with these stamps are intact, so that they need not be read again."""
    if stamps == _read_record(store):
        return
    # If the record cannot be written, samples are verified again next time.
    with suppress(VocSegError), atomic_write(_record_path(store)) as partial:
        partial.write_text(json.dumps(stamps), encoding="utf-8")


def discard_intact_record(store: Path) -> None:
    """Verify all samples next time, because one is damaged in a file that looks unchanged."""
    with suppress(OSError):
        _record_path(store).unlink()


def _record_path(store: Path) -> Path:
    return store.with_name(f".{store.name}.intact.json")


def _read_record(store: Path) -> dict[str, str]:
    if not _record_path(store).is_file():  # reading a pipe would never end
        return {}
    try:
        found = json.loads(_record_path(store).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(file: Path) -> str:
    found = stamp_of(file)
    return " ".join(map(str, found)) if found else "missing"
