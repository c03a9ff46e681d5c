"""A sweep from its command line to the table of its runs."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from kedro.framework.project import settings as project_settings
from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner
from omegaconf import OmegaConf
from pydantic import ValidationError
from yaml import YAMLError

from voc_seg.config import Parameters
from voc_seg.config.foreign import foreign_settings
from voc_seg.hooks.validation import NEXT, explain, pipeline_names
from voc_seg.system.errors import VocSegError
from voc_seg.system.runs import outputs_folder

from .grid import Trial, expand, parse_grid, parse_params
from .processes import Job, Outcome, run_jobs, share_of_threads
from .records import describe, earlier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """What is asked for.

    | field     | meaning                                                      |
    |-----------|--------------------------------------------------------------|
    | grid      | texts of the form ``key=value,value``                        |
    | params    | settings of all runs, as ``--params`` has them               |
    | pipelines | what each run does                                           |
    | at_once   | runs at the same time                                        |
    | name      | before the names of the runs                                 |
    | env       | environment; None is the default                             |
    """

    grid: tuple[str, ...]
    params: str
    pipelines: tuple[str, ...]
    at_once: int
    name: str
    env: str | None


def run_sweep(project: Path, wanted: Sweep) -> int:
    """Make those runs that are not there yet, and compare all of them; see ``kedro sweep --help``.

    Returns:
        Exit code: 0 when every run is there, 1 when one failed or is being made by another sweep, 128 and the signal's
        number when interrupted.

    Raises:
        VocSegError: The grid, a setting or a pipeline's name is wrong, or a folder is that of another run; nothing
            has been started then.
    """
    _require_pipelines(wanted.pipelines)
    trials = expand(parse_grid(wanted.grid), parse_params(wanted.params), wanted.name)
    jobs = [_job(trial, project, wanted) for trial in trials]
    left = [job for job in jobs if job.pipelines]
    logger.info(
        "Sweep: %d runs, %d of them finished before; %d at a time, threads each: %d. Logs: data/runs/NAME/run.log",
        len(jobs), len(jobs) - len(left), wanted.at_once, share_of_threads(wanted.at_once),
    )  # fmt: skip
    outcome = run_jobs(left, project, wanted.env, wanted.at_once)
    others = [trial for trial in trials if trial.name in outcome.elsewhere]  # which may have come to their end since
    outcome = replace(outcome, elsewhere=[one.name for one in others if _job(one, project, wanted).pipelines])
    try:
        if outcome.signum is None and any((job.folder / "06_models/best_model.pth").is_file() for job in jobs):
            chosen = {"comparison": {"runs": [trial.name for trial in trials]}}
            session = KedroSession.create(project, env=wanted.env, runtime_params=chosen)
            with session:
                session.run(pipeline_names=["comparison"], runner=SequentialRunner())
    finally:
        code = _say(outcome)
    return code


def _say(outcome: Outcome) -> int:
    """What did not come to its end, as the last word; and the exit code."""
    if outcome.failed:
        listed = "\n".join(f"  {name}: {reason}" for name, reason in outcome.failed.items())
        logger.error("Failed: %d. The same command once more tries them again.\n%s", len(outcome.failed), listed)
    if outcome.elsewhere:
        logger.warning(
            "Still running, begun by another sweep: %s. The same command once more, when they are done, compares them.",
            ", ".join(outcome.elsewhere),
        )
    if outcome.signum is not None:
        logger.warning("Interrupted, runs left: %d. The same command once more goes on.", len(outcome.left))
        return 128 + outcome.signum
    return 1 if outcome.failed or outcome.elsewhere else 0


def _require_pipelines(pipelines: tuple[str, ...]) -> None:
    if "data_processing" in pipelines:
        raise VocSegError(
            "All runs share what data_processing leaves: run it once before, kedro run --pipelines data_processing"
        )
    known = pipeline_names()
    if unknown := [name for name in pipelines if name not in known]:
        raise VocSegError(f"There is no pipeline {unknown[0]}. There are: {', '.join(known)}.")


def _job(trial: Trial, project: Path, wanted: Sweep) -> Job:
    """A trial as a job, with its settings checked as its run would check them."""
    settings = {"run": trial.name} | trial.settings
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={value}" for key, value in settings.items()]))
    except YAMLError as error:
        raise VocSegError(
            f"The settings of {trial.name} cannot be read ({str(error).splitlines()[0]}). Values are parted by commas, "
            "and lists written with spaces: model.skips=2 3 4,1"
        ) from error
    conf = str(project / project_settings.CONF_SOURCE)
    # The project's own: a file that cannot be read is told with its line.
    kind = project_settings.CONFIG_LOADER_CLASS
    loader = kind(conf, env=wanted.env, runtime_params=given, **project_settings.CONFIG_LOADER_ARGS)
    try:
        parameters = Parameters.of(loader["parameters"])
    except ValidationError as error:
        raise VocSegError(f"Settings of {trial.name} are wrong; nothing has run.\n{explain(error)}") from None
    folder = project / outputs_folder(trial.name)
    own = {} if NEXT.keys() >= set(wanted.pipelines) else foreign_settings(loader["parameters"], Parameters)
    record = earlier(folder, describe(wanted.env or project_settings.CONFIG_LOADER_ARGS["base_env"], parameters, own))
    left = tuple(name for name in wanted.pipelines if name not in record.finished)
    return Job(trial, folder, record, left, parameters.training.epochs)
