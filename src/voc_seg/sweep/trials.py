"""The trials of an Optuna study as jobs of a sweep."""

import logging
import time
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from voc_seg.system.errors import VocSegError
from voc_seg.system.runs import RUNS

from .grid import Settings, Trial
from .jobs import Job, read_history
from .options import SweepOptions
from .outcome import JobSource, Outcome
from .search_space import Space, suggest
from .study import RUN, ask, finish, latest_attempts, record_heartbeat, report, retry, retry_failed, retry_stale
from .sweep import make_job

logger = logging.getLogger(__name__)

_POLL = 10.0  # seconds between looks for trials that another process has given up


class StudyTrials(JobSource):
    """Asks the study for trials, reports their scores, stops those that are pruned, and records how they ended.

    Raises VocSegError if folders of an earlier search are in the way of a new study.
    """

    def __init__(
        self, project: Path, options: SweepOptions, study: optuna.Study, space: Space, shared: Settings, seed: int
    ) -> None:
        self._project, self._options, self._study, self._space = project, options, study, space
        self._shared, self._seed = shared, seed
        self._running: dict[str, _Running] = {}
        self._asked = 0.0
        self.refused: dict[str, str] = {}  # trials with settings that exclude each other: reasons by name
        prefix = f"{options.name}_trial-" if options.name else "trial-"
        self._prefix = prefix
        if not study.get_trials(deepcopy=False):
            _require_new_folders(project, prefix)
        retry_failed(study)
        retry_stale(study, project, set())
        ended = sum(trial.state != TrialState.WAITING for trial in latest_attempts(study))
        self.total = max(0, options.trials - ended)

    def next(self) -> Job | None:
        if self._running and time.monotonic() - self._asked < _POLL:
            return None
        while True:
            retry_stale(self._study, self._project, {running.trial.number for running in self._running.values()})
            trials = latest_attempts(self._study)
            if len(trials) >= self._options.trials and all(one.state != TrialState.WAITING for one in trials):
                self._asked = time.monotonic()
                return None
            trial = ask(self._study, self._seed)
            settings = self._shared | suggest(self._space, trial)
            name = trial.user_attrs.get(RUN, f"{self._prefix}{trial.number:03d}")
            trial.set_user_attr(RUN, name)
            try:
                job = make_job(Trial(name, settings), self._project, self._options)
            except VocSegError as error:
                logger.error("%s: cannot be started: %s", name, error)
                self.refused[name] = str(error)
                finish(self._study, trial.number, TrialState.FAIL)
            else:
                self._running[name] = _Running(trial)
                return job

    def should_stop(self, job: Job) -> bool:
        running = self._running[job.trial.name]
        scores = validated_scores(job)
        is_trained = bool(scores) and scores[-1][0] == job.epochs
        try:
            running.seen = record_heartbeat(running.trial, running.seen, self._project)
            for epoch, score in scores:
                if epoch > running.epoch:
                    running.epoch = epoch
                    if report(self._study, running.trial, epoch, score, job.epochs) and not is_trained:
                        logger.info("%s: pruned at epoch %d with %.3f", job.trial.name, epoch, score)
                        return True
        except UpdateFinishedTrialError:
            return True  # another machine has given this one up, and repeats the trial
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        name = job.trial.name
        trial, state, score = self._running[name].trial, TrialState.FAIL, None
        if name in outcome.stopped:
            state = TrialState.PRUNED
        elif name in outcome.finished:
            self.should_stop(job)  # reports the last epochs
            score = objective(job)
            if score is None:
                outcome.failed[name] = f"there is no validated epoch in {job.folder}/08_reporting/training_history.csv"
            else:
                state = TrialState.COMPLETE
        if not finish(self._study, trial.number, state, score):
            logger.warning("%s: another machine has taken over this trial, so this result is discarded", name)
        elif name in outcome.unfinished:
            retry(self._study, self._study.get_trials(deepcopy=False)[trial.number])
        del self._running[name]


class _Running:
    """A trial whose run is in progress."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.epoch = 0  # the last one reported
        self.seen = 0.0  # time of the last sign of life in the database


def _require_new_folders(project: Path, prefix: str) -> None:
    """Refuse a new study if runs of an earlier one with this name exist."""
    if found := sorted(folder.name for folder in (project / RUNS).glob(f"{prefix}[0-9]*")):
        raise VocSegError(
            f"{RUNS}/{found[0]} belongs to an earlier search, which is not in this database. Give this search another "
            f"name with --name, or delete the folders {RUNS}/{prefix}*."
        )


def validated_scores(job: Job) -> list[tuple[int, float]]:
    """Validated epochs of a run so far, and their scores by ``training.monitor``."""
    rows = [(row["epoch"], row.get("val_monitored") or row.get("val_miou")) for row in read_history(job)]
    return [(int(epoch), float(score)) for epoch, score in rows if score]


def objective(job: Job) -> float | None:
    """The score by ``training.monitor`` of the epoch that became the model; None if no epoch was validated."""
    models = [int(row["epoch"]) for row in read_history(job) if row.get("is_best") == "True"]
    return dict(validated_scores(job)).get(models[-1]) if models else None
