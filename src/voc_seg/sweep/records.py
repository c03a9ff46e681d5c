"""The record of a run in a sweep, ``sweep.json`` in its folder: settings and finished pipelines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic.main import IncEx

from voc_seg.config import Parameters, flattened
from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError

_FILE = "sweep.json"
# Settings that do not change the results.
_EXCLUDED: dict[str, IncEx | bool] = {
    "run": True,
    "runtime": {"device", "workers", "distributed_timeout", "keep_memory"},
    "comparison": True,
    "tracking": True,
    "training": {"resume", "accept_changed_data", "checkpoint"},
}


@dataclass(frozen=True)
class Record:
    """Environment and settings of a run when it was first started, and its finished pipelines."""

    environment: str
    settings: dict[str, Any]
    finished: Sequence[str] = ()


def new_record(environment: str, parameters: Parameters, own: Mapping[str, Any] | None = None) -> Record:
    """The record of a run that has not started; ``own`` are parameters of the user's pipelines."""
    plain = json.loads(json.dumps(own or {}, default=str))  # as JSON returns them
    return Record(environment, dict(flattened(parameters.model_dump(mode="json", exclude=_EXCLUDED) | plain)))


def load_record(folder: Path, wanted: Record) -> Record:
    """The record in a folder; ``wanted``, with nothing finished, if the folder is new.

    Raises VocSegError if the folder belongs to another run.
    """
    advice = "Give this sweep another name with --name, or delete that folder."
    path = folder / _FILE
    if not path.is_file():
        if _has_models(folder):
            raise VocSegError(f"{folder} belongs to a run outside any sweep. {advice}")
        return wanted
    try:
        known = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise VocSegError(
            f"{path} cannot be read ({error}). Delete the folder to run it again from scratch."
        ) from error
    was = {"--env": known.environment, **known.settings}
    now = {"--env": wanted.environment, **wanted.settings}
    differing = [f"{key}: {was.get(key)} then, {now.get(key)} now" for key in now | was if was.get(key) != now.get(key)]
    if differing and not known.finished and not _has_models(folder):
        return wanted  # it failed without results, and its settings may have been fixed
    if differing:
        raise VocSegError(f"{folder} holds a run with other settings:\n  " + "\n  ".join(differing) + f"\n{advice}")
    return known


def _has_models(folder: Path) -> bool:
    return any((folder / "06_models").glob("**/*.pth"))


def save_record(folder: Path, record: Record, finished: Sequence[str]) -> None:
    """Write the record of a run with these finished pipelines."""
    with atomic_write(folder / _FILE) as partial:
        partial.write_text(json.dumps(asdict(record) | {"finished": sorted(set(finished))}, indent=2), encoding="utf-8")
