"""What a run says of itself on the console and in the log: what it replaces, what it wrote, what to type next."""

import logging
import re
import time
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

from click import echo
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from voc_seg.config import TrainingConfig
from voc_seg.system.errors import InterruptedRunError
from voc_seg.system.progress import duration
from voc_seg.system.torchrun import is_restart, process_info

from .commands import NEXT, Launch, launch_in, launch_of, repeated_options, resume_command, viz_options
from .kedro_internals import nodes_to_resume_from, planned
from .log_handlers import change
from .project_logs import log_into

logger = logging.getLogger(__name__)


class RelativePaths(logging.Filter):
    """Leaves the project's folder out of messages: what is below it is found from where one types."""

    def __init__(self, project: Path) -> None:
        super().__init__()
        self._project = re.compile(rf"(?<![\w./~-]){re.escape(project.as_posix())}/")  # no end of another path

    def filter(self, record: logging.LogRecord) -> bool:
        change(record, lambda message: self._project.sub("", message))
        return True


class RepeatedOptions(logging.Filter):
    """Completes commands in messages, so that they are about the same data and outputs.

    Whoever writes a message about a damaged file knows neither ``--env`` nor ``voc_root``, ``run`` and so on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Any] = {"env": None, "runtime_params": None}

    def filter(self, record: logging.LogRecord) -> bool:
        if repeated_options(self.given) or launch_in(self.given) != Launch():
            change(record, lambda message: _COMMAND.sub(self._completed, message))
        return True

    def _completed(self, command: re.Match[str]) -> str:
        options = repeated_options(self.given, command["pipelines"])
        more = "," if command["more"] and " --params " in options else command["more"] or ""
        start = command["start"].replace("kedro run", launch_in(self.given).program, 1)
        return start + options + more


# One that names neither environment, run nor data, and is not made of all that was given.
_COMMAND = re.compile(
    r"(?P<start>kedro run --pipelines (?P<pipelines>[\w,]+))"
    r"(?![^\n]*(?: --(?:env|conf-source|config|runner) |\b(?:run|voc_root|training\.resume)=))(?P<more> --params )?"
)
_REPEATED = RepeatedOptions()


class _WarningCount(logging.Handler):
    """Counts the warnings of a run, which may have scrolled away by its end."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.levelno == logging.WARNING


_WARNINGS = _WarningCount(logging.WARNING)


class ConsoleHooks:
    """The story of a run; see ``settings.py``."""

    def __init__(self) -> None:
        self._catalog: CatalogProtocol = DataCatalog()
        self._saved: dict[str, None] = {}
        self._started = time.time()
        self._launch = Launch()
        self._begun: list[Node] = []

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Shorten paths where the command was typed in the project's folder, and complete commands."""
        log_into(context)
        _WARNINGS.count = 0
        logging.getLogger().addHandler(_WARNINGS)  # a second time does nothing
        self._launch = launch_of(context)
        given = {"env": context.env, "runtime_params": context.config_loader.runtime_params}
        _REPEATED.given = given | {"launch": self._launch}
        for handler in logging.getLogger().handlers:
            handler.addFilter(_REPEATED)  # a second time does nothing
        if Path.cwd() != context.project_path:
            return
        for handler in logging.getLogger().handlers:
            if not any(isinstance(known, RelativePaths) for known in handler.filters):
                handler.addFilter(RelativePaths(context.project_path))

    @hook_impl(trylast=True)  # nothing is said of a run whose inputs are missing
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Say what does not run."""
        self._catalog, self._saved, self._started, self._begun = catalog, {}, time.time(), []
        if process_info().rank:
            return
        running = {node.name for node in planned(pipeline, catalog, run_params).nodes}
        if skipped := [node.name for node in pipeline.nodes if node.name not in running]:
            logger.warning(
                "Not run, because their outputs exist: %s. --only-missing-outputs keeps files whatever data and "
                "settings they were made with. To make all outputs for those of this run, leave the option out.",
                ", ".join(skipped),
            )

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """For the log file alone; Kedro's own line names every input and takes up to six on the console."""
        logger.debug("Running %s", node.name)
        self._begin(node)
        if "best_model" in node.outputs and not process_info().rank:
            self._say_what_is_replaced()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Remember which node is at work, be it that it cannot load its inputs."""
        self._begin(node)

    def _begin(self, node: Node) -> None:
        if node not in self._begun:
            self._begun.append(node)

    def _say_what_is_replaced(self) -> None:
        resumes = TrainingConfig.model_validate(self._catalog.load("params:training")).resume
        path = path_of(self._catalog, "best_model")
        if not (is_restart() or resumes) and path is not None and path.is_file():
            trained = datetime.fromtimestamp(path.stat().st_mtime)
            logger.info(
                "Training starts anew and replaces the model of %s. To go on from its checkpoints instead, add "
                "training.resume=true to --params", trained.strftime("%d %B %Y, %H:%M"),
            )  # fmt: skip

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Remember what was written."""
        self._saved[dataset_name] = None

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Say what was written where, and what to type next."""
        if process_info().rank:
            return
        self._say_what_was_written()
        ran = [name for name in NEXT if name in (run_params["pipeline_names"] or ["evaluation"])]
        run_params = run_params | {"launch": self._launch}
        following = f" Next: {NEXT[ran[-1]]}" if ran else ""
        if following.startswith(" Next: kedro viz"):  # which a project that is installed as a package has not
            following = "" if self._launch.program != "kedro run" else following + viz_options(run_params)
        elif following.startswith(" Next: kedro run"):
            following = following.replace("kedro run", self._launch.program)
            following += repeated_options(run_params, following.rpartition(" ")[2])
        following = following.replace("{model_card}", str(path_of(self._catalog, "model_card")))
        look = f" Look at {path_of(self._catalog, 'report')}." if "report" in self._saved else ""
        count = _WARNINGS.count
        warned = f" with {count} warning{'s' * (count > 1)}" if count else ""
        logger.info("Done in %s%s.%s%s", duration(time.time() - self._started), warned, look, following)

    @hook_impl(wrapper=True)
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> Generator[None, Any, Any]:
        """Say what a run that failed has left to look at and, after the error itself, how to go on from there."""
        if not process_info().rank:
            self._say_what_was_written()
        try:
            return (yield)
        finally:
            self.say_how_to_go_on(error, run_params, pipeline, catalog)

    def say_how_to_go_on(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Give the command that resumes a run that failed."""
        if process_info().rank:
            return
        if _was_interrupted(error) or not self._begun or not self._begun[-1].outputs:
            return  # the command is given elsewhere; or a check has failed, which would do so again
        pipeline = planned(pipeline, catalog, run_params)
        # data_processing from its start: files or settings are fixed, and what has not changed is skipped.
        whole = process_info().world_size > 1 or self._begun[-1].func.__module__.startswith(
            "voc_seg.pipelines.data_processing"
        )
        first = () if whole else nodes_to_resume_from(pipeline, self._finished(), catalog)
        resumes = "checkpoints" in self._saved and "checkpoints" in self._begun[-1].outputs
        command = resume_command(run_params | {"launch": self._launch}, first, resumes)
        logger.info("%s failed. To go on once you have fixed the cause:", self._begun[-1].name)
        logger.debug("Go on with: %s", command)
        with suppress(OSError):
            echo(command, err=True)  # in one line, to be copied

    def _finished(self) -> list[Node]:
        """Nodes that have saved all they make; a generator has when the next node is at work."""
        return [
            node
            for node in self._begun
            if node.outputs
            and set(node.outputs) <= self._saved.keys()
            and not (node is self._begun[-1] and isgeneratorfunction(node.func))
        ]

    def _say_what_was_written(self) -> None:
        if written := self._written():
            logger.info("Wrote\n%s", "\n".join(f"{folder}: {', '.join(names)}" for folder, names in written.items()))

    def _written(self) -> dict[str, list[str]]:
        """Names of files and folders by the folder they are in, without files that were left as they were."""
        written: dict[str, dict[str, None]] = {}
        for name in self._saved:
            path = path_of(self._catalog, name)
            if path is None or not (path.exists() or "*" in path.name):
                continue
            if path.is_file() and path.stat().st_mtime < self._started - 1:  # coarse clocks of disks
                continue
            names = written.setdefault(path.parent.as_posix(), {})  # several entries may have one file
            names[f"{path.name}/" if path.is_dir() else path.name] = None
        return {folder: list(names) for folder, names in sorted(written.items())}


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, InterruptedRunError):
        error = error.__cause__
    return error is not None


def path_of(catalog: CatalogProtocol, name: str) -> Path | None:
    """Where an entry of the catalog has its file or folder; None if it is in memory or elsewhere."""
    dataset = catalog.get(name)
    filepath = dataset._describe().get("filepath") if dataset is not None else None
    return Path(str(filepath)) if filepath else None
