"""Entries with ``versioned: true``: one file a run, the newest is read, and an older one on request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from voc_seg.datasets import CheckpointsDataset, ModelDataset, RunsDataset
from voc_seg.models.exchange import model_digest, read_saved

CATALOG = """\
best_model: {type: voc_seg.datasets.ModelDataset, filepath: data/06_models/best_model.pth, versioned: true}
metrics: {type: voc_seg.datasets.OptionalJSONDataset, filepath: data/08_reporting/metrics.json, versioned: true}
training_history: {type: voc_seg.datasets.CSVDataset, filepath: data/08_reporting/training_history.csv, versioned: true}
"""

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path], run_kedro: Callable[..., None]) -> Path:
    """A project that has been trained and evaluated twice, with versions."""
    folder = prepare_project(train=4, val=2, test=1)
    (folder / "conf/local/catalog.yml").write_text(CATALOG)
    for seed in (0, 1):
        run_kedro(folder, "training", "evaluation", seed=seed)
    return folder


def versions(project: Path, name: str) -> list[Path]:
    folder = project / "data" / name
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path == folder / path.parent.name / folder.name for path in files), "nothing else is left there"
    return sorted(files)


def scored(project: Path) -> dict[str, Any]:
    return json.loads(versions(project, "08_reporting/metrics.json")[-1].read_text())


def test_a_training_writes_one_version_and_the_evaluation_after_it_reads_that(project: Path) -> None:
    old, new = versions(project, "06_models/best_model.pth")
    digests = [model_digest(read_saved(path)) for path in (old, new)]
    assert digests[0] != digests[1]
    found = [json.loads(path.read_text())["model_digest"] for path in versions(project, "08_reporting/metrics.json")]
    assert found == digests


@pytest.mark.usefixtures("blank_figures")
def test_an_older_version_can_be_evaluated(project: Path) -> None:
    old, new = versions(project, "06_models/best_model.pth")
    bootstrap_project(project)
    for path in (old, new):
        given = {"voc_root": str(project / "voc"), "evaluation": {"scale": 0.25}}
        with KedroSession.create(project, runtime_params=given) as session:
            session.run(pipeline_names=["evaluation"], load_versions={"best_model": path.parent.name})
        assert scored(project)["model_digest"] == model_digest(read_saved(path))


def test_a_version_that_does_not_exist_is_refused(project: Path) -> None:
    bootstrap_project(project)
    with (
        pytest.raises(ClickException, match=r"best_model:2020: there is no such version\. There are: 20"),
        KedroSession.create(project, runtime_params={"voc_root": str(project / "voc")}) as session,
    ):
        session.run(pipeline_names=["evaluation"], load_versions={"best_model": "2020"})


def test_a_comparison_reads_the_newest(project: Path) -> None:
    new = versions(project, "06_models/best_model.pth")[-1]
    (run,) = (read() for read in RunsDataset(filepath=str(project / "data")).load().values())
    assert run.model["model_digest"] == model_digest(read_saved(new))


@pytest.mark.slow
def test_training_resumes_with_the_newest_version(project: Path, run_kedro: Callable[..., None]) -> None:
    before = versions(project, "06_models/best_model.pth")
    run_kedro(project, "training", seed=1, training={"resume": True, "epochs": 3})
    after = versions(project, "06_models/best_model.pth")
    assert after[:2] == before
    state = CheckpointsDataset(filepath=str(project / "data/06_models/checkpoints")).load()()
    assert state["epoch"] == 3
    assert read_saved(after[-1])["epoch"] == state["best_epoch"]


@pytest.fixture
def versioned(tmp_path: Path) -> ModelDataset:
    entry = {"type": "voc_seg.datasets.ModelDataset", "filepath": str(tmp_path / "a.pth"), "versioned": True}
    return ModelDataset.from_config("a", entry, save_version="2026-01-02")


@pytest.mark.filterwarnings("error")
def test_an_empty_model_makes_no_version(versioned: ModelDataset, tmp_path: Path) -> None:
    versioned.save({})
    assert not versioned.exists()
    entry = {"type": "voc_seg.datasets.ModelDataset", "filepath": str(tmp_path / "a.pth"), "versioned": True}
    ModelDataset.from_config("a", entry, save_version="2026-01-01").save({"epoch": 1})
    versioned.save({})
    assert versioned.load() == {"epoch": 1}
    for epoch in (2, 3):
        versioned.save({"epoch": epoch})
        assert versioned.load() == {"epoch": epoch}
