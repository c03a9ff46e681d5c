"""Locks, so that no two runs write the same outputs at the same time."""

import logging
from pathlib import Path
from typing import Any, BinaryIO

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg.system.atomic import make_folder
from voc_seg.system.lock import acquire_lock, lock_advice, locks_unsupported
from voc_seg.system.torchrun import is_restart, process_info

from .errors import RunStoppedError
from .kedro_internals import path_of, pipeline_to_run

logger = logging.getLogger(__name__)

_WAIT_OR_NAME = "Wait for it to end, or give this run a name of its own with --params run=NAME"
LOCKED_OUTPUTS = {
    "train_samples": ("data_processing", "Wait for it to end and run again"),
    "checkpoints": ("training", _WAIT_OR_NAME),
    "best_model": ("training", _WAIT_OR_NAME),
    "calibrated_model": ("training", _WAIT_OR_NAME),
    "predictions": ("evaluation", _WAIT_OR_NAME),
    "inference_segmentations": ("inference", _WAIT_OR_NAME),
}
"""Outputs that concurrent runs would corrupt: the pipeline that writes each, and what to do. The model has one lock
for all that replace it: training, calibration and ensemble."""
_SPLITS = {"train_samples", "val_samples", "test_samples"}

_held: dict[str, BinaryIO] = {}


def release(*pipelines: str) -> None:
    """Release the locks of these pipelines; without names, all locks of this process."""
    for pipeline in pipelines or tuple(_held):
        if pipeline in _held:
            _held.pop(pipeline).close()


def _lock(path: Path, pipeline: str, remedy: str) -> None:
    try:
        make_folder(path.parent)
        lock = acquire_lock(path)
    except OSError as error:
        if not locks_unsupported(error):
            reason = f"Could not write {path.parent}: {error.strerror or error}."
            raise RunStoppedError(f"{reason} {lock_advice(path)} Nothing has run.") from error
        logger.warning(
            "%s is on a file system without locks (%s). Make sure that no other run writes to it.",
            path.parent, error.strerror,
        )  # fmt: skip
        return
    if lock is not None:
        _held[pipeline] = lock
    elif not is_restart():  # after a restart the lock belongs to a process that torchrun has ended
        raise RunStoppedError(f"Another process is running {pipeline} into {path.parent}. {remedy}. Nothing has run.")


class RunLockHooks:
    """Locks the outputs of a run until it ends; rank 0 holds the locks for all ranks. Registered in ``settings.py``."""

    def __init__(self) -> None:
        self._unpacked: set[str] = set()

    @hook_impl(trylast=True)  # a run that other hooks refuse leaves no trace
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Acquire the locks. Raises RunStoppedError if another run holds one, or the lock file cannot be opened."""
        release()
        outputs = pipeline_to_run(pipeline, catalog, run_params).all_outputs()
        self._unpacked = _SPLITS & outputs
        if process_info().rank:
            return
        for output, (pipeline_name, remedy) in LOCKED_OUTPUTS.items():
            path = path_of(catalog, output) if output in outputs else None
            if path is None or pipeline_name in _held:
                continue
            _lock(path.parent / f".{pipeline_name}.lock", pipeline_name, remedy)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Release data_processing once all splits are packed, although the run may continue for hours."""
        if dataset_name in self._unpacked:
            self._unpacked.discard(dataset_name)
            if not self._unpacked:
                release("data_processing")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Release all locks."""
        release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Release all locks."""
        release()
