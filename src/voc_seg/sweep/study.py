"""The Optuna study of a search: its database, its trials, and which of them are to be run again."""

import os
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, SQLAlchemyError

from voc_seg.hooks.trackers import redact_password
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock
from voc_seg.system.runs import outputs_folder

DATABASE = "data/sweeps.db"
"""File of all searches of a project, unless ``--storage`` says otherwise."""
_SHARED = "shared"
"""Attribute of a study: what all its trials share."""
RUN = "run"
"""Attribute of a trial: name of its run."""
_MACHINE, _SEEN, _RETRIES = "machine", "seen", "retries"  # where it runs, when it last did, the trial it retries
_ATTEMPTS = 5
_HEARTBEAT = 60.0
_GRACE = 300.0  # seconds after which a trial of another machine that is not seen counts as dead
_REDUCTION = 3  # of the trials that reach a ninth or a third of their training, one in three continues


def default_storage(project: Path) -> str:
    """The URL of the SQLite file in the data folder."""
    return f"sqlite:///{(project / DATABASE).as_posix()}"


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn errors of the database into ones that say what to do, without the password in the URL."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = redact_password(str(cause)).strip().partition("\n")[0]
        raise VocSegError(
            f"--storage {redact_password(url)}: the database of the search cannot be used ({reason}). Check the URL, "
            "such as postgresql+psycopg://user@host/name, its driver (pip install 'psycopg[binary]') and that the "
            "database is reachable. Then run the same command again; runs that were in progress are resumed."
        ) from error


def open_study(url: str, name: str, wanted: Mapping[str, Any]) -> optuna.Study:
    """The study of this name, created if it does not exist.

    Args:
        url: Of a relational database, as SQLAlchemy has it.
        name: Name of the search.
        wanted: What all its trials share, to recognise another search: ranges, environment and settings by key.

    Raises:
        VocSegError: The study belongs to another search, or the database cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    waits = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    with storage_errors(url):
        if "://" not in url:
            raise ArgumentError(f"this is no URL; for a file, write sqlite:///{url}")
        try:
            make_url(url)
        except ValueError as error:  # the port is no number
            raise ArgumentError(str(error)) from error
        storage = _open_storage(url, waits)
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        if (known := study.user_attrs.get(_SHARED)) is None:
            study.set_user_attr(_SHARED, dict(wanted))
            return study
    differing = [
        f"{key}: {known.get(key)} then, {wanted.get(key)} now"
        for key in known | dict(wanted)
        if known.get(key) != wanted.get(key)
    ]
    if differing:
        listed = "\n  ".join(differing)
        raise VocSegError(
            f"The search {name} already exists with another search space or other settings:\n  {listed}\n"
            "Give this search another name with --name, or repeat the command as it was."
        )
    return study


def _open_storage(url: str, waits: dict[str, Any]) -> RDBStorage:
    """Open the database; its tables are created on first use, which several machines may do at the same moment."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return RDBStorage(url, engine_kwargs=waits)
        except DatabaseError as error:
            if isinstance(error, OperationalError) and "already exists" not in str(error):
                raise  # it cannot be reached; otherwise another machine is creating the tables
            time.sleep(0.2 * 2**attempt)
    return RDBStorage(url, engine_kwargs=waits)


def latest_attempts(study: optuna.Study) -> list[FrozenTrial]:
    """All trials except those that another one retries."""
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(_RETRIES) for trial in trials}
    return [trial for trial in trials if trial.number not in retried]


def ask(study: optuna.Study, seed: int) -> optuna.Trial:
    """The next trial: one that waits to be retried, or a new one that TPE chooses.

    The random numbers of a trial depend on the seed and its number, so they are the same after a restart.
    """
    trial = study.ask()
    state = np.random.SeedSequence([seed, trial.number]).generate_state(1)[0]
    with _without_warnings():
        study.sampler = optuna.samplers.TPESampler(seed=int(state), constant_liar=True)
    return trial


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def report(study: optuna.Study, trial: optuna.Trial, epoch: int, score: float, epochs: int | None) -> bool:
    """Record the score of a validated epoch; return whether successive halving (ASHA) stops the trial here.

    Trials are compared after a ninth and after a third of their training. The best third continues, and the first
    trial, which has nothing to be compared with. With ``training.minutes`` the longest finished trial says how many
    epochs a training has.
    """
    trial.report(score, epoch)
    if epochs is None:
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        epochs = max((one.last_step or 0 for one in finished), default=0)
    if epoch >= epochs:
        return False
    study.pruner = optuna.pruners.SuccessiveHalvingPruner(-(-epochs // _REDUCTION**2), _REDUCTION)
    return trial.should_prune()


def record_heartbeat(trial: optuna.Trial, last: float, project: Path) -> float:
    """Record once a minute that a trial is running in this project; ``last`` and the result are times of a record."""
    now = time.time()
    if now - last < _HEARTBEAT:
        return last
    if not last:
        trial.set_user_attr(_MACHINE, _machine(project))
    trial.set_user_attr(_SEEN, now)
    return now


def _machine(project: Path) -> str:
    """Where the locks of runs can be seen: copies of a project on one machine do not see those of each other."""
    return f"{platform.node()}:{project.resolve()}"


def finish(study: optuna.Study, number: int, state: TrialState, value: float | None = None) -> bool:
    """Record how a trial ended; False if another process has done so before."""
    try:
        study.tell(number, value, state)
    except (ValueError, UpdateFinishedTrialError):
        if study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING:
            raise
        return False
    return True


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a failed trial again, with the same parameters and the same run, which is resumed."""
    attributes = {_RETRIES: trial.number} | {key: trial.user_attrs[key] for key in (RUN,) if key in trial.user_attrs}
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.WAITING, params=trial.params, distributions=trial.distributions, user_attrs=attributes
        )
    )


def retry_failed(study: optuna.Study) -> None:
    """Queue all failed trials again."""
    for trial in latest_attempts(study):
        if trial.state == TrialState.FAIL:
            retry(study, trial)


def retry_stale(study: optuna.Study, project: Path, alive: set[int]) -> None:
    """Queue trials again whose process has died; ``alive`` are the numbers of those that this process runs.

    A run keeps a lock as long as it lives, which counts in its project. Elsewhere the last sign of life counts.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number in alive:
            continue
        attributes = trial.user_attrs
        if attributes.get(_MACHINE) == _machine(project):
            dead = _is_unlocked(project / outputs_folder(attributes[RUN]))
        else:
            started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
            dead = time.time() - attributes.get(_SEEN, started) > _GRACE
        if dead and finish(study, trial.number, TrialState.FAIL):
            retry(study, trial)


def _is_unlocked(folder: Path) -> bool:
    """Whether no process runs in the folder of a run."""
    try:
        lock = acquire_lock(folder / ".lock", with_children=True)
    except OSError:
        return not os.path.lexists(folder)
    if lock:
        lock.close()
    return lock is not None
