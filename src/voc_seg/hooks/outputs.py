"""Check before a run that its outputs can be written, instead of failing after hours of work."""

import os
import stat
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg.system.atomic import is_mounted_file
from voc_seg.system.torchrun import process_info

from .validation import RunStoppedError


class OutputHooks:
    """Checks where a run will write, and creates or changes nothing; see ``settings.py``."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Check the files and folders that the nodes of this run write; memory and object stores are skipped.

        Raises:
            RunStoppedError: One of them cannot be written. A disk that fills up later is not foreseen.
        """
        if process_info().rank:  # rank 0 writes
            return
        outputs = set(pipeline.all_outputs())
        if run_params.get("only_missing_outputs"):
            outputs = {name for name in outputs if not catalog.exists(name)}
        found = (fault_of_entry(catalog.get(name)) for name in sorted(outputs))
        if faults := dict.fromkeys(fault for fault in found if fault):
            raise RunStoppedError(
                "This run cannot write its outputs; nothing has run.\n" + "\n".join(f"  {fault}" for fault in faults)
            )


def fault_of_entry(dataset: AbstractDataset | None) -> str | None:
    """Why an entry of the catalog cannot be saved on this machine, and what to do; None where it can."""
    about = dataset._describe() if dataset is not None else {}
    if not about.get("filepath") or about.get("protocol", "file") != "file" or about.get("version") is not None:
        return None
    # The project's own datasets that write files into a folder keep it under this name.
    folder = getattr(dataset, "_folder", None)
    return fault_of_folder(Path(folder)) if folder else fault_of_place(Path(str(about["filepath"])))


def fault_of_place(path: Path) -> str | None:
    """Why a file cannot be written or replaced, and what to do; None where it can."""
    target = Path(os.path.realpath(path))
    try:
        about = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return fault_of_folder(target.parent)
    except OSError as error:  # a circle of links, a folder without permissions
        return f"{path} cannot be written: {error.strerror or error}. Repair or remove it."
    if stat.S_ISDIR(about.st_mode):
        return f"{path} is a folder, but this run writes a file there. Move it away."
    if is_mounted_file(target):
        return f"{path} is mounted as a single file and cannot be replaced. Mount its folder ({path.parent}) instead."
    if not _is_replaceable(target, about):
        return f"{path} cannot be replaced (immutable, or owned by another user). Make it writable (chattr -i, chown)."
    return fault_of_folder(target.parent)


def fault_of_folder(folder: Path) -> str | None:
    """Why nothing can be written into a folder, existing or not, and what to do; None where it can."""
    existing = Path(os.path.realpath(folder))
    try:
        while not os.path.lexists(existing) and existing != existing.parent:  # a drive of Windows may be missing
            existing = existing.parent
        if not stat.S_ISDIR(existing.stat().st_mode):
            return f"{existing} is a file, but a folder is needed there. Move it away."
    except OSError as error:
        return f"{existing} cannot be written to: {error.strerror or error}. Repair or remove it."
    if os.access(existing, os.W_OK | os.X_OK):
        return None
    return (
        f"{existing} cannot be written to (read-only, or owned by another user). Make it writable, or change the "
        "filepath of the catalog entries."
    )


def _is_replaceable(path: Path, about: os.stat_result) -> bool:
    """Whether a file can be replaced; that depends on its owner, its folder and attributes, not on its permissions."""
    if not hasattr(os, "geteuid"):
        return True
    user, folder = os.geteuid(), path.parent.stat()
    if folder.st_mode & stat.S_ISVTX and user not in (0, about.st_uid, folder.st_uid):
        return False  # in a folder like /tmp
    is_allowed = user == 0 or (user == about.st_uid and about.st_mode & stat.S_IWUSR)
    return not is_allowed or os.access(path, os.W_OK)  # permitted but not possible: immutable
