"""Messages of a run."""

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner
from kedro_viz.launchers.cli.main import viz as viz_commands
from kedro_viz.launchers.cli.run import run as viz_run

from voc_seg.hooks.commands import NEXT_COMMAND
from voc_seg.hooks.log_filters import RelativePaths, RepeatedOptions
from voc_seg.scenes.sample import write_scenes

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable) -> Path:
    folder = make_project(tmp_path_factory.mktemp("project"))
    write_scenes(folder / "voc", {"train": 4, "val": 2, "test": 1})
    return folder


@pytest.fixture
def run_messages(project: Path, run_kedro: Callable, caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Run pipelines and return their messages."""

    def run(*names: str, **parameters: object) -> str:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            run_kedro(project, *names, **parameters)
        return "\n".join(caplog.messages).replace(f"{project.as_posix()}/", "")

    return run


def test_a_run_says_what_it_wrote_where_and_what_comes_next(run_messages: Callable) -> None:
    text = run_messages("data_processing")
    assert "data/02_intermediate: test_index.parquet, train_index.parquet, val_index.parquet" in text
    assert "data/05_model_input: test_samples.arrow, train_samples.arrow, val_samples.arrow" in text
    assert "Next: kedro run --pipelines sanity" in text.splitlines()[-1]
    assert "Running node" not in text


@pytest.mark.usefixtures("blank_figures")
def test_the_command_after_lr_finder_without_a_suggestion_keeps_the_settings(
    run_messages: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_messages("data_processing")
    monkeypatch.setattr("voc_seg.engine.lr_finder.train_step", lambda *given: 1.0)
    *_, last = run_messages("lr_finder", lr_finder={"steps": 20}, training={"batch_size": 2}).splitlines()
    assert "Next: kedro run --pipelines training --params " in last
    assert "training.batch_size=2" in last
    assert "lr_finder.steps" not in last and "learning_rate" not in last


@pytest.mark.usefixtures("blank_figures")
def test_the_command_after_lr_finder_has_its_suggestion(
    run_messages: Callable, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_messages("data_processing")
    losses = iter([3.0] * 6 + [1.0] * 8 + [9.0] * 6)
    monkeypatch.setattr("voc_seg.engine.lr_finder.train_step", lambda *given: next(losses))
    optimizer = {"name": "adamw", "learning_rate": 0.5}
    text = run_messages("lr_finder", lr_finder={"steps": 20}, training={"optimizer": optimizer})
    reporting = project / "data/08_reporting"
    rate = json.loads((reporting / "lr_finder.json").read_text())["learning_rate"]
    assert rate
    *_, last = text.splitlines()
    assert "Next: kedro run --pipelines training --params " in last
    assert f"training.optimizer.name=adamw,training.optimizer.learning_rate={rate}" in last
    assert "lr_finder.steps" not in last
    assert (reporting / "lr_finder.csv").exists()
    assert (reporting / "lr_finder.png").exists()
    assert not list((project / "data/06_models").glob("**/*.pth"))


def test_the_next_command_takes_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viz_run, "callback", lambda **options: None)  # else a server starts
    (viz,) = {line for line in NEXT_COMMAND.values() if line.startswith("kedro viz")}
    done = CliRunner().invoke(viz_commands, [*viz.split()[2:], "--env", "voc2012"])
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("blank_figures")
def test_what_is_left_as_it_was_is_not_called_written(run_messages: Callable, project: Path) -> None:
    for path in (project / "data/05_model_input").glob("*.arrow"):
        a_minute_ago = path.stat().st_mtime - 60
        os.utime(path, (a_minute_ago, a_minute_ago))
    assert "05_model_input:" not in run_messages("data_processing")


@pytest.mark.usefixtures("blank_figures")
def test_a_run_says_how_many_warnings_it_gave(run_messages: Callable, caplog: pytest.LogCaptureFixture) -> None:
    run_messages("data_processing")
    warnings = sum(record.levelname == "WARNING" for record in caplog.records)
    assert warnings > 1  # about classes that so few images lack
    assert re.search(rf"^Done in .* with {warnings} warnings\. Next: ", caplog.messages[-1])


def test_the_error_comes_before_how_to_resume(
    project: Path, run_messages: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ClickException):
        run_messages("data_processing", voc_root=str(project / "nowhere"))
    (error,) = [number for number, record in enumerate(caplog.records) if record.levelname == "ERROR"]
    assert caplog.messages[error + 1].endswith(" failed. To resume once you have fixed the cause:")


@pytest.mark.usefixtures("blank_figures")
def test_training_from_scratch_says_what_it_replaces(run_messages: Callable) -> None:
    once = {"training": {"epochs": 1}}
    text = run_messages("training", **once)
    assert "Training starts" not in text
    assert "data/06_models: best_model.pth, checkpoints/" in text
    assert "Training starts from scratch and replaces the model of" in run_messages("training", **once)
    assert "Training starts" not in run_messages("training", training={"epochs": 1, "resume": True})


@pytest.mark.usefixtures("blank_figures")
def test_training_from_the_model_that_it_replaces(run_messages: Callable, project: Path) -> None:
    run_messages("training", training={"epochs": 1})
    model = str(project / "data/06_models/best_model.pth")
    text = run_messages("training", training={"epochs": 1}, model={"weights": model})
    assert "best_model.pth and replaces it. To keep both, give this run a name" in text
    assert "a model of voc_seg, trained on sample" in text
    assert "background, aeroplane, bicycle" in text


@pytest.mark.usefixtures("blank_figures")
def test_checkpoints_of_an_interrupted_training_are_replaced_with_a_word(run_messages: Callable, project: Path) -> None:
    run_messages("training", training={"epochs": 1})
    model = project / "data/06_models/best_model.pth"
    model.rename(model.with_suffix(".kept"))
    again = run_messages("training", training={"epochs": 1})
    assert "replaces the checkpoints of a training that was interrupted. To resume" in again


@pytest.mark.usefixtures("blank_figures")
def test_a_score_on_val_that_also_chose_the_epoch_names_the_test_split(run_messages: Callable, project: Path) -> None:
    run_messages("data_processing", "training")
    said = "val has also chosen the epoch, so its score is optimistic. For the final score, on the 1 test image, type:"
    text = run_messages("evaluation")
    assert f"{said} kedro run --pipelines evaluation" in text and "evaluation.split=test" in text
    assert said not in run_messages("evaluation", evaluation={"split": "test"})
    run_messages("training", training={"select": "last"})
    assert said not in run_messages("evaluation")


def test_commands_that_name_a_run_get_the_environment() -> None:
    commands = RepeatedOptions()
    commands.given = {"env": "cats", "runtime_params": {"run": "a", "voc_root": "x"}}
    text = "Score it with: kedro run --pipelines evaluation --params run=b\nkedro run --pipelines training --env dogs"
    record = logging.LogRecord("x", logging.INFO, "", 0, text, (), None)
    assert commands.filter(record)
    assert record.getMessage() == text.replace("evaluation", "evaluation --env cats")


def test_a_message_that_does_not_fit_and_other_paths_are_left_alone() -> None:
    names = RelativePaths(Path("/app"))
    wrong = logging.LogRecord("x", logging.INFO, "", 0, "%d pictures", ("three",), None)
    commands = RepeatedOptions()
    commands.given = {"env": "voc2012", "runtime_params": None}
    assert names.filter(wrong)
    assert commands.filter(wrong)
    assert wrong.args == ("three",)
    other = logging.LogRecord("x", logging.INFO, "", 0, "/mnt/app/a.jpg and /app/b.jpg", (), None)
    assert names.filter(other)
    assert other.getMessage() == "/mnt/app/a.jpg and b.jpg"


def test_paths_of_the_project_are_shortened() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s and %s, 100 %%", ("/home/me/voc/data/a", "/data/b"), None)
    assert RelativePaths(Path("/home/me/voc")).filter(record)
    assert record.getMessage() == "data/a and /data/b, 100 %"
