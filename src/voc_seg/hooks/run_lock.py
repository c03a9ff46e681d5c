"""No two runs write the same outputs at once."""

import logging
from pathlib import Path
from typing import Any, BinaryIO

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg.system.atomic import make_folder
from voc_seg.system.lock import acquire_lock, lock_advice, locks_unsupported
from voc_seg.system.torchrun import is_restart, process_info

from .console import path_of
from .kedro_internals import planned
from .validation import RunStoppedError

logger = logging.getLogger(__name__)

_ELSEWHERE = "Wait for it to end, or put this run apart with --params run=NAME"
_SOLE = {
    "train_samples": ("data_processing", "Wait for it to end and run again"),
    "checkpoints": ("training", _ELSEWHERE),
    "predictions": ("evaluation", _ELSEWHERE),
    "inference_segmentations": ("inference", _ELSEWHERE),
}
"""By an output that two runs would spoil for each other: the pipeline that makes it, and what to do."""
_SPLITS = {"train_samples", "val_samples", "test_samples"}

_held: dict[str, BinaryIO] = {}


def release(*makers: str) -> None:
    """Let others write what these pipelines make; without names, all that this process has locked."""
    for maker in makers or tuple(_held):
        if maker in _held:
            _held.pop(maker).close()


def _take(path: Path, maker: str, remedy: str) -> None:
    try:
        make_folder(path.parent)
        lock = acquire_lock(path)
    except OSError as error:
        if not locks_unsupported(error):
            reason = f"Could not write {path.parent}: {error.strerror or error}."
            raise RunStoppedError(f"{reason} {lock_advice(path)} Nothing has run.") from error
        logger.warning(
            "%s is on a file system without locks (%s). Make sure that no other run writes there.",
            path.parent, error.strerror,
        )  # fmt: skip
        return
    if lock is not None:
        _held[maker] = lock
    elif not is_restart():  # else it is that of a process which torchrun knows to be gone
        raise RunStoppedError(f"Another process is running {maker} into {path.parent}. {remedy}. Nothing has run.")


class SoleRunHooks:
    """Locks what a run writes until it ends; several processes of one run count as one. See ``settings.py``."""

    def __init__(self) -> None:
        self._unpacked: set[str] = set()

    @hook_impl(trylast=True)  # a run that other hooks refuse leaves no trace
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Take the locks.

        Raises:
            RunStoppedError: Another run has one, or whether one has cannot be told.
        """
        release()
        outputs = planned(pipeline, catalog, run_params).all_outputs()
        self._unpacked = _SPLITS & outputs
        if process_info().rank:
            return
        for output, (maker, remedy) in _SOLE.items():
            path = path_of(catalog, output) if output in outputs else None
            if path is None:
                continue
            _take(path.parent / f".{maker}.lock", maker, remedy)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Let others pack once all splits are packed, however long the run goes on."""
        if dataset_name in self._unpacked:
            self._unpacked.discard(dataset_name)
            if not self._unpacked:
                release("data_processing")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Let others write."""
        release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Let others write."""
        release()
