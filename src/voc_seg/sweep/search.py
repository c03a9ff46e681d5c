"""Run a search, from its options to the table of its best trials."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from voc_seg.config import Parameters
from voc_seg.hooks.trackers import redact_password
from voc_seg.system.names import listed, shortened
from voc_seg.system.runs import RUNS, outputs_folder
from voc_seg.system.versions import newest_version

from .grid import Settings, expand, parse_params
from .options import SweepOptions, require_options
from .processes import run_jobs, threads_per_job
from .records import Record
from .samples import require_samples
from .search_space import corners, parse_search
from .sweep import log_outcome, read_settings, run_pipeline

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

_STATES = {"COMPLETE": "finished", "PRUNED": "pruned"}
_PATHS = ("voc_root", "voc_archive")  # may differ between machines
_ROWS = 10
_LETTERS = 40  # of a value in the table


def run_search(project: Path, options: SweepOptions) -> int:
    """Run the trials of a search that are not finished yet, and list the best; see ``kedro sweep --help``.

    Returns:
        Exit code, as for `run_sweep`.

    Raises:
        VocSegError: An option, a range, a setting or a pipeline name is wrong, Optuna is missing, or the database
            cannot be used or holds another search of this name. If the database is lost later, the runs in progress
            are stopped with a checkpoint.
    """
    require_options(options)
    from . import study as studies  # it needs an extra
    from .trials import StudyTrials

    shared = parse_params(options.params)
    space = parse_search(options.search, shared)
    if own := [key for key in space if key.partition(".")[0] not in Parameters.model_fields]:
        logger.warning("Not a voc_seg setting; only your own nodes can read it: %s", listed(own))
    checked = [_read_corner(corner, shared, project, options) for corner in corners(space)]
    require_samples(project, options.env, shared, folds=0)
    parameters, record = checked[0]
    name, url = options.name or "search", options.storage or studies.default_storage(project)
    wanted = {"--env": record.environment}
    wanted |= {key: value for key, value in record.settings.items() if key not in _PATHS}
    wanted |= {key: str(dimension) for key, dimension in space.items()}
    study = studies.open_study(url, name, wanted)
    with studies.storage_errors(url):
        source = StudyTrials(project, options, study, space, shared, parameters.seed)
        logger.info(
            "Search %s: %d trials, %d left; %d at a time, threads each: %d. Logs: %s/NAME/run.log. Trials: %s",
            name, options.trials, source.total, options.max_parallel, threads_per_job(options.max_parallel), RUNS,
            redact_password(options.storage or studies.DATABASE),
        )  # fmt: skip
        outcome = run_jobs([], project, options.env, options.max_parallel, source)
        trials = studies.latest_attempts(study)
    by_state = {
        state: [str(trial.user_attrs.get(studies.RUN, trial.number)) for trial in trials if trial.state.name == state]
        for state in ("COMPLETE", "RUNNING", "WAITING")
    }
    elsewhere = sorted({*outcome.running_elsewhere, *by_state["RUNNING"]})
    outcome = replace(outcome, failed=outcome.failed | source.refused, running_elsewhere=elsewhere)
    try:
        paths = {run: project / outputs_folder(run) / "06_models/best_model.pth" for run in by_state["COMPLETE"]}
        here = [run for run, path in paths.items() if newest_version(path).is_file()]
        if here and outcome.signum is None:
            run_pipeline("comparison", here, project, options)
    finally:
        if by_state["COMPLETE"] and outcome.signum is None:
            logger.info("%s", _table(trials, parameters.training.monitor, options))
        code = log_outcome(outcome, options.trials - len(trials) + len(by_state["WAITING"]))
    return code


def _read_corner(corner: Settings, shared: Settings, project: Path, options: SweepOptions) -> tuple[Parameters, Record]:
    """Validated settings of one end of the ranges; an error names it as a grid would name its run."""
    (trial,) = expand({key: (value,) for key, value in corner.items()}, shared)
    return read_settings(trial, project, options)


def _table(trials: Sequence["FrozenTrial"], monitor: str, options: SweepOptions) -> str:
    """The best trials with their settings, the pruned ones last, and the command that scores the best on test."""
    ended = [trial for trial in trials if trial.state.name in _STATES and trial.value is not None]
    ended.sort(key=lambda trial: (list(_STATES).index(trial.state.name), -(trial.value or 0.0), trial.number))
    lines = [f"{'score':>8}{'epochs':>8}  {'state':<9} run"]
    for trial in ended[:_ROWS]:
        settings = "  ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in trial.params.items())
        run = trial.user_attrs["run"]
        lines.append(f"{trial.value:>8.3f}{trial.last_step:>8}  {_STATES[trial.state.name]:<9} {run}  {settings}")
    pruned = sum(trial.state.name == "PRUNED" for trial in ended)
    environment = f" --env {shlex.quote(options.env)}" if options.env else ""
    best = f"run={ended[0].user_attrs['run']},evaluation.split=test"
    return (
        f"The best {len(lines) - 1} of {len(ended)} trials, {pruned} pruned, by {monitor} on val. The best score of "
        "many is optimistic; only test is unbiased\n"
        + "\n".join(lines)
        + "\nScore your final choice once on test. For the "
        f"first: kedro run --pipelines evaluation{environment} --params {best}"
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shortened(str(value), _LETTERS)
