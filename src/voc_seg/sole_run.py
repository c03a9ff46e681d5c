"""No two runs write the same outputs at once."""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg.hooks import RunStoppedError
from voc_seg.lock import hold
from voc_seg.torchrun import place

_SOLE = {
    "train_samples": ("data_processing", "Wait for it to end and run again"),
    "checkpoints": ("training", "Wait for it to end, or put this run apart with --params run=NAME"),
}
"""By an output that two runs would spoil for each other: the pipeline that makes it, and what to do."""


class SoleRunHooks:
    """Locks what a run writes until it ends; several processes of one run count as one. See ``settings.py``."""

    def __init__(self) -> None:
        self._locks: list[BinaryIO] = []

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Take the locks.

        Raises:
            RunStoppedError: Another run has one.
        """
        self._release()  # of a run that a notebook broke off
        for output in [] if place().rank else _SOLE.keys() & pipeline.all_outputs():
            maker, remedy = _SOLE[output]
            folder = Path(catalog.get(output)._describe()["filepath"]).parent
            with suppress(OSError):  # where nothing can be locked: what is written there will tell, if it cannot either
                folder.mkdir(parents=True, exist_ok=True)
                if (lock := hold(folder / f".{maker}.lock")) is None:
                    raise RunStoppedError(
                        f"Another process is running {maker} into {folder}. {remedy}. Nothing has run."
                    )
                self._locks.append(lock)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Let others write."""
        self._release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Let others write."""
        self._release()

    def _release(self) -> None:
        while self._locks:
            self._locks.pop().close()
