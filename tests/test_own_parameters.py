"""Parameters and pipelines that users add are accepted; misspelt settings are refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from pydantic import ValidationError

from voc_seg.config import Parameters, TrainingConfig, flattened
from voc_seg.config.user_keys import unread_warnings
from voc_seg.hooks.setting_errors import describe_validation_errors
from voc_seg.scenes.sample import write_scenes
from voc_seg.system.errors import VocSegError

ROOT = Path(__file__).parents[1]
_NODES = """
from pydantic import BaseModel


class Mine(BaseModel):
    threshold: float


def count(index, mine: Mine, training: dict, learning_rate: float) -> dict:
    types = [type(value).__name__ for value in (mine, training, learning_rate)]
    return {"images": len(index), "types": types}
"""
_PIPELINE = """
from kedro.pipeline import Node, Pipeline

from .nodes import count


def create_pipeline(**kwargs):
    inputs = ["train_index", "params:mine", "params:training", "params:training.optimizer.learning_rate"]
    return Pipeline([Node(func=count, inputs=inputs, outputs="counts", name="count")])
"""
_CATALOG = "counts: {type: json.JSONDataset, filepath: data/counts.json}\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mine", {"threshold": 0.5}),
        ("limit", 3),
        ("mode", "fast"),
        ("date", "2026-01-01"),
        ("speed", 3),
        ("dataset", {"path": "x"}),
        ("model_zoo", {"encoder": "vit"}),
        ("my_training", {"epochs": 3}),
        ("model_b", {"encoder": "resnet34"}),
        ("tracks", {"uri": "x"}),
        ("models", {"teacher": "a", "student": "b"}),
        ("run_name", "a"),
        ("train", {"when": "at night"}),
        (3, "three"),
    ],
)
def test_user_keys_are_accepted(key: Any, value: Any) -> None:
    assert Parameters.of({"seed": 3, key: value}) == Parameters(seed=3)


@pytest.mark.parametrize(
    ("key", "value", "intended"),
    [
        ("sede", 3, "seed"),
        ("seeds", 3, "seed"),
        ("Seed", 3, "seed"),
        ("rnu", "a", "run"),
        ("runs", "a", "run"),
        ("voc-root", "a", "voc_root"),
        ("vocroot", "a", "voc_root"),
        ("trainin", {"epochs": 2}, "training"),
        ("trainig", {"epoch": 2}, "training"),
        ("Training", {}, "training"),
        ("train", {"epochs": 2}, "training"),
        ("eval", {"scale": 1}, "evaluation"),
        ("aug", {"flip": 0}, "augmentation"),
        ("agumentatoin", {"flips": 0}, "augmentation"),
        ("modle", {"encoder": "resnet18"}, "model"),
        ("models", {"encoder": "resnet18"}, "model"),
        ("date", {"classes": ["a", "b"]}, "data"),
        ("runtme", {"devise": "cpu"}, "runtime"),
    ],
)
def test_misspelt_settings_are_refused_with_the_intended_key(key: str, value: Any, intended: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Parameters.of({key: value})
    assert f"{key}: unknown key" in describe_validation_errors(caught.value)
    assert f"did you mean {intended}?" in describe_validation_errors(caught.value)


def test_a_setting_outside_its_block_gives_a_warning() -> None:
    with pytest.raises(VocSegError, match=r"Did you mean training\.epochs or sanity\.epochs\?"):
        unread_warnings({"epochs": 3}, {"epochs": 3}, set(), Parameters)
    (in_a_file,) = unread_warnings({"epochs": 3, "limit": 3}, {}, set(), Parameters)
    assert "training.epochs or sanity.epochs is. Check its indentation." in in_a_file
    (given,) = unread_warnings({"limit": 3}, {"limit": 3}, set(), Parameters)
    assert "--params limit" in given
    assert unread_warnings({"epochs": 3, "limit": 3}, {"epochs": 3, "limit": 3}, {"epochs", "limit"}, Parameters) == []


def test_blocks_are_flattened_as_their_mappings_are() -> None:
    typed, plain = TrainingConfig(), TrainingConfig().model_dump()
    assert dict(flattened({"training": typed})) == dict(flattened({"training": plain}))


@pytest.fixture
def project(make_project: Callable[[Path], Path], tmp_path: Path) -> Path:
    folder = make_project(tmp_path / "project")
    (folder / "conf/local/parameters.yml").write_text("mine: {threshold: 0.5}\n")
    return folder


def test_a_context_opens_with_parameters_of_the_user(project: Path) -> None:
    bootstrap_project(project)
    with KedroSession.create(project) as session:
        context = session.load_context()
        assert context.params["mine"] == {"threshold": 0.5}
        assert context.catalog.load("params:mine.threshold") == 0.5


@pytest.mark.parametrize("names", [["data_processing"], ["training"], None])
def test_a_block_has_one_type_whichever_pipelines_run(project: Path, names: list[str] | None) -> None:
    bootstrap_project(project)
    pipelines.set_requested(names)
    with KedroSession.create(project) as session:
        context = session.load_context()
        context._pipelines_to_validate = names
        assert isinstance(context.params["training"], TrainingConfig)
        assert context.catalog.load("params:training.optimizer.learning_rate") == 0.03


def test_a_pipeline_of_the_user_runs_beside_ours(prepare_project: Callable[..., Path], tmp_path: Path) -> None:
    project = prepare_project(train=3, val=2, test=1)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    mine = tmp_path / "src/voc_seg/pipelines/mine"
    mine.mkdir()
    (mine / "__init__.py").write_text("from .pipeline import create_pipeline\n")
    (mine / "nodes.py").write_text(_NODES)
    (mine / "pipeline.py").write_text(_PIPELINE)
    (project / "conf/base/catalog_mine.yml").write_text(_CATALOG)
    (project / "conf/base/parameters_mine.yml").write_text("mine: {threshold: 0.5}\n")
    command = [sys.executable, "-m", "voc_seg", "--params", f"voc_root={project / 'voc'}", "--pipelines"]
    done = subprocess.run(
        [*command, "data_processing,mine"], cwd=project, env=os.environ | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    counts = json.loads((project / "data/counts.json").read_text())
    assert counts == {"images": 3, "types": ["Mine", "TrainingConfig", "float"]}


def test_an_input_that_no_pipeline_makes_is_named(project: Path) -> None:
    from kedro.io import DataCatalog
    from kedro.pipeline import Node, Pipeline

    from voc_seg.hooks.validation import require_inputs

    pipeline = Pipeline([Node(lambda table: None, "elsewhere", None, name="mine")])
    with pytest.raises(
        ClickException, match=r"elsewhere, which no pipeline produces and which is in no catalog\*\.yml"
    ):
        require_inputs({"env": None, "runtime_params": None}, pipeline, DataCatalog())


def test_outputs_of_the_users_own_nodes_that_would_be_lost_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from kedro.io import DataCatalog, MemoryDataset
    from kedro.pipeline import Node, Pipeline

    from voc_seg.hooks import validation

    def node(module: str, given: str | None, *made: str) -> Node:
        function = lambda *_: None  # noqa: E731 - each has a module of its own
        function.__module__ = module
        return Node(function, given, list(made), name=f"{module}_{given}")

    modules = {"training": "voc_seg.pipelines.training", "added": "voc_seg.pipelines.added", "mine": "trees.mine"}
    monkeypatch.setattr(validation, "pipeline_modules", lambda: modules)
    pipeline = Pipeline(
        [
            node("voc_seg.pipelines.training.nodes", None, "ours"),
            node("voc_seg.pipelines.added.nodes", "ours", "passed_on", "kept"),
            node("trees.mine.nodes", "passed_on", "scores", "figure"),
        ]
    )
    validation._warn_lost_outputs(pipeline, DataCatalog({"kept": MemoryDataset(), "figure": MemoryDataset()}))
    mine, ours = (record.getMessage() for record in caplog.records)
    assert mine.startswith("No catalog*.yml has an entry for scores, and no node reads it, so it is lost.")
    assert ours.startswith("No catalog*.yml has an entry for ours, so no file is written.")


@pytest.mark.usefixtures("blank_figures")
def test_an_output_without_a_catalog_entry_is_named(
    project: Path, run_kedro: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(project / "voc", {"train": 1, "val": 1, "test": 1})
    (project / "conf/local/parameters.yml").unlink()
    path = project / "conf/base/catalog_data_processing.yml"
    text = path.read_text()
    path.write_text(text[: text.index("class_distribution:")])  # the last entry
    run_kedro(project, "data_processing")
    said = [record.getMessage() for record in caplog.records if "No catalog*.yml" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("No catalog*.yml has an entry for class_distribution, so no file is written.")
