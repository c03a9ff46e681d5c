"""Options of kedro run: each works, or the run is refused with one line before anything runs."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click import ClickException
from click.testing import CliRunner
from kedro.framework.project import configure_project, pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, ParallelRunner, SequentialRunner, ThreadRunner

from voc_seg.datasets import CheckpointsDataset, EarlierTableDataset, OptionalJSONDataset
from voc_seg.hooks.kedro_internals import pipeline_to_run
from voc_seg.hooks.multiprocess import RankSession
from voc_seg.hooks.run_options import (
    require_known_runner,
    require_room_for_versions,
    require_runner,
    require_versionable,
    require_versions,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path]) -> Path:
    return prepare_project(train=3, val=2, test=1)


@pytest.fixture
def run(project: Path) -> Callable[..., Any]:
    def run(*names: str, env: str | None = None, conf_source: str | None = None, **options: Any) -> None:
        bootstrap_project(project)
        given = {"voc_root": str(project / "voc")}
        with RankSession.create(project, env=env, runtime_params=given, conf_source=conf_source) as session:
            session.run(pipeline_names=list(names), **options)

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"node_names": ["index_trian"]}, r"--nodes index_trian: .* Did you mean index_train"),
        ({"node_names": ["index_train", "train"]}, r"--nodes train: there is no such node in data_processing"),
        ({"from_nodes": ["x"]}, r"--from-nodes x: .* There are: describe_classes, index_test"),
        ({"to_nodes": ["pack"]}, r"--to-nodes pack: "),
        ({"tags": ("nothing",)}, r"--tags nothing: there is no such tag in data_processing\. Nothing has run"),
        ({"from_inputs": ["train_splt"]}, r"--from-inputs train_splt: .* Did you mean train_split"),
        ({"to_outputs": ["train_split"]}, r"--to-outputs train_split: there is no such dataset"),
        ({"namespaces": ["mine"]}, r"--namespaces mine: "),
        (
            {"from_nodes": ["pack_val"], "to_nodes": ["index_val"]},
            r"No node is selected by --from-nodes pack_val, --to",
        ),
        ({"load_versions": {"metrisc": "a"}}, r"\[metrisc\] are not found in the catalog"),
        ({"load_versions": {"metrics": "a"}}, r"--load-versions metrics: this entry has no versions"),
    ],
)
def test_a_slip_in_a_selection_is_one_line(run: Callable, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClickException, match=message) as caught:
        run("data_processing", **options)
    assert "Nothing has run." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_selected_runs(run: Callable, project: Path) -> None:
    index = project / "data/02_intermediate/val_index.parquet"
    index.unlink()
    run("data_processing", node_names=["index_val"])
    assert index.is_file()


@pytest.mark.parametrize(
    ("runner", "name", "message"),
    [
        (ParallelRunner, "evaluation", "ParallelRunner cannot be used"),
        (lambda: SequentialRunner(is_async=True), "export", "--async cannot be used"),
        (ThreadRunner, "training", "ThreadRunner cannot train"),
        (ThreadRunner, "evaluation", None),
        (SequentialRunner, "training", None),
    ],
)
def test_runners_that_do_not_suit_are_refused(
    runner: Callable[[], AbstractRunner], name: str, message: str | None
) -> None:
    configure_project("voc_seg")
    if message is None:
        require_runner(runner(), pipelines[name])
        return
    with pytest.raises(ClickException, match=message):
        require_runner(runner(), pipelines[name])
    require_runner(runner(), Pipeline([Node(len, "a", "b", name="mine")]))  # nodes of the user are not checked


def test_the_runner_is_looked_at_before_data_is_made(run: Callable, project: Path) -> None:
    index = project / "data/02_intermediate/val_index.parquet"
    written = index.stat().st_mtime_ns
    with pytest.raises(ClickException, match="ThreadRunner cannot train"):
        run("data_processing", "training", runner=ThreadRunner())
    assert index.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("runner", "params", "message"),
    [
        ("ThreadRuner", {}, "--runner ThreadRuner: there is no such runner. Did you mean ThreadRunner"),
        ("a.b.C", {}, "--runner a.b.C: there is no such runner. There are: ParallelRunner"),
        ("pathlib.Path", {}, "--runner pathlib.Path is not a runner"),
        ("ThreadRunner", {"max_workers": 0}, "max_workers=0: use a whole number of at least 1"),
        (None, {"max_workers": 2}, "--runner-params max_workers: SequentialRunner has no such parameter"),
    ],
)
def test_unknown_runners_and_parameters_are_refused(runner: str | None, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ClickException) as caught:
        require_known_runner(runner, params)
    assert message in str(caught.value)


def test_an_unknown_runner_gives_no_traceback(project: Path) -> None:
    from voc_seg.cli import run as command

    bootstrap_project(project)
    done = CliRunner().invoke(command, ["--runner", "ThreadRuner"])
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)


def test_a_version_without_a_name_is_one_line(project: Path) -> None:
    from voc_seg.cli import run as command

    bootstrap_project(project)
    for given, message in (("metrics", "found metrics instead"), ("metrics:..", "'..' is not allowed")):
        done = CliRunner().invoke(command, ["--load-versions", given])
        assert done.exit_code == 2
        assert message in " ".join(done.output.split())


def test_only_missing_outputs_are_made(run: Callable, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = project / "data/05_model_input/val_samples.arrow"
    store.unlink()
    with caplog.at_level(logging.INFO):
        run("data_processing", only_missing_outputs=True)
    assert store.is_file()
    (skipped,) = [record for record in caplog.records if record.getMessage().startswith("Skipped")]
    assert skipped.levelname == "WARNING"
    assert "pack_train" in skipped.getMessage()
    assert "pack_val" not in skipped.getMessage()
    assert "keeps files whatever data and settings they were made with. To rebuild all outputs" in skipped.getMessage()


def test_a_training_that_does_not_run_needs_no_input_and_replaces_nothing(
    run: Callable, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = [
        project / "data" / name
        for name in ("06_models/best_model.pth", "06_models/checkpoints/checkpoint_epoch_0001.pth",
                     "08_reporting/training_history.csv", "08_reporting/training_curves.png",
                     "08_reporting/augmented_samples.png")
    ]  # fmt: skip
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    store = project / "data/05_model_input/train_samples.arrow"
    store.rename(store.with_suffix(".away"))
    try:
        with caplog.at_level(logging.INFO):
            run("training", only_missing_outputs=True)
    finally:
        store.with_suffix(".away").rename(store)
        shutil.rmtree(project / "data/06_models")
    assert "Training starts" not in caplog.text
    assert "Skipped, because their outputs exist: draw_augmented, train, draw_history" in caplog.text


def test_optional_entries_do_not_claim_to_exist(tmp_path: Path) -> None:
    metrics = OptionalJSONDataset(filepath=str(tmp_path / "metrics.json"))
    checkpoints = CheckpointsDataset(filepath=str(tmp_path))
    table = EarlierTableDataset(filepath=str(tmp_path / "a.csv"))
    assert not any(dataset.exists() for dataset in (metrics, checkpoints, table))
    catalog = DataCatalog({"metrics": metrics, "checkpoints": checkpoints})
    pipeline = Pipeline([Node(lambda: ({}, {}), None, ["metrics", "checkpoints"], name="make")])
    assert len(pipeline_to_run(pipeline, catalog, {"only_missing_outputs": True}).nodes) == 1
    metrics.save({})
    (tmp_path / "checkpoint_epoch_0001.pth").touch()
    assert not pipeline_to_run(pipeline, catalog, {"only_missing_outputs": True}).nodes
    assert pipeline_to_run(pipeline, catalog, {"only_missing_outputs": False}) is pipeline


def test_a_misspelt_environment_in_an_archive(run: Callable, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "conf"), "gztar", ROOT, "conf")
    with pytest.raises(ClickException, match=r"conf/voc2013\. Environments .* are: .*base, .*voc2007, voc2012, voc"):
        run("data_processing", env="voc2013", conf_source=archive)


@pytest.mark.parametrize(("name", "cut"), [("junk.tar.gz", None), ("cut.tar.gz", 200), ("junk.zip", None)])
def test_a_damaged_archive_of_settings(run: Callable, tmp_path: Path, name: str, cut: int | None) -> None:
    archive = shutil.make_archive(str(tmp_path / "conf"), "gztar", ROOT, "conf")
    content = Path(archive).read_bytes()[:cut] if cut else b"not an archive"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClickException, match=rf"{name} cannot be read as an archive of settings .* Nothing has run"):
        run("data_processing", conf_source=str(tmp_path / name))


@pytest.mark.parametrize("given", ["nowhere", "empty"])
def test_no_settings_at_all(run: Callable, tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClickException, match=f"There are no settings: .*/{given} has no folder base.*--conf-source"):
        run("data_processing", conf_source=str(tmp_path / given))


def test_settings_without_a_catalog(run: Callable, tmp_path: Path) -> None:
    for name in ("base", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "base/parameters.yml").write_text(json.dumps({"seed": 0}))
    with pytest.raises(ClickException, match=r"No files of YAML or JSON format found in .* Nothing has run"):
        run("data_processing", conf_source=str(tmp_path))


@pytest.mark.parametrize("kind", ["CheckpointsDataset", "BytesDataset", "MasksDataset"])
def test_entries_without_versions_are_refused_by_name(kind: str) -> None:
    entries = {"mine": {"type": f"voc_seg.datasets.{kind}", "filepath": "a", "versioned": True}}
    with pytest.raises(ClickException, match=rf"mine in the catalog: voc_seg\.datasets\.{kind} has no versions"):
        require_versionable(entries)
    others = {"a": {"type": "voc_seg.datasets.CSVDataset", "versioned": True}, "b": {"type": "x.Y", "versioned": True}}
    require_versionable(others | {"c": {"type": f"voc_seg.datasets.{kind}"}, "_d": "text"})


def test_a_file_in_place_of_the_folder_of_versions_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    entry = {"type": "voc_seg.datasets.CSVDataset", "filepath": str(tmp_path / "a.csv"), "versioned": True}
    catalog = DataCatalog.from_config({"a": entry})
    with pytest.raises(ClickException, match=r"a\.csv was written before a had versioned: true"):
        require_room_for_versions(Pipeline([Node(lambda: {}, None, "a", name="make")]), catalog)


def test_a_missing_version_is_refused_with_the_existing_ones(tmp_path: Path) -> None:
    entry = {"type": "voc_seg.datasets.CSVDataset", "filepath": str(tmp_path / "a.csv"), "versioned": True}
    DataCatalog.from_config({"a": entry}, save_version="2026").save("a", pd.DataFrame({"a": [1]}))
    with pytest.raises(ClickException, match=r"--load-versions a:2025: there is no such version\. There are: 2026"):
        require_versions({"a": "2025"}, DataCatalog.from_config({"a": entry}, load_versions={"a": "2025"}))
    require_versions({"a": "2026"}, DataCatalog.from_config({"a": entry}, load_versions={"a": "2026"}))
