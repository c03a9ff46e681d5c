"""Commands that messages suggest, and how --params is read."""

import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kedro.framework.project import configure_project, pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from voc_seg.cli import run as command
from voc_seg.config.overrides import split_params
from voc_seg.datasets import CheckpointsDataset
from voc_seg.hooks.commands import Launch, context_options, launch_from_context, resume_command
from voc_seg.hooks.console import ConsoleHooks
from voc_seg.hooks.log_filters import RepeatedOptions
from voc_seg.hooks.multiprocess import RankSession
from voc_seg.pipelines.data_processing.pipeline import create_pipeline as create_data_processing
from voc_seg.sweep.grid import parse_grid, parse_params
from voc_seg.system.errors import InterruptedRunError

RUN = {"env": None, "runtime_params": None, "pipeline_names": ["evaluation"]}


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a=1,b=2", ["a=1", "b=2"]),
        ("a=[2,3],b=2", ["a=[2,3]", "b=2"]),
        ("a=2 3,b=[[1,2],3]", ["a=2 3", "b=[[1,2],3]"]),
        ("a={1: x, 2: y},b='c,d'", ["a={1: x, 2: y}", "b='c,d'"]),
        ("a=Tom's,b=it's", ["a=Tom's", "b=it's"]),
        ("a=x[1,b=2", ["a=x[1", "b=2"]),
        ("a=[1,b=2", ["a=[1", "b=2"]),
        ("a='1,b=2", ["a='1", "b=2"]),
        ("", [""]),
    ],
)
def test_params_are_split_outside_of_lists_and_quotes(text: str, items: list[str]) -> None:
    assert split_params(text) == items


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("model.skips=[2,3],seed=1", {"model": {"skips": [2, 3]}, "seed": 1}),
        ("model.skips=2 3,seed=1", {"model": {"skips": "2 3"}, "seed": 1}),
        ("inference.images='a,b.jpg'", {"inference": {"images": "a,b.jpg"}}),
    ],
)
def test_lists_and_commas_on_the_command_line(monkeypatch: pytest.MonkeyPatch, text: str, value: Any) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "callback", lambda **options: given.append(options["params"]))
    done = CliRunner().invoke(command, ["--params", text])
    assert done.exit_code == 0, done.output
    assert given == [value]


def test_lists_in_a_sweep() -> None:
    assert parse_grid(["model.skips=[2,3],[1]"]) == {"model.skips": ("[2,3]", "[1]")}
    assert parse_params("model.skips=[2,3],seed=1") == {"model.skips": "[2,3]", "seed": "1"}


def test_a_config_file_keeps_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "callback", lambda **options: given.append(options))
    (tmp_path / "run.yml").write_text("run: {params: {inference: {images: 'a,b'}}}\n")
    done = CliRunner().invoke(command, ["--config", str(tmp_path / "run.yml")])
    assert done.exit_code == 0, done.output
    assert (given[0]["config"], given[0]["params"]) == (str(tmp_path / "run.yml"), {"inference": {"images": "a,b"}})


def test_commands_repeat_how_the_run_was_started() -> None:
    launch = Launch("voc-seg", "conf.tar.gz", "my run.yml", runner="ThreadRunner")
    run = RUN | {"env": "voc2012", "runtime_params": {"run": "a"}, "launch": launch}
    given = " --env voc2012 --conf-source conf.tar.gz --config 'my run.yml'"
    assert context_options(run, "training") == f"{given} --params run=a"
    assert context_options(run, "evaluation") == f"{given} --runner ThreadRunner --params run=a"
    assert resume_command(run, resume=False).startswith(f"voc-seg --pipelines evaluation{given} --runner ThreadRunner")
    # --params would replace the parameters in the file.
    assert context_options(run | {"launch": Launch(config="a.yml", config_has_params=True)}) == (
        " --env voc2012 --config a.yml"
    )


def test_a_record_is_completed_once_however_many_handlers_it_passes() -> None:
    options = RepeatedOptions()
    options.given = {"env": None, "runtime_params": {"data.classes": ["background", "cat"], "run": "m3"}}
    record = logging.LogRecord("", logging.ERROR, "", 0, "kedro run --pipelines data_processing", None, None)
    assert options.filter(record) and options.filter(record)
    assert record.getMessage() == "kedro run --pipelines data_processing --params 'data.classes=background cat'"


def test_commands_in_messages_are_completed_once() -> None:
    repeated = RepeatedOptions()
    repeated.given = RUN | {"launch": Launch("voc-seg", "conf.tar.gz")}
    record = logging.LogRecord("x", logging.INFO, "", 0, "made by: kedro run --pipelines training", None, None)
    for _ in range(3):  # a handler each
        assert repeated.filter(record)
    assert record.getMessage() == "made by: voc-seg --pipelines training --conf-source conf.tar.gz"


def test_values_with_commas_can_be_typed_again() -> None:
    run = RUN | {"runtime_params": {"inference": {"images": "Tom's, b"}, "model": {"skips": [2, 3]}}}
    (argument,) = shlex.split(resume_command(run, resume=False))[-1:]
    assert split_params(argument) == ["inference.images='Tom''s, b'", "model.skips=2 3"]


def test_a_project_that_is_installed_as_a_package_is_known(make_project: Callable, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    bootstrap_project(project)
    with RankSession.create(project) as session:
        assert launch_from_context(session.load_context()) == Launch()
    (tmp_path / "elsewhere").mkdir()
    with RankSession.create(tmp_path / "elsewhere", conf_source=str(project / "conf")) as session:
        assert launch_from_context(session.load_context()) == Launch("voc-seg", str(project / "conf"))


class TestFailure:
    """What a failed run says about resuming."""

    @staticmethod
    def messages_after(
        capsys: pytest.CaptureFixture, error: Exception, run: dict[str, Any] | None = None, folder: Path | None = None
    ) -> str:
        configure_project("voc_seg")
        pipeline = pipelines["training"]
        names = {"train_samples", "training_history", "training_curves", "best_model", "checkpoints"}
        names |= {"augmented_samples"}
        catalog = DataCatalog({name: MemoryDataset() for name in names})
        for name in names:
            catalog.get(name)._EPHEMERAL = False
        if folder:
            catalog["checkpoints"] = CheckpointsDataset(filepath=str(folder))
        hooks = ConsoleHooks()
        hooks.before_pipeline_run(RUN, pipeline, catalog)
        augmented, train, draw = (
            next(node for node in pipeline.nodes if node.name == name)
            for name in ("draw_augmented", "train", "draw_history")
        )
        hooks.before_dataset_loaded(augmented)
        hooks.after_dataset_saved("augmented_samples")
        hooks.before_dataset_loaded(train)
        for name in ("best_model", "training_history", "checkpoints"):
            hooks.after_dataset_saved(name)
        if run is None:
            hooks.before_dataset_loaded(draw)
        hooks.log_how_to_resume(error, RUN | {"pipeline_names": ["training"]}, pipeline, catalog)
        return capsys.readouterr().err

    def test_the_node_that_failed(self, capsys: pytest.CaptureFixture) -> None:
        messages = self.messages_after(capsys, RuntimeError("a"))
        assert "kedro run --pipelines training --from-nodes draw_history\n" in messages

    def test_training_resumes_from_its_checkpoints(self, capsys: pytest.CaptureFixture) -> None:
        messages = self.messages_after(capsys, RuntimeError("a"), {})
        assert "kedro run --pipelines training --from-nodes train --params training.resume=true\n" in messages

    @pytest.mark.parametrize(("age", "resumes"), [(0, True), (60, False), (None, False)])
    def test_training_resumes_only_from_a_checkpoint_that_it_has_written(
        self, capsys: pytest.CaptureFixture, tmp_path: Path, age: int | None, resumes: bool
    ) -> None:
        """One written in the background may have failed, and an older one is of another run."""
        if age is not None:
            path = tmp_path / "checkpoint_mid_epoch.pth"
            path.touch()
            os.utime(path, (path.stat().st_mtime - age,) * 2)
        messages = self.messages_after(capsys, RuntimeError("a"), {}, tmp_path)
        assert "kedro run --pipelines training --from-nodes train" in messages
        assert ("training.resume=true" in messages) == resumes

    def test_data_processing_starts_over(self, capsys: pytest.CaptureFixture) -> None:
        """Earlier nodes have read files or settings that the user fixes before running again."""
        hooks = ConsoleHooks()
        pipeline = create_data_processing()
        hooks.before_dataset_loaded(next(node for node in pipeline.nodes if node.name == "describe_classes"))
        hooks.log_how_to_resume(RuntimeError("a"), RUN | {"pipeline_names": ["x"]}, pipeline, DataCatalog())
        assert "kedro run --pipelines x\n" in capsys.readouterr().err

    def test_an_interrupted_run_shows_its_command_once(self, capsys: pytest.CaptureFixture) -> None:
        assert "--from-nodes" not in self.messages_after(capsys, InterruptedRunError("a", 15))

    def test_no_command_after_a_failed_check(self, capsys: pytest.CaptureFixture) -> None:
        hooks = ConsoleHooks()
        check = Node(lambda metrics: None, "metrics", None, name="judge")
        hooks.before_dataset_loaded(check)
        hooks.log_how_to_resume(RuntimeError("a"), RUN, Pipeline([check]), DataCatalog())
        assert "--from-nodes" not in capsys.readouterr().err
