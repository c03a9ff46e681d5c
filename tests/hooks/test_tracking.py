"""Tracked runs: MLflow with an SQLite file, TensorBoard, and runs without either."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click import ClickException
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from voc_seg.config import DataConfig, Parameters, TrackingConfig
from voc_seg.datasets import VOCSplitDataset
from voc_seg.engine import training
from voc_seg.hooks.trackers import MlflowWriter, RunInfo, flatten_to_text, redact_password
from voc_seg.hooks.tracking import TRACKED_SCORES, GuardedTracker, _commit, _data_name, describe, numeric_values

Run = Callable[..., None]
TIMES = {"images_per_second", "data_seconds", "epoch_seconds", "seconds", "waited"}
FIGURES = {
    "class_distribution", "training_curves", "class_iou", "confusion_figure", "confidence", "prediction_gallery",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path], run_kedro: Callable[..., None]) -> Path:
    """A project whose run was not tracked."""
    folder = prepare_project(train=6, val=2, test=1)
    run_kedro(folder, "training")
    return folder


def copy_of(project: Path, folder: Path) -> Path:
    """A copy of the project with the same images, which a test may change."""
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("voc"))
    (folder / "voc").symlink_to(project / "voc")
    return folder


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    return copy_of(project, tmp_path / "copy")


@pytest.fixture(scope="module")
def client() -> Callable[[Path], Any]:
    """A client of the store in a project folder."""
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    return lambda folder: mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def tracked(project: Path, client: Callable, run_kedro: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which everything has run once more, tracked."""
    folder = copy_of(project, tmp_path_factory.mktemp("tracked") / "project")
    run_kedro(folder, tracking={"mlflow": True})
    return folder


def runs(client: Any, experiment: str = "voc_seg") -> list[Any]:
    """All runs, newest first."""
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def matching_history(client: Any, run: Any, name: str) -> dict[int, float]:
    return {point.step: point.value for point in client.get_metric_history(run.info.run_id, name)}


def last_checkpoint(folder: Path) -> dict[str, Any]:
    path = max((folder / "data/06_models/checkpoints").glob("checkpoint_epoch_*.pth"))
    return torch.load(path, weights_only=True)


def assert_same(found: Any, expected: Any, where: str = "checkpoint") -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected.keys() - TIMES:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected):
            assert_same(one, other, where)
    else:
        assert found == expected, where


def test_off_imports_nothing(copy: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it would fail
    run_kedro(copy, "training", training={"epochs": 1})
    assert not (copy / "mlflow.db").exists() and not (copy / "logs/tensorboard").exists()


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_enabled_but_not_installed_stops_before_the_first_node(
    copy: Path, name: str, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    before = (copy / "data/08_reporting/training_history.csv").stat().st_mtime_ns
    with pytest.raises(ClickException, match=rf"pip install 'voc_seg\[{name}\]'.*Nothing has run") as caught:
        run_kedro(copy, "training", tracking={name: True})
    assert f"tracking.{name} is true" in str(caught.value)
    assert (copy / "data/08_reporting/training_history.csv").stat().st_mtime_ns == before


def test_one_run_has_settings_and_tags(tracked: Path, client: Callable) -> None:
    (run,) = runs(client(tracked))
    assert run.info.status == "FINISHED"
    assert run.info.run_name.endswith("-resnet18-sample")
    parameters = run.data.params
    assert parameters["training.epochs"] == "2"
    assert parameters["training.optimizer.learning_rate"] == "0.03"
    assert parameters["augmentation.scale"] == "[0.2, 0.3]"
    assert parameters["training.early_stopping"] == "null"
    assert not [key for key in parameters if key.startswith(("sanity", "tracking"))]
    tags = run.data.tags
    assert (tags["pipelines"], tags["data"], tags["torch"]) == ("all", "sample", torch.__version__)
    assert "fp32" in tags["device"] or "bf16" in tags["device"]


def test_numbers_are_those_of_the_tables(tracked: Path, client: Callable) -> None:
    store = client(tracked)
    (run,) = runs(store)
    table = pd.read_csv(tracked / "data/08_reporting/training_history.csv").set_index("epoch")
    for name in ("train_loss", "val_miou", "learning_rate", "epoch_seconds"):
        assert matching_history(store, run, f"training/{name}") == pytest.approx(table[name].to_dict()), name
    assert run.data.metrics["training/best_val_miou"] == pytest.approx(table["val_miou"].max())
    metrics = json.loads((tracked / "data/08_reporting/metrics.json").read_text())
    for name in TRACKED_SCORES:
        assert matching_history(store, run, f"evaluation/{name}") == {0: pytest.approx(metrics[name])}, name


def test_files_are_those_of_the_run(tracked: Path, client: Callable) -> None:
    store = client(tracked)
    (run,) = runs(store)
    (folder,) = (tracked / "mlruns").glob(f"**/{run.info.run_id}/artifacts")
    assert {path.stem for path in (folder / "figures").iterdir()} == FIGURES
    for name in ("figures/training_curves.png", "figures/class_iou.png", "tables/class_scores.csv",
                 "tables/metrics.json"):  # fmt: skip
        assert (folder / name).read_bytes() == (tracked / "data/08_reporting" / Path(name).name).read_bytes(), name
    assert (folder / "model/best_model.pth").read_bytes() == (tracked / "data/06_models/best_model.pth").read_bytes()
    assert "settings.yml" in [entry.path for entry in store.list_artifacts(run.info.run_id)]


def test_training_is_the_same_to_the_bit(project: Path, tracked: Path) -> None:
    found = last_checkpoint(tracked)
    assert found["run"] == 2  # the copied folder contains an earlier training
    assert_same(found | {"run": 1}, last_checkpoint(project))


def test_a_resumed_run_is_a_new_one_with_the_whole_history(tracked: Path, client: Callable, run_kedro: Run) -> None:
    run_kedro(tracked, "training", training={"epochs": 3, "resume": True}, tracking={"mlflow": True})
    store = client(tracked)
    newest, first = runs(store)
    assert list(matching_history(store, newest, "training/train_loss")) == [1, 2, 3]
    assert list(matching_history(store, first, "training/train_loss")) == [1, 2]
    assert newest.data.tags["resumed"] == "true"
    files = {entry.path for entry in store.list_artifacts(newest.info.run_id, "model")}
    assert {"model/best_model.pth", "model/MLmodel", "model/input_example.json"} <= files


def test_a_run_that_neither_trains_nor_scores_is_not_tracked(copy: Path, client: Callable, run_kedro: Run) -> None:
    run_kedro(copy, "sanity", sanity={"epochs": 1, "pass_miou": 0}, tracking={"mlflow": True})
    assert not (copy / "mlflow.db").exists()


def test_failed_and_stopped_runs_say_so(
    tracked: Path, client: Callable, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(ClickException, match="The loss is nan"):
        patch.setattr(training, "train_step", lambda *_: float("nan"))
        run_kedro(tracked, "training", tracking={"mlflow": True})
    assert runs(client(tracked))[0].info.status == "FAILED"

    def broken_off(*_: Any) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # a notebook continues after that
        patch.setattr(training, "train_step", broken_off)
        run_kedro(tracked, "training", tracking={"mlflow": True})

    def stopped(*_: Any) -> float:
        signal.raise_signal(signal.SIGTERM)
        return 1.0

    with monkeypatch.context() as patch, pytest.raises(ClickException, match="Stopped in epoch 1"):
        patch.setattr(training, "train_step", stopped)
        run_kedro(tracked, "training", tracking={"mlflow": True})
    assert [run.info.status for run in runs(client(tracked))[:3]] == ["KILLED", "KILLED", "FAILED"]


def test_a_store_that_is_down_gives_one_warning_and_training_continues(
    copy: Path, client: Callable, run_kedro: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run_kedro(copy, "training", tracking={"mlflow": True, "uri": "http://127.0.0.1:9"})
    output = [record.getMessage() for record in caplog.records if "cannot be written to" in record.getMessage()]
    assert len(output) == 1 and output[0].startswith("MLflow")
    assert last_checkpoint(copy)["epoch"] == 2


class Failing:
    """A writer whose store is unreachable in its first calls."""

    label = "MLflow"
    view_command = ""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[int] = []
        self.calls = 0

    def log_metrics(self, group: str, points: list[tuple[int, dict[str, float]]]) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("http://me:secret@host:5000 is away")
        self.written += [epoch for epoch, _ in points]


def rows(epochs: int) -> pd.DataFrame:
    values = [{"epoch": epoch, "step": 0, "val_miou": 0.5, "is_best": False} for epoch in range(1, epochs + 1)]
    return pd.DataFrame(values)


def test_what_a_store_missed_comes_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    writer = Failing(failures=2)
    tracked = GuardedTracker(writer)
    for epoch in (1, 2, 3, 3, 4):  # three twice: a checkpoint in the middle of an epoch
        tracked.history(rows(epoch))
    assert writer.written == [1, 2, 3, 4]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "ConnectionError: http://host:5000 is away" in warning


def test_a_store_that_stays_away_is_left_alone() -> None:
    writer = Failing(failures=100)
    tracked = GuardedTracker(writer)
    for epoch in range(1, 10):
        tracked.history(rows(epoch))
    assert writer.calls == 3


def test_long_and_many_settings_fit(tracked: Path, client: Callable) -> None:
    classes = DataConfig(classes=[f"class number {number}" for number in range(200)])
    settings = {"data": classes.model_dump(mode="json"), "many": {f"key_{number}": number for number in range(150)}}
    writer = MlflowWriter(TrackingConfig(experiment="long and many"), tracked)
    facts = RunInfo("run", settings, {})
    writer.start(facts)
    writer.log_settings(facts)
    (run,) = runs(client(tracked), "long and many")
    assert len(run.data.params) == len(DataConfig.model_fields) + 150
    assert len(run.data.params["data.classes"]) == 6000
    (whole,) = (tracked / "mlruns").glob(f"**/{run.info.run_id}/artifacts/settings.yml")
    assert "class number 199" in whole.read_text()


BEGINS = """
import sys
from pathlib import Path
from voc_seg.config import TrackingConfig
from voc_seg.hooks.trackers import MlflowWriter, RunInfo

writer = MlflowWriter(TrackingConfig(), Path(sys.argv[1]))
print("ready", flush=True)
input()
writer.start(RunInfo(sys.argv[2], {}, {}))
"""


def test_runs_that_begin_together_share_a_new_store(tmp_path: Path, client: Callable) -> None:
    together = [
        subprocess.Popen(
            [sys.executable, "-c", BEGINS, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in ("a", "b", "c")
    ]
    for process in together:
        assert process.stdout.readline() == b"ready\n"
    for process in together:
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.wait(timeout=120) for process in together] == [0, 0, 0]
    assert sorted(run.info.run_name for run in runs(client(tmp_path))) == ["a", "b", "c"]


def test_settings_are_flattened_as_they_are_named_on_the_command_line() -> None:
    flattened = flatten_to_text(Parameters().model_dump(mode="json"))
    assert flattened["training.schedule.name"] == "poly"
    assert flattened["model.skips"] == "[2, 3, 4]"
    assert flattened["model.weights"] == "null"
    assert flattened["evaluation.flip"] == "false"


@pytest.mark.parametrize(("run", "ending"), [(None, "resnet18-sample"), ("lr01", "lr01-resnet18")])
def test_a_run_is_called_by_its_name(tmp_path: Path, run: str | None, ending: str) -> None:
    facts = describe(
        {"pipeline_names": ["training"], "env": None, "project_path": tmp_path},
        Pipeline([Node(lambda: None, None, "training_history")]), Parameters(run=run), "sample",
    )  # fmt: skip
    assert facts.name.partition("-")[2].partition("-")[2] == ending
    assert facts.tags.get("run") == run


def test_own_data_is_called_by_its_folder(tmp_path: Path) -> None:
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / "street_scenes" / part).mkdir(parents=True)
    (tmp_path / "street_scenes/ImageSets/Segmentation/train.txt").write_text("a\n")
    own = VOCSplitDataset("own", "train", voc_root=str(tmp_path / "street_scenes"))
    name = _data_name(DataCatalog({"train_split": own}))
    assert name == "street_scenes"
    run_params = {"pipeline_names": ["training"], "env": None, "project_path": tmp_path}
    pipeline = Pipeline([Node(lambda: None, None, "training_history")])
    facts = describe(run_params, pipeline, Parameters(), name)
    assert facts.tags["data"] == "street_scenes"
    assert facts.name.endswith("-resnet18-street_scenes")


def test_data_of_an_entry_that_the_user_has_replaced_has_no_name() -> None:
    assert _data_name(DataCatalog({})) == ""
    assert _data_name(DataCatalog({"train_split": MemoryDataset()})) == ""


def test_only_numbers_are_numbers() -> None:
    row = {"loss": 1, "miou": math.nan, "empty": None, "is_best": True, "split": "val"}
    assert numeric_values(row) == {"loss": 1.0}


def test_passwords_are_removed() -> None:
    assert redact_password("https://me:secret@host/a and http://b") == "https://host/a and http://b"


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git is installed")
    assert _commit(tmp_path) == {}
    environment = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
                   "GIT_COMMITTER_EMAIL": "a@b"}  # fmt: skip
    (tmp_path / "file").write_text("one")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, env=environment, check=True)
    commit = _commit(tmp_path)
    assert len(commit["mlflow.source.git.commit"]) == 40
    assert commit["uncommitted_changes"] == "false"
    (tmp_path / "file").write_text("two")
    assert _commit(tmp_path)["uncommitted_changes"] == "true"


def test_tensorboard_has_numbers_by_epoch_and_figures(copy: Path, run_kedro: Run) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_kedro(copy, "training", "evaluation", tracking={"tensorboard": True})
    (folder,) = (copy / "logs/tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    table = pd.read_csv(copy / "data/08_reporting/training_history.csv").set_index("epoch")
    found = {event.step: event.value for event in events.Scalars("training/val_miou")}
    assert found == pytest.approx(table["val_miou"].to_dict(), rel=1e-6)
    assert "evaluation/miou" in events.Tags()["scalars"]
    assert {f"figures/{name}" for name in FIGURES - {"class_distribution"}} == set(events.Tags()["images"])
