"""Messages of a run on the console and in the log: what it replaces and writes, and what to type next."""

import logging
import re
import time
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click import echo
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from voc_seg.config import ModelConfig, TrainingConfig
from voc_seg.system.errors import InterruptedRunError
from voc_seg.system.names import counted
from voc_seg.system.progress import duration
from voc_seg.system.torchrun import is_restart, process_info

from .commands import (
    NEXT_COMMAND,
    Launch,
    context_options,
    launch_from_context,
    resume_command,
    viz_options,
)
from .errors import find_cause
from .kedro_internals import path_of, pipeline_to_run, resume_nodes
from .log_filters import RelativePaths, RepeatedOptions
from .project_logs import use_project_log_files

logger = logging.getLogger(__name__)


_REPEATED = RepeatedOptions()


class _WarningCount(logging.Handler):
    """Counts the warnings of a run, which may have scrolled away by its end."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.levelno == logging.WARNING


_WARNINGS = _WarningCount(logging.WARNING)


class ConsoleHooks:
    """Logs what a run does; registered in ``settings.py``."""

    def __init__(self) -> None:
        self._catalog: CatalogProtocol = DataCatalog()
        self._saved: dict[str, None] = {}
        self._started = time.time()
        self._launch = Launch()
        self._started_nodes: list[Node] = []

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Complete commands in messages, and shorten paths if the working directory is the project."""
        use_project_log_files(context)
        _WARNINGS.count = 0
        logging.getLogger().addHandler(_WARNINGS)  # adding it twice has no effect
        self._launch = launch_from_context(context)
        given = {"env": context.env, "runtime_params": context.config_loader.runtime_params}
        _REPEATED.given = given | {"launch": self._launch}
        for handler in logging.getLogger().handlers:
            handler.addFilter(_REPEATED)  # adding it twice has no effect
        if Path.cwd() != context.project_path:
            return
        for handler in logging.getLogger().handlers:
            if not any(isinstance(known, RelativePaths) for known in handler.filters):
                handler.addFilter(RelativePaths(context.project_path))

    @hook_impl(trylast=True)  # not for a run that other hooks refuse
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Log which nodes are skipped."""
        self._catalog, self._saved, self._started, self._started_nodes = catalog, {}, time.time(), []
        if process_info().rank:
            return
        running = {node.name for node in pipeline_to_run(pipeline, catalog, run_params).nodes}
        if skipped := [node.name for node in pipeline.nodes if node.name not in running]:
            logger.warning(
                "Skipped, because their outputs exist: %s. --only-missing-outputs keeps files whatever data and "
                "settings they were made with. To rebuild all outputs, omit the option.",
                ", ".join(skipped),
            )

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Log the node to the file only: Kedro's own message lists every input, up to six lines on the console."""
        logger.debug("Running %s", node.name)
        self._remember_started(node)
        if {"best_model", "checkpoints"} <= set(node.outputs) and not process_info().rank:
            self._log_replaced_model()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Remember the node, as it may fail while it loads its inputs."""
        self._remember_started(node)

    def _remember_started(self, node: Node) -> None:
        if node not in self._started_nodes:
            self._started_nodes.append(node)

    def _log_replaced_model(self) -> None:
        resumes = TrainingConfig.model_validate(self._catalog.load("params:training")).resume
        path = path_of(self._catalog, "best_model")
        model = path if path is not None and path.is_file() else None
        resumable = "checkpoints" in self._catalog and self._catalog.exists("checkpoints")
        if is_restart() or resumes or not (model or resumable):
            return
        weights = Path(ModelConfig.model_validate(self._catalog.load("params:model")).weights or "")
        if model and weights.is_file() and weights.samefile(model):
            logger.warning(
                "Training starts from %s and replaces it. To keep both, give this run a name: --params run=NAME",
                weights,
            )
            return
        date = f"{datetime.fromtimestamp(model.stat().st_mtime):%d %B %Y, %H:%M}" if model else ""
        replaced = f"the model of {date}" if model else "the checkpoints of a training that was interrupted"
        instead = " To resume from its checkpoints instead, add training.resume=true to --params." if resumable else ""
        logger.info("Training starts from scratch and replaces %s.%s", replaced, instead)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Remember what was written."""
        self._saved[dataset_name] = None

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Log what was written where, and what to type next."""
        if process_info().rank:
            return
        self._log_written()
        ran = [name for name in NEXT_COMMAND if name in (run_params["pipeline_names"] or ["evaluation"])]
        run_params = run_params | {"launch": self._launch}
        following = f" Next: {NEXT_COMMAND[ran[-1]]}" if ran else ""
        if following.startswith(" Next: kedro viz"):  # a project installed as a package has no kedro viz
            following = "" if self._launch.program != "kedro run" else following + viz_options(run_params)
        elif following.startswith(" Next: kedro run"):
            following = following.replace("kedro run", self._launch.program)
            following += context_options(run_params, following.rpartition(" ")[2], self._suggested(ran))
        self._log_unused_test(ran)
        for entry in re.findall(r"{(\w+)}", following):
            path = path_of(self._catalog, entry)
            following = following.replace(f"{{{entry}}}", str(path)) if path and path.is_file() else ""
        pages = [str(path_of(self._catalog, name)) for name in ("report", "label_review") if name in self._saved]
        report = f" Report: {', '.join(pages)}." if pages else ""
        for title, name, file in (("Images to label next", "label_next_page", ""), ("Demo", "demo_page", "index.html")):
            page = path_of(self._catalog, name) if name in self._saved else None
            report += f" {title}: {page / file}." if page and (page / file).is_file() else ""
        warned = f" with {counted(_WARNINGS.count, 'warning')}" if _WARNINGS.count else ""
        logger.info("Done in %s%s.%s%s", duration(time.time() - self._started), warned, report, following)

    def _suggested(self, ran: list[str]) -> dict[str, float] | None:
        """The settings that lr_finder has suggested for training; None unless it ran last."""
        if ran[-1:] != ["lr_finder"] or "lr_finder_suggestion" not in self._saved:
            return None
        rate = self._catalog.load("lr_finder_suggestion")["learning_rate"]
        return {} if rate is None else {"training.optimizer.learning_rate": rate}

    def _log_unused_test(self, ran: list[str]) -> None:
        """Log how to score test, if the score is on val, which has also chosen the epoch."""
        if "metrics" not in self._saved or ran[-1:] != ["evaluation"]:
            return
        facts, path, images = self._catalog.load("evaluation_facts"), path_of(self._catalog, "test_index"), 0
        with suppress(Exception):  # no index, or a damaged one, which is no concern of this run
            images = pq.read_table(path, columns=["rejected"])["rejected"].to_pylist().count("")
        if images and facts.get("split") == "val" and facts.get("chosen_on_val", True):
            logger.info(
                "val has also chosen the epoch, so its score is optimistic. For the final score, on the %s, type: "
                "kedro run --pipelines evaluation --params evaluation.split=test", counted(images, "test image"),
            )  # fmt: skip

    @hook_impl(wrapper=True)
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> Generator[None, Any, Any]:
        """Log what a failed run has written and, after the error itself, how to resume it."""
        if not process_info().rank:
            self._log_written()
        try:
            return (yield)
        finally:
            self.log_how_to_resume(error, run_params, pipeline, catalog)

    def log_how_to_resume(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Log the command that resumes a failed run."""
        if process_info().rank:
            return
        interrupted = find_cause(error, InterruptedRunError)
        if interrupted and interrupted.has_checkpoint:
            return  # on_pipeline_error in validation.py shows the command
        if not self._started_nodes or not (self._started_nodes[-1].outputs or interrupted):
            return  # a failed check would fail again
        pipeline = pipeline_to_run(pipeline, catalog, run_params)
        # data_processing starts over, as files or settings will have changed; it skips what has not.
        failed = self._started_nodes[-1]
        whole = process_info().world_size > 1 or failed.func.__module__.startswith("voc_seg.pipelines.data_processing")
        first = () if whole else resume_nodes(pipeline, self._finished(), catalog)
        resumes = "checkpoints" in failed.outputs and self._wrote_checkpoint()
        command = resume_command(run_params | {"launch": self._launch}, first, resumes)
        how = "was interrupted. To resume:" if interrupted else "failed. To resume once you have fixed the cause:"
        logger.info("%s %s", failed.name, how)
        logger.debug("Resume with: %s", command)
        with suppress(OSError):
            echo(command, err=True)  # on one line, to be copied

    def _wrote_checkpoint(self) -> bool:
        """Whether there is a checkpoint of this run; one that was saved may not have been written in the background."""
        folder = path_of(self._catalog, "checkpoints")
        return "checkpoints" in self._saved and (
            folder is None or any(path.stat().st_mtime >= self._started - 1 for path in folder.glob("checkpoint_*.pth"))
        )

    def _finished(self) -> list[Node]:
        """Nodes that have saved all their outputs; a generator node has once the next node has started."""
        return [
            node
            for node in self._started_nodes
            if node.outputs
            and set(node.outputs) <= self._saved.keys()
            and not (node is self._started_nodes[-1] and isgeneratorfunction(node.func))
        ]

    def _log_written(self) -> None:
        if written := self._written():
            logger.info("Wrote\n%s", "\n".join(f"{folder}: {', '.join(names)}" for folder, names in written.items()))

    def _written(self) -> dict[str, list[str]]:
        """Names of written files and folders by parent folder; files that were left unchanged are omitted."""
        written: dict[str, dict[str, None]] = {}
        for name in self._saved:
            path = path_of(self._catalog, name)
            if path is None or not (path.exists() or "*" in path.name):
                continue
            if path.is_file() and path.stat().st_mtime < self._started - 1:  # file systems have coarse clocks
                continue
            names = written.setdefault(path.parent.as_posix(), {})  # several entries may share a file
            names[f"{path.name}/" if path.is_dir() else path.name] = None
        return {folder: list(names) for folder, names in sorted(written.items())}
