"""Outputs of a run: checked before it, so that it does not fail after hours of work, and complete at its end."""

import logging
import os
import stat
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg.system.atomic import is_mounted_file
from voc_seg.system.background import finish_writes
from voc_seg.system.torchrun import process_info

from .errors import RunStoppedError

logger = logging.getLogger(__name__)


class OutputHooks:
    """Checks that outputs can be written, and waits for those written in the background; see ``settings.py``."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Refuse a run whose outputs cannot be written; memory, object stores and free disk space are not checked."""
        if process_info().rank:  # rank 0 writes
            return
        outputs = {name: catalog.get(name) for name in sorted(pipeline.all_outputs())}
        versioned = {_about(dataset).get("filepath") for dataset in outputs.values() if _about(dataset).get("version")}
        if run_params.get("only_missing_outputs"):
            outputs = {name: dataset for name, dataset in outputs.items() if not catalog.exists(name)}
        # Other entries of a file with versions find a folder there.
        found = (
            entry_fault(dataset) for dataset in outputs.values() if _about(dataset).get("filepath") not in versioned
        )
        if faults := dict.fromkeys(fault for fault in found if fault):
            raise RunStoppedError(
                "This run cannot write its outputs; nothing has run.\n" + "\n".join(f"  {fault}" for fault in faults)
            )

    @hook_impl(tryfirst=True)
    def before_node_run(self) -> None:
        """Have a checkpoint that is written in the background on disk before the next node begins."""
        finish_writes()

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Have the last checkpoint on disk before the run counts as finished."""
        finish_writes()

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """Have the checkpoint on disk before the error is shown, which may name the command that resumes from it."""
        try:
            finish_writes()
        except Exception as error:
            logger.error("The last checkpoint could not be written: %s", error)


def _about(dataset: AbstractDataset | None) -> dict[str, Any]:
    """Path and version of a catalog entry, as far as it has them; the path as text."""
    about = dataset._describe() if dataset is not None else {}
    return about | {"filepath": str(about["filepath"])} if about.get("filepath") else about


def entry_fault(dataset: AbstractDataset | None) -> str | None:
    """Why a catalog entry cannot be saved on this machine, and what to do; None if it can."""
    about = _about(dataset)
    if not about.get("filepath") or about.get("protocol", "file") != "file" or about.get("version") is not None:
        return None
    # Datasets of this project that write into a folder have this attribute.
    folder = getattr(dataset, "_folder", None)
    return folder_fault(Path(folder)) if folder else file_fault(Path(str(about["filepath"])))


def file_fault(path: Path) -> str | None:
    """Why a file cannot be written or replaced, and what to do; None if it can."""
    target = Path(os.path.realpath(path))
    try:
        about = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return folder_fault(target.parent)
    except OSError as error:  # such as a loop of links, or a folder without permissions
        return f"{path} cannot be written: {error.strerror or error}. Repair or remove it."
    if stat.S_ISDIR(about.st_mode):
        return f"{path} is a folder, but this run writes a file there. Move it away."
    if is_mounted_file(target):
        return f"{path} is mounted as a single file and cannot be replaced. Mount its folder ({path.parent}) instead."
    if fault := folder_fault(target.parent):  # first: on a read-only disk every file looks immutable
        return fault
    if not _is_replaceable(target, about):
        return f"{path} cannot be replaced (immutable, or owned by another user). Make it writable (chattr -i, chown)."
    return None


def folder_fault(folder: Path) -> str | None:
    """Why a folder, existing or not, cannot be written to, and what to do; None if it can."""
    existing = Path(os.path.realpath(folder))
    try:
        while not os.path.lexists(existing) and existing != existing.parent:  # on Windows the drive may be missing
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
    """Whether a file can be replaced, which depends on owner, folder and attributes, not on permissions."""
    if not hasattr(os, "geteuid"):
        return True
    user, folder = os.geteuid(), path.parent.stat()
    if folder.st_mode & stat.S_ISVTX and user not in (0, about.st_uid, folder.st_uid):
        return False  # sticky bit, as in /tmp
    is_permitted = user == 0 or (user == about.st_uid and about.st_mode & stat.S_IWUSR)
    return not is_permitted or os.access(path, os.W_OK)  # permitted but impossible: immutable
