"""Searches, with small programs instead of trainings."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from kedro.framework.startup import bootstrap_project
from sqlalchemy.exc import IntegrityError

from voc_seg.sweep import options as sweep_options
from voc_seg.sweep import processes, study
from voc_seg.sweep.options import SweepOptions
from voc_seg.sweep.search import run_search
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
RATE = "training.optimizer.learning_rate"
OPTIONS = SweepOptions(
    (), "training.epochs=9", ("training",), 1, "", None, search=(f"{RATE}=log:1e-4..1e-1",), trials=3
)
# A training whose score is its learning rate, and which waits for a file if it is not the first.
TRAINING = """
import signal, sys, time
from pathlib import Path
name, rate, project = sys.argv[1], float(sys.argv[2]), Path.cwd()
def end(number, frame):
    print("asked to stop"); sys.exit(130)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
folder = project / "data/runs" / name / "08_reporting"
folder.mkdir(parents=True, exist_ok=True)
history = folder / "training_history.csv"
lines = ["epoch,val_miou,is_best,val_monitored"]
for epoch in range(1, 10):
    lines.append(f"{epoch},{rate * epoch},True,{rate * epoch}")
    partial = history.with_suffix(".new")
    partial.write_text("\\n".join(lines))
    partial.replace(history)
    while epoch == PAUSE and not (project / "go").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def project(tmp_path: Path, make_project: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_project(tmp_path / "project")
    (folder / "data/05_model_input").mkdir(parents=True)
    (folder / "data/05_model_input/train_samples.arrow").touch()  # nobody reads it
    monkeypatch.chdir(folder)
    bootstrap_project(folder)
    monkeypatch.setattr(processes, "job_command", command())
    return folder


def command(pause: int = 0) -> Callable[..., list[str]]:
    """Commands of trainings that wait after this epoch until there is a file ``go``."""
    program = TRAINING.replace("PAUSE", str(pause))
    return lambda job, _: [sys.executable, "-c", program, job.trial.name, job.trial.settings[RATE]]


def trials_of(project: Path, name: str = "search") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=study.default_storage(project)).trials


def states_of(project: Path) -> list[str]:
    return [trial.state.name for trial in trials_of(project)]


def test_without_samples_no_trial_is_started(project: Path) -> None:
    (project / "data/05_model_input/train_samples.arrow").unlink()
    with pytest.raises(VocSegError, match="no packed images of train; nothing has run"):
        run_search(project, OPTIONS)
    assert not (project / "data/runs").exists() and not Path(study.DATABASE).exists()


def test_the_best_trials_are_listed_and_more_can_be_added(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run_search(project, OPTIONS) == 0
    first = trials_of(project)
    assert {trial.state.name for trial in first} <= {"COMPLETE", "PRUNED"}
    assert first[0].value == pytest.approx(9 * first[0].params[RATE])  # the last epoch is the best
    assert list(first[0].intermediate_values) == list(range(1, 10))
    assert "by miou on val. The best score of many is optimistic" in caplog.text
    assert (
        f"learning_rate={max(trial.params[RATE] for trial in first if trial.state.name == 'COMPLETE'):.4g}"
        in (caplog.text.split("state     run\n")[1].split("\n")[0])
    )
    assert ",evaluation.split=test" in caplog.text

    caplog.clear()
    assert run_search(project, replace(OPTIONS, trials=5)) == 0
    assert "5 trials, 2 left" in caplog.text
    assert [trial.params for trial in trials_of(project)[:3]] == [trial.params for trial in first]
    assert len({trial.params[RATE] for trial in trials_of(project)}) == len(trials_of(project)) == 5
    caplog.clear()
    assert run_search(project, replace(OPTIONS, trials=5)) == 0
    assert "5 trials, 0 left" in caplog.text and "started" not in caplog.text


def test_trials_depend_on_the_seed_and_not_on_restarts(project: Path) -> None:
    for name, counts in (("a", (3,)), ("b", (1, 3))):
        for count in counts:
            run_search(project, replace(OPTIONS, name=name, trials=count))
    assert [trial.params for trial in trials_of(project, "a")] == [trial.params for trial in trials_of(project, "b")]
    other = {"params": "training.epochs=9,seed=1", "trials": 1, "name": "c"}
    run_search(project, replace(OPTIONS, **other))
    assert trials_of(project, "c")[0].params != trials_of(project, "a")[0].params
    assert (project / "data/runs/c_trial-000/sweep.json").is_file()


def test_a_trial_that_does_badly_is_stopped_as_by_ctrl_c(
    project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    database = study.open_study(study.default_storage(project), "other", {})
    assert not study.report(database, database.ask(), 1, 0.5, 9)  # the first is never pruned
    run_search(project, replace(OPTIONS, trials=1))
    second = optuna.load_study(study_name="search", storage=study.default_storage(project))
    second.enqueue_trial({RATE: 1.1e-4})
    monkeypatch.setattr(processes, "job_command", command(pause=1))
    assert run_search(project, replace(OPTIONS, trials=2)) == 0
    assert states_of(project) == ["COMPLETE", "PRUNED"]
    assert "trial-001: pruned at epoch 1 with 0.000" in caplog.text
    assert "asked to stop" in (project / "data/runs/trial-001/run.log").read_text()
    assert "2 of 2 trials, 1 pruned" in caplog.text
    assert "1  pruned    trial-001" in caplog.text
    assert run_search(project, replace(OPTIONS, trials=2)) == 0
    assert states_of(project) == ["COMPLETE", "PRUNED"]


def test_an_interrupted_trial_is_repeated_in_its_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "job_command", command(pause=2))
    watcher = subprocess.Popen(
        [sys.executable, "-c",
         "import os, pathlib, signal, sys, time\n"
         "history = pathlib.Path('data/runs/trial-000/08_reporting/training_history.csv')\n"
         "while not history.exists() or history.read_text().count(chr(10)) < 2: time.sleep(0.01)\n"
         f"os.kill({os.getpid()}, signal.SIGINT)"],
    )  # fmt: skip
    assert run_search(project, OPTIONS) == 130
    assert watcher.wait() == 0
    assert states_of(project) == ["FAIL", "WAITING"]
    (project / "go").touch()
    assert run_search(project, OPTIONS) == 0
    trials = trials_of(project)
    assert [trial.state.name for trial in trials][:2] == ["FAIL", "COMPLETE"]
    assert trials[1].params == trials[0].params and trials[1].user_attrs["run"] == "trial-000"
    assert len(trials) == 4


def test_a_trial_of_a_dead_process_is_repeated(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here its run keeps a lock as long as it lives; elsewhere the last sign of life counts."""
    run_search(project, replace(OPTIONS, trials=1))
    database = optuna.load_study(study_name="search", storage=study.default_storage(project))
    for number in (1, 2):
        trial = database.ask()
        trial.set_user_attr("run", f"trial-{number:03d}")
        trial.suggest_float(RATE, 1e-4, 1e-1, log=True)
        study.record_heartbeat(trial, 0.0, project)
    folders = [project / f"data/runs/trial-00{number}" for number in (1, 2)]
    for folder in folders:
        folder.mkdir(parents=True)
    with acquire_lock(folders[1] / ".lock", with_children=True):
        assert run_search(project, OPTIONS) == 1  # trial-002 is running elsewhere
        assert states_of(project)[1:3] == ["FAIL", "RUNNING"]
        assert trials_of(project)[3].user_attrs["run"] == "trial-001"
        assert len(trials_of(project)) == 4

        # Seen from another copy of the project, or another machine, it dies after five minutes without a sign of life.
        study.retry_stale(database, tmp_path / "copy", set())
        assert states_of(project)[2] == "RUNNING"
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        study.retry_stale(database, project, set())
        assert states_of(project)[2] == "RUNNING"
        later = time.time() + 301
        monkeypatch.setattr(time, "time", lambda: later)
        study.retry_stale(database, project, {2})
        assert states_of(project)[2] == "RUNNING"
        study.retry_stale(database, project, set())
        assert states_of(project)[2] == "FAIL" and states_of(project)[-1] == "WAITING"
        study.retry_stale(database, project, set())
        assert len(trials_of(project)) == 5


def test_processes_share_a_study(project: Path) -> None:
    """As on several machines, or with a GPU each."""
    program = (
        "import importlib.util, pathlib, sys\n"
        "from kedro.framework.startup import bootstrap_project\n"
        f"spec = importlib.util.spec_from_file_location('searches', {__file__!r})\n"
        "searches = importlib.util.module_from_spec(spec); spec.loader.exec_module(searches)\n"
        "folder = pathlib.Path.cwd(); bootstrap_project(folder)\n"
        "searches.processes.job_command = searches.command()\n"
        "sys.exit(searches.run_search(folder, searches.replace(searches.OPTIONS, trials=5)))"
    )
    study.open_study(study.default_storage(project), "unrelated", {})  # the tables exist
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (project / "data/runs").exists():
        assert other.poll() is None, other.communicate()[0]
        time.sleep(0.05)
    run_search(project, replace(OPTIONS, trials=5))
    output, _ = other.communicate(timeout=60)
    assert "Traceback" not in output
    trials = trials_of(project)
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    assert 5 <= len(trials) <= 6  # both may ask for the last at once
    assert len({trial.params[RATE] for trial in trials}) == len(trials)
    assert 1 <= output.count(": started") < len(trials)


def test_a_database_that_is_lost_stops_the_runs_with_a_checkpoint(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise optuna.exceptions.StorageInternalError("me:secret@host is gone")

    monkeypatch.setattr(processes, "job_command", command(pause=1))
    monkeypatch.setattr("voc_seg.sweep.trials.report", fail)
    with pytest.raises(VocSegError, match=r"cannot be used .*Then run the same command again"):
        run_search(project, OPTIONS)
    assert "asked to stop" in (project / "data/runs/trial-000/run.log").read_text()
    monkeypatch.undo()
    monkeypatch.chdir(project)
    monkeypatch.setattr(processes, "job_command", command())
    assert run_search(project, OPTIONS) == 0
    assert states_of(project)[:2] == ["FAIL", "COMPLETE"]


def test_a_failed_trial_is_repeated_by_the_next_command(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "job_command", lambda job, _: [sys.executable, "-c", "raise SystemExit(3)"])
    assert run_search(project, OPTIONS) == 1
    assert states_of(project) == ["FAIL"] * 3
    monkeypatch.setattr(processes, "job_command", command())
    assert run_search(project, OPTIONS) == 0
    assert "FAIL" not in states_of(project)[3:] and len(trials_of(project)) == 6


def test_another_search_of_the_same_name_is_refused(project: Path) -> None:
    run_search(project, replace(OPTIONS, trials=1))
    for change, message in (
        ({"search": (f"{RATE}=log:1e-4..1",)}, rf"{RATE}: log:0.0001..0.1 then, log:0.0001..1.0 now\n.*another name"),
        (
            {"search": ("seed=int:1..4",)},
            rf"\n  seed: 0 then, int:1..4 now\n  {RATE}: log:0.0001..0.1 then, 0.03 now\n",
        ),
        (
            {"params": "training.epochs=5"},
            r"settings:\n  training.epochs: 9 then, 5 now\nGive this search another name",
        ),
    ):
        with pytest.raises(VocSegError, match=message):
            run_search(project, replace(OPTIONS, **change))
    (project / "data/sweeps.db").unlink()
    with pytest.raises(VocSegError, match="data/runs/trial-000 belongs to an earlier search"):
        run_search(project, OPTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": ("seed=1,2",)}, "--grid seed=1,2 and --search training.optimizer.learning_rate=log:1e-4"),
        ({"folds": 3}, "--folds 3 and --search"),
        ({"trials": 0}, "needs the number of runs. Add --trials 30"),
        ({"search": ()}, "--trials 3 belongs to a search, but there is no --search"),
        ({"search": (), "trials": 0, "storage": "mysql://me:secret@host/x"}, "--storage mysql://host/x belongs"),
        ({"pipelines": ("evaluation",)}, "--pipelines evaluation does not train"),
        ({"search": ("model.widht=int:8..64",)}, r"widht-8 are wrong; nothing has run.\n  model.widht.*width"),
        ({"search": (f"{RATE}=0.1..1e9",)}, "learning_rate-1000000000.0 are wrong"),
        ({"storage": "sweeps.db"}, "--storage sweeps.db: .*for a file, write sqlite:///sweeps.db"),
        (
            {"search": ("training.monitor=choice:miou,class:cat",)},
            "training.monitor cannot vary: the trials are ranked",
        ),
        ({"search": (f"{RATE}=log:1e-3...1e-1",)}, "has three dots. Write two"),
        ({"search": ("model.width=8..64",)}, r"model.width = 25\.8.*valid integer"),
        ({"storage": "nosuch://me:secret@host/x"}, "--storage nosuch://host/x: .*Check the URL"),
        ({"storage": "sqlite:////no/such/folder/x.db"}, "unable to open database file"),
        ({"storage": "postgresql://me:secret@host:port/x"}, r"cannot be used \("),
    ],
)
def test_mistakes_are_refused_before_anything_runs(project: Path, change: dict, message: str) -> None:
    with pytest.raises(VocSegError, match=message) as error:
        run_search(project, replace(OPTIONS, **change))
    assert "secret" not in str(error.value)
    assert not (project / "data/runs").exists()


def test_tables_that_another_machine_creates_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, real, errors = f"sqlite:///{tmp_path / 'x.db'}", study.RDBStorage, []

    def created_at_once(*given: object, **options: object) -> optuna.storages.RDBStorage:
        errors.append(IntegrityError("CREATE TABLE studies", None, Exception("duplicate key value: pg_type_typname")))
        if len(errors) < 3:
            raise errors[-1]
        return real(*given, **options)

    monkeypatch.setattr(study, "RDBStorage", created_at_once)
    assert study.open_study(url, "search", {"a": 1}).study_name == "search"
    monkeypatch.setattr(study.time, "sleep", lambda seconds: None)

    def refused(*given: object, **options: object) -> optuna.storages.RDBStorage:
        raise IntegrityError("CREATE TABLE studies", None, Exception("duplicate key value"))

    monkeypatch.setattr(study, "RDBStorage", refused)
    with pytest.raises(VocSegError, match="cannot be used"):
        study.open_study(url, "search", {"a": 1})


def test_a_missing_extra_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_options, "find_spec", lambda name: None)
    with pytest.raises(VocSegError, match=r"--search needs Optuna.* pip install 'voc_seg\[sweep\]'"):
        run_search(project, OPTIONS)
