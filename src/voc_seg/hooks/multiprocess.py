"""Distributed runs under torchrun: what each rank runs and writes.

All ranks run the nodes tagged ``every_rank``; only rank 0 runs the other nodes and writes files. Other ranks discard
what they would save, and load inputs after rank 0 has written them.
"""

import logging
import signal
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol, DatasetNotFoundError, MemoryDataset
from kedro.pipeline import Pipeline

from voc_seg.config import RuntimeConfig, flattened
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import EVERY_RANK, process_info

from .commands import NEXT_COMMAND, environment_option
from .errors import RunStoppedError
from .interrupts import remember_run, report_interrupts
from .run_lock import release
from .run_options import require_runner, require_selection

logger = logging.getLogger(__name__)

DISTRIBUTED_PIPELINES = ("training", "evaluation")
"""Pipelines whose work is split between ranks."""


class RankSession(KedroSession):
    """A session that runs on each rank the nodes that belong there; an ordinary session in a single process."""

    def run(  # type: ignore[override]  # selection has the other options of KedroSession.run
        self,
        pipeline_name: str | None = None,
        pipeline_names: list[str] | None = None,
        tags: Any = None,
        runner: Any = None,
        **selection: Any,
    ) -> dict[str, Any]:
        """Run pipelines, with the arguments of ``KedroSession.run``.

        Raises RunStoppedError if they need a single process, or an option names something that does not exist.
        """
        process = process_info()
        names = [pipeline_name] if pipeline_name else list(pipeline_names or [])
        if process.world_size > 1:
            require_single_process(names, bool(tags or any(selection.values())))
        chosen = require_selection(names, {"tags": tags, **selection})
        if chosen is not None and runner is not None:
            require_runner(runner, chosen)
        if process.rank:
            tags = (EVERY_RANK,)
        try:
            with report_interrupts(self._hook_manager, handle_signals=process.world_size == 1):
                return super().run(pipeline_name, pipeline_names, tags, runner, **selection)
        except (MissingConfigException, DatasetNotFoundError) as error:
            raise RunStoppedError(f"{error} Nothing has run.") from error
        finally:
            release()  # also after Ctrl-C in a notebook
            if process.world_size > 1:
                from voc_seg.engine.distributed import destroy_process_group

                destroy_process_group()
                if signal.getsignal(signal.SIGTERM) is _handle_sigterm:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def require_single_process(pipelines: list[str], has_selection: bool) -> None:
    """Refuse a distributed run that needs a single process; without pipeline names it is a plain ``kedro run``."""
    ranks = process_info().world_size
    together = ",".join(DISTRIBUTED_PIPELINES)
    # Kedro reports unknown names.
    others = [
        name for name in pipelines or ["data_processing"] if name in NEXT_COMMAND and name not in DISTRIBUTED_PIPELINES
    ]
    if others:
        wanted = ", ".join(others) if pipelines else "kedro run without --pipelines, which starts with data_processing,"
        needs = "need" if len(others) > 1 else "needs"
        first = f"kedro run --pipelines {','.join(others)}"
        raise RunStoppedError(
            f"{wanted} {needs} a single process, but torchrun has started {ranks}. Nothing has run. Without torchrun: "
            f"{first}. Distributed runs are possible with: --pipelines {together}"
        )
    if has_selection:
        raise RunStoppedError(
            f"Part of a pipeline (--nodes, --tags, --from-nodes and so on) needs a single process, but torchrun has "
            f"started {ranks}. Nothing has run. Run it without torchrun, or run whole pipelines: --pipelines {together}"
        )


class RankHooks:
    """Starts the process group of a distributed run; registered in ``settings.py``."""

    @hook_impl(trylast=True)  # refuse a run before waiting for other ranks
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Join the process group, check that all ranks have the same settings, and save only on rank 0."""
        remember_run(run_params, pipeline, catalog)
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
                launch = {
                    "environment": environment_option(run_params),
                    "--pipelines": sorted(run_params["pipeline_names"] or []),
                }  # sorted, as Kedro passes a set
                require_same_settings(all_gather(launch | dict(flattened(catalog.load("parameters")))))
        except VocSegError as error:
            raise RunStoppedError(f"{error}") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _handle_sigterm)


def require_same_settings(settings: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a run whose ranks were started with different flat settings; device and workers may differ."""
    keys = dict.fromkeys(key for of_rank in settings for key in of_rank)
    differing = [
        f"  {key}: {', '.join(f'{of_rank.get(key)} at rank {rank}' for rank, of_rank in enumerate(settings))}"
        for key in keys
        if key not in _PER_RANK_SETTINGS and len({repr(of_rank.get(key)) for of_rank in settings}) > 1
    ]
    if differing:
        raise VocSegError(
            "The ranks of this run were started with different settings. Give torchrun the same command on every "
            "machine:\n" + "\n".join(differing)
        )


_PER_RANK_SETTINGS = {"runtime.device", "runtime.workers", "runtime.keep_memory"}


def _handle_sigterm(signum: int, frame: FrameType | None) -> None:
    """Exit outside training, where there is no checkpoint to write; rank 0 explains why."""
    signal.signal(signum, signal.SIG_IGN)
    if process_info().rank:
        raise SystemExit(128 + signum)
    raise VocSegError(
        "Ended by torchrun (SIGTERM): it was asked to stop, or another rank has ended, which torchrun names below and "
        "whose error is in logs/training*.log. If the command includes training, resume with training.resume=true: a "
        "finished training is then only evaluated."
    )


def _discard(data: Any) -> None:
    """Replacement for a dataset's ``save`` on ranks other than 0."""
