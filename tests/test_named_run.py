"""Named runs: their outputs are in their own folder, and commands in messages repeat the name."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click import ClickException
from kedro.config import OmegaConfigLoader
from pydantic import ValidationError

from voc_seg.config import Parameters
from voc_seg.hooks.commands import context_options
from voc_seg.hooks.log_filters import RepeatedOptions
from voc_seg.settings import CONFIG_LOADER_ARGS

SHARED = {
    "class_statistics", "class_distribution", "rejected_images", "shared_images", "runs", "runs_table", "runs_figure",
    "differences", "differences_figure", "folds_table", "folds_class_scores", "folds_figure",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=4, val=2, test=1)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("blank_figures")
def test_a_run_with_a_name_leaves_all_it_makes_in_its_folder(
    project: Path, run_kedro: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = files(project / "data")
    once = {"run": "lr03", "training": {"epochs": 1}}
    with caplog.at_level(logging.INFO):
        for name in ("training", "evaluation"):
            run_kedro(project, name, **once)
    output = "\n".join(caplog.messages)
    assert "data/runs/lr03/06_models: best_model.pth, checkpoints/" in output
    assert re.search("Next: kedro run --pipelines evaluation --params .*run=lr03", output)
    last = output.splitlines()[-1]
    assert re.search(r"data/runs/lr03/08_reporting/report\.html\. Next: kedro viz run --params .*run=lr03", last)
    made = files(project / "data") - prepared
    assert {name.split("/")[2] for name in made} == {"06_models", "07_model_output", "08_reporting"}
    assert all(name.startswith("runs/lr03/") for name in made)
    # Resumed from its own checkpoint, beside its own best model.
    run_kedro(project, "training", run="lr03", training={"epochs": 2, "resume": True})
    assert "runs/lr03/06_models/checkpoints/checkpoint_epoch_0002.pth" in files(project / "data")


def test_what_a_run_with_a_name_lacks_is_made_under_that_name(project: Path, run_kedro: Callable) -> None:
    with pytest.raises(ClickException, match=r"best_model, made by: kedro run --pipelines training .*run=other"):
        run_kedro(project, "evaluation", run="other")


def test_every_output_of_a_run_follows_its_name() -> None:
    conf = str(Path(__file__).parents[1] / "conf")
    plain, named = (
        OmegaConfigLoader(conf, runtime_params=given, **CONFIG_LOADER_ARGS)["catalog"] for given in ({}, {"run": "a"})
    )
    for name, entry in plain.items():
        folder, _, path = entry.get("filepath", "").partition("/")
        if path[:2] in ("06", "07", "08") and name not in SHARED:
            assert named[name]["filepath"] == f"{folder}/runs/a/{path}"
        else:
            assert named[name] == entry, name
    assert named["resume_checkpoint"]["best_model"]["filepath"] == named["best_model"]["filepath"]


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "ends.", "two words", "", "nul", "x" * 101, "é"])
def test_a_name_that_is_no_safe_folder_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="a run's name is also a folder name"):
        Parameters(run=name)


@pytest.mark.parametrize("name", [7, 1000.0, True, {"name": "a"}])
def test_a_name_that_yaml_takes_for_something_else_is_refused(name: object) -> None:
    with pytest.raises(ValidationError, match="start the name with a letter"):
        Parameters(run=name)


@pytest.mark.parametrize("name", ["lr03", "learning_rate-0.01_skips-2-3-4", "2024-05-01", "A", None])
def test_ordinary_names_are_taken(name: str | None) -> None:
    assert Parameters(run=name).run == name


def test_a_name_in_a_parameters_file_is_not_ignored(
    tmp_path: Path, make_project: Callable, run_kedro: Callable
) -> None:
    project = make_project(tmp_path / "project")
    (project / "conf/local/parameters.yml").write_text("run: lr03\n")
    with pytest.raises(ClickException, match="run in a parameters file has no effect: use --params"):
        run_kedro(project, "training")


@pytest.mark.parametrize(
    ("message", "completed"),
    [
        ("make it again with: kedro run --pipelines training", "kedro run --pipelines training{}"),
        ("`kedro run --pipelines evaluation,export` adds", "kedro run --pipelines evaluation,export{}`"),
        ("kedro run --pipelines inference --params inference.images=P", "inference{},inference.images=P"),
        (
            "Go on: kedro run --pipelines training --params epochs=3,run=b",
            "training --env voc2012 --params epochs=3,run=b",
        ),
        (
            "kedro run --pipelines data_processing --params data.shard_images=2",
            "processing --env voc2012 --params data",
        ),
        ("100 % done", "100 % done"),
    ],
)
def test_commands_in_messages_are_completed(message: str, completed: str) -> None:
    given = {"env": "voc2012", "runtime_params": {"run": "a"}}
    options = context_options(given)
    assert options == " --env voc2012 --params run=a"
    repeated = RepeatedOptions()
    repeated.given = given
    record = logging.LogRecord("x", logging.INFO, "", 0, message, None, None)
    assert repeated.filter(record)
    assert completed.format(options) in record.getMessage()


def test_commands_repeat_where_the_data_is_and_how_it_is_read() -> None:
    data = {"voc_root": "/my pictures", "data": {"values": {255: "void"}, "exif": "apply"}}
    given = {"env": None, "runtime_params": {**data, "run": "a", "training": {"epochs": 3}}}
    options_given = "'voc_root=/my pictures,data.values.255=void,data.exif=apply"
    assert context_options(given, "data_processing") == f" --params {options_given}'"
    assert context_options(given, "evaluation") == f" --params {options_given},run=a'"
    repeated = RepeatedOptions()
    repeated.given = given
    for message, completed in (
        ("Go on: kedro run --pipelines evaluation", f"evaluation --params {options_given},run=a'"),
        ("Go on: kedro run --pipelines training --params x=1,training.resume=true", "training --params x=1,training"),
    ):
        record = logging.LogRecord("x", logging.INFO, "", 0, message, None, None)
        assert repeated.filter(record)
        assert completed in record.getMessage()


def test_an_empty_name_is_refused(project: Path, run_kedro: Callable) -> None:
    with pytest.raises(ClickException, match="run is empty; nothing has run"):
        run_kedro(project, "training", run="")
