"""Run a sweep, from its options to the comparison table."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from kedro.framework.project import settings as project_settings
from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner
from omegaconf import OmegaConf
from pydantic import ValidationError
from yaml import YAMLError

from voc_seg.config import Parameters
from voc_seg.config.user_keys import user_parameters
from voc_seg.hooks.commands import NEXT_COMMAND
from voc_seg.hooks.setting_errors import describe_validation_errors
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted
from voc_seg.system.runs import outputs_folder
from voc_seg.system.versions import newest_version

from .folds import FoldSweep, expand_folds
from .grid import Trial, expand, parse_grid, parse_params
from .jobs import Job
from .options import SweepOptions, require_options
from .outcome import Outcome
from .processes import run_jobs, threads_per_job
from .records import Record, load_record, new_record
from .samples import require_samples

logger = logging.getLogger(__name__)


def run_sweep(project: Path, options: SweepOptions) -> int:
    """Run what is not finished yet, and compare all runs, or pool those on folds; see ``kedro sweep --help``.

    Returns:
        Exit code: 0 if every run is finished, 1 if one failed or is running in another sweep, 128 plus the signal
        number if interrupted.

    Raises:
        VocSegError: The grid, a setting or a pipeline name is wrong, or a folder belongs to another run. Nothing has
            been started.
    """
    require_options(options)
    grid, shared = parse_grid(options.grid), parse_params(options.params)
    sweeps = expand_folds(grid, shared, options.folds, options.name) if options.folds else []
    trials = [trial for one in sweeps for trial in one.folds] or expand(grid, shared, options.name)
    jobs = [make_job(trial, project, options) for trial in trials]
    joined = _joined(options)
    ensembles = {
        one.ensemble.name: make_job(one.ensemble, project, options, joined) for one in sweeps if options.ensemble
    }
    left = [job for job in jobs if job.pipelines]
    if any("training" in job.pipelines for job in left):
        require_samples(project, options.env, shared, options.folds)
    logger.info(
        "Sweep: %s, %d already finished; %d at a time, threads each: %d. Logs: data/runs/NAME/run.log",
        counted(len(jobs), "run"), len(jobs) - len(left), options.max_parallel, threads_per_job(options.max_parallel),
    )  # fmt: skip
    outcome = run_jobs(left, project, options.env, options.max_parallel)
    others = [make_job(trial, project, options) for trial in trials if trial.name in outcome.running_elsewhere]
    still_running = [job.trial.name for job in others if job.pipelines]  # some may have finished since
    outcome = replace(outcome, running_elsewhere=still_running)
    unfinished = {*outcome.failed, *outcome.unfinished, *still_running}
    complete = [one for one in sweeps if unfinished.isdisjoint(trial.name for trial in one.folds)]
    waiting = [ensembles[one.ensemble.name] for one in complete if options.ensemble]
    if outcome.signum is None and any(job.pipelines for job in waiting):
        waiting = [job for job in waiting if job.pipelines]
        outcome += run_jobs(waiting, project, options.env, options.max_parallel)
    try:
        models = [newest_version(job.folder / "06_models/best_model.pth") for job in jobs]
        if outcome.signum is None and sweeps:
            _pool(project, options, sweeps, complete, unfinished)
        elif outcome.signum is None and any(model.is_file() for model in models):
            run_pipeline("comparison", [trial.name for trial in trials], project, options)
    finally:
        code = log_outcome(outcome)
    return code


def _joined(options: SweepOptions) -> tuple[str, ...]:
    """Pipelines of an ensemble: as of the other runs, but its model is joined instead of trained."""
    return tuple("ensemble" if name == "training" else name for name in options.pipelines)


def run_pipeline(name: str, runs: Sequence[str], project: Path, options: SweepOptions) -> None:
    """Run a pipeline that reads the results of these runs."""
    session = KedroSession.create(project, env=options.env, runtime_params={"comparison": {"runs": list(runs)}})
    with session:
        session.run(pipeline_names=[name], runner=SequentialRunner())


def _pool(
    project: Path,
    options: SweepOptions,
    sweeps: Sequence[FoldSweep],
    complete: Sequence[FoldSweep],
    unfinished: Collection[str],
) -> None:
    """Pool the scores of all folds where all are finished; say what is missing elsewhere."""
    for one in sweeps:
        if missing := [trial.name for trial in one.folds if trial.name in unfinished]:
            logger.warning(
                "Scores are not pooled%s, because these folds are not finished: %s. Run the same command again.",
                f", and there is no {one.ensemble.name}" if options.ensemble else "", ", ".join(missing),
            )  # fmt: skip
    if complete:
        names = [trial.name for one in complete for trial in one.folds]
        names += [one.ensemble.name for one in complete if options.ensemble]
        run_pipeline("folds", names, project, options)


def log_outcome(outcome: Outcome, left: int | None = None) -> int:
    """Log what did not finish, as the last message; return the exit code.

    ``left`` is the number of runs that an interrupted sweep leaves, by default those in the outcome.
    """
    if outcome.failed:
        listed = "\n".join(f"  {name}: {reason}" for name, reason in outcome.failed.items())
        logger.error("Failed: %d. Run the same command again to retry them.\n%s", len(outcome.failed), listed)
    if outcome.running_elsewhere:
        logger.warning(
            "Still running in another sweep: %s. Run the same command again when they are finished to compare them.",
            ", ".join(outcome.running_elsewhere),
        )
    if outcome.signum is not None:
        logger.warning(
            "Interrupted, runs left: %d. Run the same command again to resume.",
            len(outcome.unfinished) if left is None else left,
        )
        return 128 + outcome.signum
    return 1 if outcome.failed or outcome.running_elsewhere else 0


def make_job(trial: Trial, project: Path, options: SweepOptions, pipelines: Sequence[str] = ()) -> Job:
    """The job of a trial, with its settings validated as in its run; ``pipelines`` other than those of the options."""
    parameters, new = read_settings(trial, project, options, pipelines)
    folder = project / outputs_folder(trial.name)
    record = load_record(folder, new)
    left = tuple(name for name in pipelines or options.pipelines if name not in record.finished)
    training = parameters.training
    return Job(trial, folder, record, left, training.epochs if training.minutes is None else None)


def read_settings(
    trial: Trial, project: Path, options: SweepOptions, pipelines: Sequence[str] = ()
) -> tuple[Parameters, Record]:
    """Validated settings of a trial, and the record of its run before it starts; arguments as for `make_job`."""
    settings = {"run": trial.name} | trial.settings
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={value}" for key, value in settings.items()]))
    except YAMLError as error:
        raise VocSegError(
            f"The settings of {trial.name} cannot be read ({str(error).splitlines()[0]}). Separate values with "
            "commas, and write lists with spaces: model.skips=2 3 4,1"
        ) from error
    conf = str(project / project_settings.CONF_SOURCE)
    # The project's loader, which reports a faulty file with its line.
    loader_class = project_settings.CONFIG_LOADER_CLASS
    loader = loader_class(conf, env=options.env, runtime_params=given, **project_settings.CONFIG_LOADER_ARGS)
    try:
        parameters = Parameters.of(loader["parameters"])
    except ValidationError as error:
        raise VocSegError(
            f"Settings of {trial.name} are wrong; nothing has run.\n{describe_validation_errors(error)}"
        ) from None
    own = (
        {}
        if NEXT_COMMAND.keys() >= set(pipelines or options.pipelines)
        else user_parameters(loader["parameters"], Parameters)
    )
    environment = options.env or project_settings.CONFIG_LOADER_ARGS["base_env"]
    return parameters, new_record(environment, parameters, own)
