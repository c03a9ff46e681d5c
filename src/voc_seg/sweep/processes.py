"""Run the jobs of a sweep as processes: start, watch and interrupt them."""

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, BinaryIO, cast

import yaml

from voc_seg.hooks.project_package import package_name
from voc_seg.system.atomic import make_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock
from voc_seg.system.progress import duration

from .jobs import Job, SweepBars, best_score
from .outcome import JobSource, Outcome
from .records import load_record, save_record

logger = logging.getLogger(__name__)

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_LOG = "run.log"
_DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+"  # as conf/logging.yml has it


class SignalCounter:
    """Context that counts signals, to forward them, instead of ending this process."""

    def __init__(self) -> None:
        self.count = 0
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "SignalCounter":
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


class _RunProcess:
    """The process of a job, with its log and its lock."""

    def __init__(self, job: Job, lock: BinaryIO, project: Path, environment: str | None, threads: int) -> None:
        self.job, self.lock, self.signals_sent, self.started = job, lock, 0, time.monotonic()
        self.stopped = False
        self.log = job.folder / _LOG
        save_record(job.folder, job.record, job.record.finished)
        self._from = self.log.stat().st_size if self.log.is_file() else 0
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                job_command(job, environment), cwd=project, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {
                    "OMP_NUM_THREADS": str(threads), "KEDRO_LOGGING_CONFIG": str(_logging_config(job, project)),
                },
                # Runs survive a killed sweep and keep the lock, so that no other sweep starts them again.
                pass_fds=(lock.fileno(),) if os.name == "posix" else (),
                start_new_session=True,  # the terminal sends Ctrl-C only to this process, which forwards it once
            )  # fmt: skip

    def forward_signals(self, signals: SignalCounter) -> None:
        """Forward signals received so far: one asks the run to finish its step, two end it at once."""
        while self.signals_sent < signals.count and self.process.poll() is None:
            self.signals_sent += 1
            if os.name == "posix":
                self.process.send_signal(signal.SIGINT if signals.signum == signal.SIGINT else signal.SIGTERM)
            else:
                self.process.terminate()

    def stop(self) -> None:
        """Ask the run to finish its step and write a checkpoint, as Ctrl-C does."""
        self.stopped, self.signals_sent = True, self.signals_sent + 1
        if os.name == "posix":
            self.process.send_signal(signal.SIGINT)
        else:
            self.process.terminate()

    def reason(self) -> str:
        """Why the run failed: the signal that ended it, the last error in its log, or the last line."""
        if (code := self.process.returncode) < 0:
            advice = "; if memory ran out, use fewer --jobs" if -code == getattr(signal, "SIGKILL", 0) else ""
            return f"ended by {signal.Signals(-code).name}{advice}"
        with self.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._from)
            text = log.read()
        # The error line and the one below, which often says more.
        errors = re.findall(rf"^{_DATE} ERROR +\S+: (.+(?:\n(?!{_DATE} ).+)?)$", text, re.MULTILINE)
        lines = [" ".join(error.split()) for error in errors] or text.split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")


def job_command(job: Job, environment: str | None) -> list[str]:
    """The command line of a job: ``kedro run`` with its settings, resuming from a checkpoint if there is one."""
    from voc_seg.datasets.checkpoints import holds_checkpoints  # importing it takes a second

    settings = {"run": job.trial.name} | job.trial.settings
    if "training" in job.pipelines and holds_checkpoints(job.folder / "06_models/checkpoints"):
        settings["training.resume"] = "true"
    given = ",".join(f"{key}={value}" for key, value in settings.items())
    named = ["--env", environment] if environment else []
    pipelines = ["--pipelines", ",".join(job.pipelines)]
    return [sys.executable, "-m", package_name(), *pipelines, *named, "--params", given]


def threads_per_job(jobs: int) -> int:
    """Threads per process: ``OMP_NUM_THREADS``, or the cores available to this process, divided by ``jobs``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, (int(given) if given.isdigit() else cores) // jobs)


def run_jobs(
    jobs: Sequence[Job], project: Path, environment: str | None, max_parallel: int, source: JobSource | None = None
) -> Outcome:
    """Run all jobs and then those of a source, ``max_parallel`` at a time; a failure does not stop the others.

    SIGINT, SIGTERM and SIGHUP are forwarded to the runs, which write a checkpoint; no further run is started.
    """
    waiting, running, source = list(jobs), dict[str, _RunProcess](), source or JobSource()
    outcome = Outcome([], {}, [], [], None)
    threads = threads_per_job(max_parallel)
    announced = False
    with SignalCounter() as signals, SweepBars(len(jobs) + source.total) as bars:
        try:
            while True:
                while len(running) < max_parallel and not signals.count:
                    job = waiting.pop(0) if waiting else source.next()
                    if job is None:
                        break
                    if run := _start(job, outcome, project, environment, threads):
                        running[job.trial.name] = run
                    else:
                        source.ended(job, outcome)
                if not running:
                    break
                if signals.count and not announced:
                    announced = True
                    logger.info("Runs finish their step and write a checkpoint. A second signal ends them at once.")
                for name, run in list(running.items()):
                    run.forward_signals(signals)
                    bars.show(run.job)
                    if run.process.poll() is not None:
                        _finish(running.pop(name), outcome)
                        source.ended(run.job, outcome)
                        run.lock.close()
                        bars.done(name, counts=name not in outcome.unfinished)
                    elif not run.signals_sent and source.should_stop(run.job):
                        run.stop()
                time.sleep(0.2)
        finally:
            for run in running.values():  # only after an error in this loop, as nothing would watch them
                run.process.terminate()
            for run in running.values():
                run.process.wait()
    incomplete = {*outcome.unfinished, *(job.trial.name for job in waiting)}
    unfinished = [job.trial.name for job in jobs if job.trial.name in incomplete]
    unfinished += [name for name in outcome.unfinished if name not in unfinished]
    return replace(outcome, unfinished=unfinished, signum=signals.signum)


def _start(job: Job, outcome: Outcome, project: Path, environment: str | None, threads: int) -> _RunProcess | None:
    """Start a job; None if another sweep is running or has finished it, or if it cannot be started."""
    name, lock, started = job.trial.name, None, None
    try:
        make_folder(job.folder)
        if (lock := acquire_lock(job.folder / ".lock", with_children=True)) is None:
            logger.info("%s: already running in another sweep", name)
            outcome.running_elsewhere.append(name)
            return None
        known = load_record(job.folder, job.record)
        job = replace(job, record=known, pipelines=tuple(name for name in job.pipelines if name not in known.finished))
        if not job.pipelines:
            outcome.finished.append(name)
            return None
        started = _RunProcess(job, lock, project, environment, threads)
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


def _finish(run: _RunProcess, outcome: Outcome) -> None:
    """Record and log how a process ended."""
    name, code, took = run.job.trial.name, run.process.returncode, duration(time.monotonic() - run.started)
    if code == 0:
        save_record(run.job.folder, run.job.record, [*run.job.record.finished, *run.job.pipelines])
        outcome.finished.append(name)
        logger.info("%s: finished in %s%s", name, took, best_score(run.job))
    elif run.stopped:
        outcome.stopped.append(name)
        logger.info("%s: stopped after %s%s", name, took, best_score(run.job))
    elif run.signals_sent:
        outcome.unfinished.append(name)
        logger.info("%s: interrupted after %s", name, took)
    else:
        outcome.failed[name] = run.reason()
        logger.error("%s: failed after %s: %s (%s)", name, took, outcome.failed[name], run.log)


def _logging_config(job: Job, project: Path) -> Path:
    """Write logging settings with the run's own log file and without the console; return the path.

    Other output of the run, such as tracebacks, goes into the same file.
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
