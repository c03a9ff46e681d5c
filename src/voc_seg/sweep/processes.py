"""The runs of a sweep as processes: started, watched, asked to stop."""

import csv
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, BinaryIO, cast

import yaml
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock
from voc_seg.system.progress import duration

from .grid import Trial
from .records import Record, earlier, write

logger = logging.getLogger(__name__)

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_LOG = "run.log"
_DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+"  # as conf/logging.yml has it


@dataclass(frozen=True)
class Job:
    """A run that is to be made.

    | field     | meaning                                                       |
    |-----------|---------------------------------------------------------------|
    | trial     | name and settings                                             |
    | folder    | of its outputs                                                |
    | record    | what is remembered of it                                      |
    | pipelines | what it has still to run                                      |
    | epochs    | it is to train for, for the progress bar                      |
    """

    trial: Trial
    folder: Path
    record: Record
    pipelines: tuple[str, ...]
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """What came of the jobs, by name: failed ones with the reason."""

    finished: list[str]
    failed: dict[str, str]
    elsewhere: list[str]
    left: list[str]
    signum: int | None


class Signals:
    """Context in which signals are counted, for handing them on, instead of ending this process."""

    def __init__(self) -> None:
        self.count = 0
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup: stays ignored
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        self.signum = signum


class _Running:
    """One process with its log and its lock."""

    def __init__(self, job: Job, lock: BinaryIO, project: Path, environment: str | None, threads: int) -> None:
        self.job, self.lock, self.told, self.started = job, lock, 0, time.monotonic()
        self.log = job.folder / _LOG
        write(job.folder, job.record, job.record.finished)
        self._from = self.log.stat().st_size if self.log.is_file() else 0
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command(job, environment), cwd=project, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {
                    "OMP_NUM_THREADS": str(threads), "KEDRO_LOGGING_CONFIG": str(_logging_config(job, project)),
                },
                # A sweep that is killed leaves its runs behind: no other one is to begin them anew.
                pass_fds=(lock.fileno(),) if os.name == "posix" else (),
                start_new_session=True,  # Ctrl-C on the terminal comes here alone, and is handed on once
            )  # fmt: skip

    def tell(self, signals: Signals) -> None:
        """Hand on what this process has been sent since: once to finish the step, twice to leave at once."""
        while self.told < signals.count and self.process.poll() is None:
            self.told += 1
            if os.name == "posix":
                self.process.send_signal(signal.SIGINT if signals.signum == signal.SIGINT else signal.SIGTERM)
            else:
                self.process.terminate()

    def reason(self) -> str:
        """Why it failed: the signal that ended it, or from its log the last error, or the last line."""
        if (code := self.process.returncode) < 0:
            advice = "; if memory ran out: fewer --jobs" if -code == getattr(signal, "SIGKILL", 0) else ""
            return f"ended by {signal.Signals(-code).name}{advice}"
        with self.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._from)
            text = log.read()
        # The line and the one below it, which is often the more telling.
        errors = re.findall(rf"^{_DATE} ERROR +\S+: (.+(?:\n(?!{_DATE} ).+)?)$", text, re.MULTILINE)
        lines = [" ".join(error.split()) for error in errors] or text.split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")


def command(job: Job, environment: str | None) -> list[str]:
    """The process of a job: ``kedro run`` with its settings, going on where an earlier one was interrupted."""
    from voc_seg.datasets.checkpoints import holds_checkpoints  # takes a second

    settings = {"run": job.trial.name} | job.trial.settings
    if "training" in job.pipelines and holds_checkpoints(job.folder / "06_models/checkpoints"):
        settings["training.resume"] = "true"
    given = ",".join(f"{key}={value}" for key, value in settings.items())
    named = ["--env", environment] if environment else []
    pipelines = ["--pipelines", ",".join(job.pipelines)]
    return [sys.executable, "-m", "voc_seg", *pipelines, *named, "--params", given]


def share_of_threads(jobs: int) -> int:
    """Threads for each of several processes: of ``OMP_NUM_THREADS``, or of the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, (int(given) if given.isdigit() else cores) // jobs)


def run_jobs(jobs: Sequence[Job], project: Path, environment: str | None, at_once: int) -> Outcome:
    """Run them all, so many at once; one that fails does not stop the others.

    SIGINT, SIGTERM and SIGHUP are handed on to the runs, which write a checkpoint; none is started after that.
    """
    waiting, running = list(jobs), dict[str, _Running]()
    outcome = Outcome([], {}, [], [], None)
    threads = share_of_threads(at_once)
    said = False
    with Signals() as signals, _Bars(len(jobs)) as bars:
        try:
            while running or (waiting and not signals.count):
                while waiting and len(running) < at_once and not signals.count:
                    job = waiting.pop(0)
                    if one := _start(job, outcome, project, environment, threads):
                        running[job.trial.name] = one
                if signals.count and not said:
                    said = True
                    logger.info("Runs finish their step and write a checkpoint. Once more leaves at once.")
                for name, one in list(running.items()):
                    one.tell(signals)
                    bars.show(one)
                    if one.process.poll() is not None:
                        _finish(running.pop(name), outcome)
                        bars.done(name, counts=name not in outcome.left)
                time.sleep(0.2)
        finally:
            for one in running.values():  # only if something went wrong here: nobody would watch them
                one.process.terminate()
            for one in running.values():
                one.process.wait()
    not_begun = {job.trial.name for job in waiting}
    left = [job.trial.name for job in jobs if job.trial.name in outcome.left or job.trial.name in not_begun]
    return Outcome(outcome.finished, outcome.failed, outcome.elsewhere, left, signals.signum)


def _start(job: Job, outcome: Outcome, project: Path, environment: str | None, threads: int) -> _Running | None:
    """Start a job, unless another sweep is making that run or has made it since, or it cannot be started."""
    name, lock, started = job.trial.name, None, None
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        if (lock := acquire_lock(job.folder / ".lock", with_children=True)) is None:
            logger.info("%s: running already, begun by another sweep", name)
            outcome.elsewhere.append(name)
            return None
        known = earlier(job.folder, job.record)
        job = replace(job, record=known, pipelines=tuple(one for one in job.pipelines if one not in known.finished))
        if not job.pipelines:
            outcome.finished.append(name)
            return None
        started = _Running(job, lock, project, environment, threads)
    except (OSError, VocSegError) as error:
        outcome.failed[name] = str(error)
        logger.error("%s: cannot be started: %s", name, error)
        return None
    finally:
        if lock and not started:
            lock.close()
    logger.debug("%s: %s", name, shlex.join(cast(list[str], started.process.args)))
    logger.info("%s: started", name)
    return started


def _finish(one: _Running, outcome: Outcome) -> None:
    """Remember how a process ended."""
    name, code, took = one.job.trial.name, one.process.returncode, duration(time.monotonic() - one.started)
    if code == 0:
        write(one.job.folder, one.job.record, {*one.job.record.finished, *one.job.pipelines})
        outcome.finished.append(name)
        logger.info("%s: finished in %s%s", name, took, _best(one.job))
    elif one.told:
        outcome.left.append(name)
        logger.info("%s: interrupted after %s", name, took)
    else:
        outcome.failed[name] = one.reason()
        logger.error("%s: failed after %s: %s (%s)", name, took, outcome.failed[name], one.log)
    one.lock.close()


def _logging_config(job: Job, project: Path) -> Path:
    """A copy of the project's logging settings with the run's own log file and without the console.

    What a run says beside that (tracebacks of what cannot be imported, say) goes into the same file.
    """
    config = yaml.safe_load((project / "conf/logging.yml").read_text(encoding="utf-8"))
    files = [handler for handler in config["handlers"].values() if "filename" in handler]
    for handler in files:
        handler["filename"] = str(job.folder / _LOG)
    if files:
        config["root"]["handlers"] = [
            name for name in config["root"]["handlers"] if "filename" in config["handlers"][name]
        ]
    path = job.folder / "logging.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def _history(job: Job) -> list[dict[str, str]]:
    """The rows of a run's history so far."""
    try:
        with (job.folder / "08_reporting/training_history.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError:
        return []


def _best(job: Job) -> str:
    scores = [float(row["val_miou"]) for row in _history(job) if row.get("val_miou")]
    return f", best val mIoU {max(scores):.3f}" if scores else ""


class _Bars:
    """On a terminal: a bar for the sweep, and one for each run with its epoch and best score."""

    def __init__(self, jobs: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(),
            transient=True, disable=not get_console().is_terminal,
        )  # fmt: skip
        self._runs = self._bars.add_task("runs", total=jobs)
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, float] = {}

    def __enter__(self) -> "_Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, one: _Running) -> None:
        name, job = one.job.trial.name, one.job
        if self._bars.disable or time.monotonic() - self._shown.get(name, 0.0) < 1:
            return
        self._shown[name] = time.monotonic()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=job.epochs)
        self._bars.update(self._tasks[name], completed=len(_history(job)), description=f"{name}{_best(job)}")

    def done(self, name: str, counts: bool) -> None:
        self._bars.advance(self._runs, int(counts))
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
