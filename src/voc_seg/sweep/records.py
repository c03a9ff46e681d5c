"""What a sweep remembers of each run, in ``sweep.json`` of the run's folder: its settings, and what it has finished."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic.main import IncEx

from voc_seg.config import Parameters, flattened
from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError

_FILE = "sweep.json"
# None of them changes what comes out.
_APART: dict[str, IncEx | bool] = {
    "run": True,
    "runtime": {"device", "workers", "distributed_timeout", "keep_memory"},
    "comparison": True,
    "tracking": True,
    "training": {"resume", "accept_changed_data", "checkpoint"},
}


@dataclass(frozen=True)
class Record:
    """Environment and settings of a run as they were when it was first started, and the pipelines it has finished."""

    environment: str
    settings: dict[str, Any]
    finished: Sequence[str] = ()


def describe(environment: str, parameters: Parameters, own: Mapping[str, Any] | None = None) -> Record:
    """The record of a run that has not begun; ``own`` are parameters of the user's pipelines."""
    plain = json.loads(json.dumps(own or {}, default=str))  # as the record will be read
    return Record(environment, dict(flattened(parameters.model_dump(mode="json", exclude=_APART) | plain)))


def earlier(folder: Path, wanted: Record) -> Record:
    """What is known of the run in a folder; ``wanted`` itself, with nothing finished, for one that is new.

    Raises:
        VocSegError: The folder is that of another run.
    """
    advice = "Give this sweep a name of its own with --name, or delete that folder."
    path = folder / _FILE
    if not path.is_file():
        if _has_models(folder):
            raise VocSegError(f"{folder} is that of a run which no sweep has made. {advice}")
        return wanted
    try:
        known = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise VocSegError(f"{path} cannot be read ({error}). Delete that folder to make the run anew.") from error
    was = {"--env": known.environment, **known.settings}
    now = {"--env": wanted.environment, **wanted.settings}
    differing = [f"{key}: {was.get(key)} then, {now.get(key)} now" for key in now | was if was.get(key) != now.get(key)]
    if differing and not known.finished and not _has_models(folder):
        return wanted  # it came to nothing: whatever made it fail may have been put right
    if differing:
        raise VocSegError(f"{folder} holds a run with other settings:\n  " + "\n  ".join(differing) + f"\n{advice}")
    return known


def _has_models(folder: Path) -> bool:
    return any((folder / "06_models").glob("**/*.pth"))


def write(folder: Path, record: Record, finished: Collection[str]) -> None:
    """Remember a run, with these pipelines finished."""
    with atomic_write(folder / _FILE) as partial:
        partial.write_text(json.dumps(asdict(record) | {"finished": sorted(finished)}, indent=2), encoding="utf-8")
