"""Tracking: pass on what Kedro saves to MLflow and TensorBoard; their failures never stop a run."""

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

from .errors import RunStoppedError, find_cause
from .kedro_internals import pipeline_to_run
from .trackers import RunInfo, Writer, redact_password, writers_of

if TYPE_CHECKING:  # settings.py imports this module for every command
    import pandas as pd

logger = logging.getLogger(__name__)

TRACKED_FILES = {
    "class_distribution": "figures",
    "training_curves": "figures",
    "class_iou": "figures",
    "confusion_figure": "figures",
    "confidence_figure": "figures",
    "prediction_gallery": "figures",
    "class_scores": "tables",
    "metrics": "tables",
}
"""Catalog entries whose file is logged, and its group."""

_WITH_INTERVALS = (
    "miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "boundary_iou", "trimap_miou",
)  # fmt: skip
TRACKED_SCORES = (
    *(f"{name}{end}" for end in ("", "_low", "_high") for name in _WITH_INTERVALS),
    "all_background_miou", "ece", "aurc",
)  # fmt: skip
"""Metrics that get a chart; the others are only in the file."""

_MAX_FAILURES = 3


class GuardedTracker:
    """A writer whose failures do not stop the run: one warning is logged, and the next write is tried again.

    After three failures in a row it is not used any more. History rows that failed are written with the next ones.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._failures = 0
        self._warned = False
        self._epoch = 0

    def try_write(self, write: Callable[[Writer], None]) -> bool:
        """Write, and return whether that succeeded."""
        if self._failures == _MAX_FAILURES:
            return False
        try:
            write(self.writer)
        except Exception as error:  # of any kind: training must continue
            self._failures += 1
            if not self._warned:
                reason = redact_password(str(error)).strip().partition("\n")[0]
                logger.warning(
                    "%s cannot be written to (%s: %s). The run continues, but its tracked data may have gaps.",
                    self.writer.label, type(error).__name__, reason,
                )  # fmt: skip
                logger.debug("Where %s failed", self.writer.label, exc_info=error)
            self._warned = True
            return False
        self._failures = 0
        return True

    def history(self, history: "pd.DataFrame") -> None:
        """Write the rows that are not written yet; a resumed run has the rows of its earlier part too."""
        rows = history[history["epoch"] > self._epoch].to_dict("records")
        points = [(int(row["epoch"]), _training_metrics(row)) for row in rows]
        if points and self.try_write(lambda writer: writer.log_metrics("training", points)):
            self._epoch = points[-1][0]


class TrackingHooks:
    """Logs runs that train or evaluate to MLflow and TensorBoard; see the settings block ``tracking``."""

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._files: dict[str, Path] = {}
        self._tracked: list[GuardedTracker] = []
        self._trained = False

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the context, which holds the settings; other hooks validate them."""
        self._context = context

    @hook_impl
    def after_catalog_created(self, conf_catalog: dict[str, Any]) -> None:
        """Keep the paths of files to log."""
        entries = {name: conf_catalog.get(name, {}) for name in (*TRACKED_FILES, "best_model")}
        self._files = {name: Path(entry["filepath"]) for name, entry in entries.items() if "filepath" in entry}

    @hook_impl(trylast=True)  # not for a run that other hooks refuse
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Start the tracked run. Raises RunStoppedError if an enabled tool is not installed."""
        self._end("KILLED")  # an earlier run that was interrupted in a notebook
        pipeline = pipeline_to_run(pipeline, catalog, run_params)
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
        run = describe(run_params, pipeline, parameters, _data_name(catalog) or loader["globals"]["source"])
        self._trained = False
        for tracked in map(GuardedTracker, writers):
            if tracked.try_write(lambda writer: writer.start(run)):
                logger.info("%s: run %s. View it with: %s", tracked.writer.label, run.name, tracked.writer.view_command)
                tracked.try_write(lambda writer: writer.log_settings(run))
                self._tracked.append(tracked)
        atexit.register(self._end, "KILLED")  # Ctrl-C in a notebook calls no hook

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what was saved: history and scores as metrics, figures and tables as files."""
        if dataset_name == "training_history":
            self._trained = True
            for tracked in self._tracked:
                tracked.history(data)
        elif dataset_name == "metrics":
            scores = numeric_values({name: data.get(name) for name in TRACKED_SCORES})
            self._write_all(lambda writer: writer.log_metrics("evaluation", [(0, scores)]))  # MLflow draws bars at 0
        if dataset_name in TRACKED_FILES.keys() & self._files:
            path = newest_version(self._files[dataset_name])
            self._write_all(lambda writer: writer.log_file(path, TRACKED_FILES[dataset_name]))

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Log the model, and end the run."""
        if self._trained and "best_model" in self._files:
            model = newest_version(self._files["best_model"])
            if model.is_file():
                self._write_all(lambda writer: writer.log_file(model, "model"))
        self._end("FINISHED")

    @hook_impl(tryfirst=True)  # before other hooks replace the error
    def on_pipeline_error(self, error: Exception) -> None:
        """End the run as failed, or as killed if it was interrupted."""
        self._end("KILLED" if find_cause(error, InterruptedRunError) else "FAILED")

    def _write_all(self, write: Callable[[Writer], None]) -> None:
        for tracked in self._tracked:
            tracked.try_write(write)

    def _end(self, status: str) -> None:
        self._write_all(lambda writer: writer.end(status))
        self._tracked = []
        atexit.unregister(self._end)


def _data_name(catalog: CatalogProtocol) -> str:
    """What people call the data of this run, as in the report; empty if the user has replaced the entry."""
    name = getattr(catalog.get("train_split"), "data_name", None)
    return name() if name else ""


def describe(run_params: dict[str, Any], pipeline: Pipeline, parameters: Parameters, data: str) -> RunInfo:
    """A run by name, by the settings that its nodes take, and by tags."""
    names = run_params["pipeline_names"] or ["__default__"]
    blocks = {name.removeprefix("params:") for name in pipeline.inputs() if name.startswith("params:")}
    trains = "training_history" in pipeline.all_outputs()
    what = parameters.model.encoder if trains else "evaluation"
    tags = {
        "pipelines": ", ".join(names).replace("__default__", "all"),
        "data": data,
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
    subject = f"{parameters.run}-{what}" if parameters.run else f"{what}-{data[:60]}"
    return RunInfo(
        name=f"{time.strftime('%m%d-%H%M%S')}-{subject}",  # narrow columns cut off the end
        settings=parameters.model_dump(mode="json", include=blocks),
        tags=tags,
    )


def numeric_values(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a row, without empty cells, booleans and text."""
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
    }


def _training_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of a history row; ``best_val_miou`` is added if this epoch is the best so far."""
    best = {"best_val_miou": row["val_miou"]} if row["is_best"] else {}
    return {key: value for key, value in numeric_values(row).items() if key not in ("epoch", "step", "is_best")} | best


def _device(parameters: Parameters) -> dict[str, str]:
    import torch  # takes a second, but a tracked run needs it anyway

    from voc_seg.engine.runtime import choose_runtime

    return {"device": str(choose_runtime(parameters.runtime)), "torch": torch.__version__}


def _commit(project: Path) -> dict[str, str]:
    """Git commit of the project, and whether files differ from it; empty without git."""

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return answer.stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"mlflow.source.git.commit": git("rev-parse", "HEAD"), "uncommitted_changes": str(changed).lower()}
    return {}
