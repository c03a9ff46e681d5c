"""Tracking: what a run does is handed to the writers as Kedro saves it, and never stands in its way."""

import atexit
import logging
import math
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from voc_seg import __version__
from voc_seg.config import Parameters
from voc_seg.system.errors import InterruptedRunError, VocSegError
from voc_seg.system.torchrun import process_info
from voc_seg.system.versions import newest_version

from .kedro_internals import planned
from .trackers import RunFacts, Writer, without_password, writers_of
from .validation import RunStoppedError

if TYPE_CHECKING:  # settings.py imports this room for every command
    import pandas as pd

logger = logging.getLogger(__name__)

FILES = {
    "class_distribution": "figures",
    "training_curves": "figures",
    "class_iou": "figures",
    "confusion_figure": "figures",
    "prediction_gallery": "figures",
    "class_scores": "tables",
    "metrics": "tables",
}
"""Catalog entries whose file is tracked, by the group it goes to."""

SCORES = ("miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "all_background_miou")
"""What of ``metrics`` is worth a chart; the rest is in the file."""

_TRIES = 3


class Tracked:
    """A run in one place. What fails there is told once and tried again with the next thing to write.

    After three failures in a row it is left alone. Rows of a history that could not be written come with the next.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._failures = 0
        self._told = False
        self._epoch = 0

    def attempt(self, write: Callable[[Writer], None]) -> bool:
        """Whether it was written."""
        if self._failures == _TRIES:
            return False
        try:
            write(self.writer)
        except Exception as error:  # of whatever kind: training goes on
            self._failures += 1
            if not self._told:
                reason = without_password(str(error)).strip().partition("\n")[0]
                logger.warning(
                    "%s cannot be written to (%s: %s). The run goes on; what is tracked of it may have gaps.",
                    self.writer.label, type(error).__name__, reason,
                )  # fmt: skip
                logger.debug("Where %s failed", self.writer.label, exc_info=error)
            self._told = True
            return False
        self._failures = 0
        return True

    def history(self, history: "pd.DataFrame") -> None:
        """The rows that are not written yet; a run that was resumed brings those of its first part along."""
        rows = history[history["epoch"] > self._epoch].to_dict("records")
        points = [(int(row["epoch"]), _training_numbers(row)) for row in rows]
        if points and self.attempt(lambda writer: writer.numbers("training", points)):
            self._epoch = points[-1][0]


class TrackingHooks:
    """Hands runs that train or score to MLflow and TensorBoard; see ``tracking`` in the settings."""

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._files: dict[str, Path] = {}
        self._tracked: list[Tracked] = []
        self._trained = False

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep what has the settings; they are checked by the project's other hooks."""
        self._context = context

    @hook_impl
    def after_catalog_created(self, conf_catalog: dict[str, Any]) -> None:
        """Keep where files lie."""
        entries = {name: conf_catalog.get(name, {}) for name in (*FILES, "best_model")}
        self._files = {name: Path(entry["filepath"]) for name, entry in entries.items() if "filepath" in entry}

    @hook_impl(trylast=True)  # a run that other hooks refuse is none
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Open the run.

        Raises:
            RunStoppedError: What is enabled is not installed.
        """
        self._end("KILLED")  # one that a notebook broke off
        pipeline = planned(pipeline, catalog, run_params)
        if process_info().rank or not {"training_history", "metrics"} & pipeline.all_outputs():
            return
        assert self._context is not None, "Kedro creates the context before it runs a pipeline"
        loader = self._context.config_loader
        parameters = Parameters.of(loader["parameters"])
        project = Path(run_params["project_path"])
        try:
            writers = writers_of(parameters.tracking, project)
        except VocSegError as error:
            raise RunStoppedError(f"{error} Nothing has run.") from error
        if not writers:
            return
        run = describe(run_params, pipeline, parameters, loader["globals"]["source"])
        self._trained = False
        for tracked in map(Tracked, writers):
            if tracked.attempt(lambda writer: writer.begin(run)):
                logger.info("%s: run %s. Look at it with: %s", tracked.writer.label, run.name, tracked.writer.look)
                tracked.attempt(lambda writer: writer.settings(run))
                self._tracked.append(tracked)
        atexit.register(self._end, "KILLED")  # Ctrl-C, which is no error to Kedro

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Hand over what was saved: history and scores as numbers, figures and tables as their files."""
        if dataset_name == "training_history":
            self._trained = True
            for tracked in self._tracked:
                tracked.history(data)
        elif dataset_name == "metrics":
            scores = numbers_in({name: data.get(name) for name in SCORES})
            self._attempt(lambda writer: writer.numbers("evaluation", [(0, scores)]))  # MLflow draws bars at 0
        if dataset_name in FILES.keys() & self._files:
            path = newest_version(self._files[dataset_name])
            self._attempt(lambda writer: writer.file(path, FILES[dataset_name]))

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Close the run with the model it came to."""
        model = self._files.get("best_model")
        if self._trained and model and model.is_file():
            self._attempt(lambda writer: writer.file(model, "model"))
        self._end("FINISHED")

    @hook_impl(tryfirst=True)  # the project's other hooks put an error of their own in its place
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the run as failed, or as killed where it was asked to stop."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InterruptedRunError):
            cause = cause.__cause__
        self._end("KILLED" if cause else "FAILED")

    def _attempt(self, write: Callable[[Writer], None]) -> None:
        for tracked in self._tracked:
            tracked.attempt(write)

    def _end(self, status: str) -> None:
        self._attempt(lambda writer: writer.end(status))
        self._tracked = []
        atexit.unregister(self._end)


def describe(run_params: dict[str, Any], pipeline: Pipeline, parameters: Parameters, source: str) -> RunFacts:
    """A run by name, by the settings that its nodes take, and by tags."""
    names = run_params["pipeline_names"] or ["__default__"]
    blocks = {name.removeprefix("params:") for name in pipeline.inputs() if name.startswith("params:")}
    trains = "training_history" in pipeline.all_outputs()
    what = parameters.model.encoder if trains else "evaluation"
    tags = {
        "pipelines": ", ".join(names).replace("__default__", "all"),
        "data": source,
        "env": str(run_params["env"] or "base"),
        **_device(parameters),
        "python": platform.python_version(),
        "voc_seg": __version__,
        "kedro": version("kedro"),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "kedro run",
        **_commit(Path(run_params["project_path"])),
    }
    if trains and parameters.training.resume:
        tags["resumed"] = "true"
    if parameters.run:
        tags["run"] = parameters.run
    subject = f"{parameters.run}-{what}" if parameters.run else f"{what}-{source}"
    return RunFacts(
        name=f"{time.strftime('%m%d-%H%M%S')}-{subject}",  # narrow columns cut off the end
        settings=parameters.model_dump(mode="json", include=blocks),
        tags=tags,
    )


def numbers_in(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row; empty cells, truth values and text are none."""
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
    }


def _training_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of the history without its position, and with the best score so far where this epoch has it."""
    best = {"best_val_miou": row["val_miou"]} if row["is_best"] else {}
    return {key: value for key, value in numbers_in(row).items() if key not in ("epoch", "step", "is_best")} | best


def _device(parameters: Parameters) -> dict[str, str]:
    import torch  # takes a second, but a run that is tracked needs it anyway

    from voc_seg.engine.runtime import choose_runtime

    return {"device": str(choose_runtime(parameters.runtime)), "torch": torch.__version__}


def _commit(project: Path) -> dict[str, str]:
    """The commit of the project and whether files differ from it; nothing where there is no git."""

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return answer.stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"mlflow.source.git.commit": git("rev-parse", "HEAD"), "uncommitted_changes": str(changed).lower()}
    return {}
