"""A run of several processes that torchrun started: what each may run, write and say.

All of them run the nodes tagged ``every_rank``; rank 0 alone runs the others and writes files. What the others would
save is discarded, and what they load they load once rank 0 has written it.
"""

import logging
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import rich
from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol, DatasetNotFoundError, MemoryDataset
from kedro.pipeline import Pipeline

from voc_seg.config import RuntimeConfig, flattened
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import EVERY_RANK, process_info

from .commands import NEXT, environment_option
from .log_handlers import change
from .run_lock import release
from .run_options import require_runner, require_selection
from .validation import RunStoppedError

logger = logging.getLogger(__name__)

TOGETHER = ("training", "evaluation")
"""The pipelines in which several processes share the work."""


class RankSession(KedroSession):
    """A session that runs on every rank what belongs there; for a process that runs alone a session like any other."""

    def run(  # type: ignore[override]  # selection has the other options of KedroSession.run
        self,
        pipeline_name: str | None = None,
        pipeline_names: list[str] | None = None,
        tags: Any = None,
        runner: Any = None,
        **selection: Any,
    ) -> dict[str, Any]:
        """Run pipelines; takes what ``KedroSession.run`` takes.

        Raises:
            RunStoppedError: Several processes would run what is for one, or an option names what is not there.
        """
        here = process_info()
        names = [pipeline_name] if pipeline_name else list(pipeline_names or [])
        if here.world_size > 1:
            refuse_what_is_for_one(names, bool(tags or any(selection.values())))
        chosen = require_selection(names, {"tags": tags, **selection})
        if chosen is not None and runner is not None:
            require_runner(runner, chosen)
        if here.rank:
            tags = (EVERY_RANK,)
        try:
            return super().run(pipeline_name, pipeline_names, tags, runner, **selection)
        except (MissingConfigException, DatasetNotFoundError) as error:
            raise RunStoppedError(f"{error} Nothing has run.") from error
        finally:
            release()  # of what a notebook broke off, too
            if here.world_size > 1:
                from voc_seg.engine.distributed import destroy_process_group

                destroy_process_group()
                if signal.getsignal(signal.SIGTERM) is _torchrun_ends_it:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def refuse_what_is_for_one(pipelines: list[str], selects: bool) -> None:
    """Stop several processes before they run what makes no sense for them.

    Args:
        pipelines: Names; empty for plain ``kedro run``.
        selects: Whether the run names nodes, tags or the like.
    """
    ranks = process_info().world_size
    together = ",".join(TOGETHER)
    # Of a name that no pipeline has Kedro tells.
    others = [name for name in pipelines or ["data_processing"] if name in NEXT and name not in TOGETHER]
    if others:
        asked = ", ".join(others) if pipelines else "kedro run without --pipelines, which begins with data_processing,"
        is_for = "are" if len(others) > 1 else "is"
        first = f"kedro run --pipelines {','.join(others)}"
        raise RunStoppedError(
            f"{asked} {is_for} for one process, but torchrun has started {ranks}. Nothing has run. Without torchrun: "
            f"{first}. Several processes share the work of: --pipelines {together}"
        )
    if selects:
        raise RunStoppedError(
            f"A part of a pipeline (--nodes, --tags, --from-nodes and the like) is for one process, but torchrun has "
            f"started {ranks}. Nothing has run. Leave torchrun out, or run whole pipelines: --pipelines {together}"
        )


class RankHooks:
    """How processes of one run keep together; see ``settings.py``."""

    @hook_impl(trylast=True)  # what is refused is so before anybody waits for others
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Meet the other processes, and discard what this one would save unless it is the first."""
        if process_info().world_size == 1:
            return
        from voc_seg.engine.distributed import all_gather, explain_lost_rank, init_process_group
        from voc_seg.engine.runtime import choose_runtime

        if process_info().rank:
            for name in pipeline.all_outputs():
                dataset = catalog.get(name)
                if dataset is not None and not isinstance(dataset, MemoryDataset):
                    dataset.save = _discard
        runtime = RuntimeConfig.model_validate(catalog.load("params:runtime"))
        try:
            init_process_group(choose_runtime(runtime).device, runtime.distributed_timeout)
            with explain_lost_rank():
                asked = {
                    "environment": environment_option(run_params),
                    "--pipelines": sorted(run_params["pipeline_names"] or []),
                }  # of which Kedro makes a set, in any order
                require_alike(all_gather(asked | dict(flattened(catalog.load("parameters")))))
        except VocSegError as error:
            raise RunStoppedError(f"{error}") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _torchrun_ends_it)


def require_alike(settings: Sequence[Mapping[str, Any]]) -> None:
    """Stop processes that were started with different settings, by rank; where each computes is its own affair.

    Raises:
        VocSegError: With what differs.
    """
    keys = dict.fromkeys(key for of_rank in settings for key in of_rank)
    differing = [
        f"  {key}: {', '.join(f'{of_rank.get(key)} at rank {rank}' for rank, of_rank in enumerate(settings))}"
        for key in keys
        if key not in _OWN_AFFAIR and len({repr(of_rank.get(key)) for of_rank in settings}) > 1
    ]
    if differing:
        raise VocSegError(
            "The processes of this run were started with different settings. Give torchrun the same command on every "
            "machine:\n" + "\n".join(differing)
        )


_OWN_AFFAIR = {"runtime.device", "runtime.workers", "runtime.keep_memory"}


def _torchrun_ends_it(signum: int, frame: FrameType | None) -> None:
    """Outside training, where nothing is to be written first: rank 0 says why before it goes."""
    signal.signal(signum, signal.SIG_IGN)
    if process_info().rank:
        raise SystemExit(128 + signum)
    raise VocSegError(
        "Ended by torchrun (SIGTERM): it was asked to stop, or another process of this run has ended, which it names "
        "below and which has said why in logs/training*.log. If there is a training in the command, go on with "
        "training.resume=true: a finished one is then only evaluated."
    )


def _discard(data: Any) -> None:
    """In place of a dataset's ``save``: rank 0 writes."""


def separate_logs() -> None:
    """Leave console and ``training.log`` to rank 0; others log to ``training_rank1.log`` and so on.

    Their errors still come to the console, with their rank; warnings would come once for every process.
    """
    here = process_info()
    if not here.rank:
        return
    rich.reconfigure(force_terminal=False)  # no bars
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):  # it opens the file at the first message
            path = Path(handler.baseFilename)
            handler.baseFilename = str(path.with_name(f"{path.stem}_rank{here.rank}{path.suffix}"))
        else:
            handler.setLevel(logging.ERROR)
            handler.addFilter(_with_rank)


def _with_rank(record: logging.LogRecord) -> bool:
    change(record, lambda message: f"[rank {process_info().rank}] {message}")
    return True
