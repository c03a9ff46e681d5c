"""Outputs that cannot be written are noticed before a run, not after hours of work."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg.atomic import is_mounted_file
from voc_seg.hooks import RunStoppedError
from voc_seg.torchrun import place


class OutputHooks:
    """Looks at the place of everything a run is to write; see ``settings.py``. It makes and changes nothing."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Check the files and folders of the nodes that are to run; memory and object stores are passed over.

        Raises:
            RunStoppedError: One of them cannot be written. A disk that fills up later cannot be foreseen.
        """
        if place().rank:  # rank 0 writes
            return
        outputs = set(pipeline.all_outputs())
        if run_params.get("only_missing_outputs"):
            outputs = {name for name in outputs if not catalog.exists(name)}
        faults = dict.fromkeys(fault for name in sorted(outputs) for fault in faults_of(catalog.get(name)))
        if faults:
            raise RunStoppedError(
                "This run could not write its outputs; nothing has run.\n" + "\n".join(f"  {fault}" for fault in faults)
            )


def faults_of(dataset: AbstractDataset | None) -> Iterator[str]:
    """Why an entry of the catalog cannot be saved on this machine, and what to do; nothing where it can."""
    about = dataset._describe() if dataset is not None else {}
    if not about.get("filepath") or about.get("protocol", "file") != "file" or about.get("version") is not None:
        return
    # Those of the project's own entries that write files into a folder know it by this name.
    folder = getattr(dataset, "_folder", None)
    fault = fault_of_folder(Path(folder)) if folder else fault_of_place(Path(str(about["filepath"])))
    if fault:
        yield fault


def fault_of_place(path: Path) -> str | None:
    """Why a file cannot be written or replaced, and what to do; None where it can."""
    target = Path(os.path.realpath(path))
    try:
        about = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return fault_of_folder(target.parent)
    except OSError as error:  # a link in a circle, a folder that may not be looked into
        return f"{path}: {error.strerror or error}. Put that right, or remove it."
    if stat.S_ISDIR(about.st_mode):
        return f"{path} is a folder, but a file is to be written there. Move it away."
    if is_mounted_file(target):
        return f"{path} is mounted by itself and cannot be replaced. Mount its folder ({path.parent}) instead."
    if not _is_replaceable(target, about):
        return f"{path} cannot be replaced (immutable, or of another user). Make it writable (chattr -i, chown)."
    return fault_of_folder(target.parent)


def fault_of_folder(folder: Path) -> str | None:
    """Why nothing can be written into a folder, there already or to be made, and what to do; None where it can."""
    existing = Path(os.path.realpath(folder))
    try:
        while not os.path.lexists(existing):
            existing = existing.parent
        if not stat.S_ISDIR(existing.stat().st_mode):
            return f"{existing} is a file, but a folder is needed there. Move it away."
    except OSError as error:
        return f"{existing}: {error.strerror or error}. Put that right, or remove it."
    if os.access(existing, os.W_OK | os.X_OK):
        return None
    return (
        f"{existing} cannot be written to (read-only, or of another user). Make it writable, or give the catalog's "
        "entries another filepath."
    )


def _is_replaceable(path: Path, about: os.stat_result) -> bool:
    """Whether another file may take the name of this one; its permissions do not matter for that, its folder's do."""
    if not hasattr(os, "geteuid"):
        return True
    user, folder = os.geteuid(), path.parent.stat()
    if folder.st_mode & stat.S_ISVTX and user not in (0, about.st_uid, folder.st_uid):
        return False  # in a folder like /tmp
    is_allowed = user == 0 or (user == about.st_uid and about.st_mode & stat.S_IWUSR)
    return not is_allowed or os.access(path, os.W_OK)  # allowed, and yet not possible: immutable
