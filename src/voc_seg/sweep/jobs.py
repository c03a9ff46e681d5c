"""The jobs of a sweep, their scores so far, and progress bars."""

import csv
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from voc_seg.system.progress import bars_hidden

from .grid import Trial
from .records import Record


@dataclass(frozen=True)
class Job:
    """A run to start."""

    trial: Trial  # name and settings
    folder: Path  # its outputs
    record: Record  # its settings and finished pipelines
    pipelines: tuple[str, ...]  # pipelines still to run
    epochs: int | None  # training epochs, for the progress bar; None if training.minutes decides


def read_history(job: Job) -> list[dict[str, str]]:
    """Rows of a run's history so far."""
    try:
        with (job.folder / "08_reporting/training_history.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError:
        return []


def best_score(job: Job) -> str:
    """The best val mIoU so far, as text for messages; empty before the first validation."""
    scores = [float(row["val_miou"]) for row in read_history(job) if row.get("val_miou")]
    return f", best validation mIoU {max(scores):.3f}" if scores else ""


class SweepBars:
    """Progress bars on a terminal: one for the sweep, and one for each run with epoch and best score.

    A terminal that has been closed does not stop the sweep.
    """

    def __init__(self, jobs: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(),
            transient=True, disable=bars_hidden(),
        )  # fmt: skip
        self._runs = self._bars.add_task("runs", total=jobs)
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, float] = {}

    def __enter__(self) -> "SweepBars":
        with suppress(OSError):
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._bars.stop()

    def show(self, job: Job) -> None:
        name = job.trial.name
        if self._bars.disable or time.monotonic() - self._shown.get(name, 0.0) < 1:
            return
        self._shown[name] = time.monotonic()
        with suppress(OSError):
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=job.epochs)
            self._bars.update(
                self._tasks[name], completed=len(read_history(job)), description=f"{name}{best_score(job)}"
            )

    def done(self, name: str, counts: bool) -> None:
        self._bars.advance(self._runs, int(counts))
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
