"""Which files of a store are as they were when their samples were last compared with their checksums."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from voc_seg.atomic import replacing
from voc_seg.errors import VocSegError

from .shard import Shard


def unchecked(store: Path, shards: Sequence[Shard]) -> list[Shard]:
    """The shards that have changed, or come from elsewhere, since `note_intact`."""
    known = _noted(store)
    return [shard for shard in shards if known.get(shard.path.name) != _stamp(shard.path)]


def note_intact(store: Path, files: Sequence[Path]) -> None:
    """Note that the samples in these files are whole, so that they need not be read again to know it."""
    stamps = {file.name: _stamp(file) for file in files}
    if stamps == _noted(store):
        return
    # Where nothing can be written, samples are read again next time.
    with suppress(VocSegError), replacing(_note(store)) as partial:
        partial.write_text(json.dumps(stamps), encoding="utf-8")


def _note(store: Path) -> Path:
    return store.with_name(f".{store.name}.intact.json")


def _noted(store: Path) -> dict[str, str]:
    try:
        found = json.loads(_note(store).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(file: Path) -> str:
    try:
        state = file.stat()
    except OSError:
        return "missing"
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
