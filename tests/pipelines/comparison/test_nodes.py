"""The comparison of runs that are on disk."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError

from voc_seg.config import ComparisonConfig, Parameters
from voc_seg.datasets import RunsDataset
from voc_seg.engine.resuming import run_fingerprint
from voc_seg.metrics.confusion import summarise
from voc_seg.metrics.counts import to_table
from voc_seg.pipelines.comparison.nodes import compare_runs
from voc_seg.system.errors import VocSegError


@pytest.fixture
def data(tmp_path: Path, make_parameters: Callable[..., Parameters]) -> Path:
    """Outputs of a run without a name and of two named runs, and folders of two runs without a model."""

    def leave(folder: Path, seed: int, miou: float, val_ids: str) -> None:
        about = run_fingerprint(("a", "b"), make_parameters(seed=seed), {"source": "sample", "val_ids": val_ids})
        (folder / "06_models").mkdir(parents=True)
        state: dict[str, Any] = {"epoch": 1, "val_miou": miou, "model": {"w": torch.zeros(1)}, **about}
        torch.save(state, folder / "06_models/best_model.pth")

    leave(tmp_path, 0, 0.1, "x")
    leave(tmp_path / "runs/lr-1", 1, 0.3, "x")
    leave(tmp_path / "runs/lr-2", 2, 0.2, "y")
    (tmp_path / "runs/lr-1/08_reporting").mkdir()
    (tmp_path / "runs/lr-1/07_model_output").mkdir()
    (tmp_path / "runs/lr-1/08_reporting/metrics.json").write_text(
        json.dumps({"split": "val", "checkpoint_epoch": 1, "pixel_accuracy": 0.5})
    )
    facts = json.dumps({"checkpoint_val_miou": 0.3})
    (tmp_path / "runs/lr-1/07_model_output/evaluation_facts.json").write_text(facts)
    (tmp_path / "runs/failed/06_models").mkdir(parents=True)
    (tmp_path / "runs/.hidden").mkdir()
    return tmp_path


def test_runs_with_a_model_are_compared(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert table["run"].tolist() == ["lr-1", "lr-2", "(nameless)"]
    assert table["seed"].tolist() == [1, 2, 0]
    assert table["pixel_accuracy"].iloc[0] == 0.5
    assert "These runs were validated differently" in caplog.text


def test_folders_that_no_run_can_be_called_like_are_skipped_with_a_warning(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "runs/lr-2").rename(data / "runs/=x()")
    table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert table["run"].tolist() == ["lr-1", "(nameless)"]
    assert "'=x()' in " in caplog.text
    assert "a run's name is also a folder name: up to 100 letters" in caplog.text


def test_runs_of_another_stored_size_were_not_validated_alike(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = data / "runs/lr-1/06_models/best_model.pth"
    state = torch.load(path)
    state["config"]["data"]["longer_side"] = 96
    torch.save(state, path)
    table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig(runs="lr-1 (name*"))
    assert "validated differently" in caplog.text
    assert table["data.longer_side"].iloc[0] == 96


def test_some_runs_can_be_chosen(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = RunsDataset(filepath=str(data)).load()
    assert compare_runs(runs, ComparisonConfig(runs="lr-*"))[0]["run"].tolist() == ["lr-1", "lr-2"]
    caplog.clear()
    assert compare_runs(runs, ComparisonConfig(runs="lr-1 (name*"))[0]["run"].tolist() == ["lr-1", "(nameless)"]
    assert "validated differently" not in caplog.text
    with pytest.raises(VocSegError, match=r"none of lr9 has a readable model.* Runs: \(nameless\), lr-1, lr-2"):
        compare_runs(runs, ComparisonConfig(runs="lr9"))


def test_a_damaged_run_is_excluded_with_a_warning(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "runs/lr-1/06_models/best_model.pth").write_bytes(b"cut short")
    torch.save({"epoch": 1}, data / "runs/lr-2/06_models/best_model.pth")
    with caplog.at_level(logging.WARNING):
        table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert table["run"].tolist() == ["(nameless)"]
    assert "lr-1 is excluded:" in caplog.text
    assert "lacks val_miou, config, model_config, model" in caplog.text


def test_no_runs_say_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match="kedro run --pipelines training --params run=NAME"):
        compare_runs(RunsDataset(filepath=str(tmp_path)).load(), ComparisonConfig())
    with pytest.raises(DatasetError):
        RunsDataset(filepath=str(tmp_path)).save(None)


def test_the_graph_shows_every_run(data: Path) -> None:
    (data / "runs/lr-2/06_models/best_model.pth").write_bytes(b"cut short")
    assert RunsDataset(filepath=str(data)).preview()["data"] == [
        ["(nameless)", 1, 0.1], ["lr-1", 1, 0.3], ["lr-2", "cannot be read", ""],
    ]  # fmt: skip


@pytest.mark.parametrize("file", ["08_reporting/metrics.json", "07_model_output/evaluation_facts.json"])
@pytest.mark.parametrize("content", [b"", b'{"split": "v', b"[1, 2]", b"7", b"\xff\xfe\x00\x81"])
def test_scores_that_cannot_be_read_exclude_only_that_run(
    data: Path, caplog: pytest.LogCaptureFixture, file: str, content: bytes
) -> None:
    (data / "runs/lr-1" / file).write_bytes(content)
    table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert table["run"].tolist() == ["lr-2", "(nameless)"]
    assert "lr-1 is excluded: " in caplog.text
    assert Path(file).name in caplog.text


@pytest.mark.parametrize("value", ["high", [0.5]])
def test_scores_that_are_not_numbers_exclude_only_that_run(
    data: Path, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    scores = {"split": "val", "checkpoint_epoch": 1, "pixel_accuracy": value}
    (data / "runs/lr-1/08_reporting/metrics.json").write_text(json.dumps(scores))
    table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert table["run"].tolist() == ["lr-2", "(nameless)"]
    assert "lr-1 is excluded: " in caplog.text


@pytest.mark.parametrize(
    ("key", "value"), [("val_miou", "0.3"), ("epoch", None), ("config", [1]), ("model_config", "")]
)
def test_a_best_model_with_fields_of_another_type_is_excluded(
    data: Path, caplog: pytest.LogCaptureFixture, key: str, value: Any
) -> None:
    path = data / "runs/lr-1/06_models/best_model.pth"
    torch.save({**torch.load(path), key: value}, path)
    table, *_ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert table["run"].tolist() == ["lr-2", "(nameless)"]
    assert f"best_model.pth: {key} is" in caplog.text


def score_images(folder: Path, miou: float, hits: float, ids: int = 20, split: str = "val") -> None:
    """Leave the evaluation of a run that finds this share of class 1 in every image, more or less."""
    rng = np.random.default_rng(0)
    found = np.round(100 * np.clip(hits + rng.normal(0, 0.02, ids), 0, 1)).astype(int)
    confusions = [np.array([[500, 0], [100 - one, one]]) for one in found]
    total = sum(confusions)
    for name in ("07_model_output", "08_reporting"):
        (folder / name).mkdir(exist_ok=True)
    to_table([f"{index:02}" for index in range(ids)], confusions).to_parquet(
        folder / "07_model_output/image_confusions.parquet", index=False
    )
    metrics = summarise(total) | {"split": split, "checkpoint_epoch": 1}
    (folder / "08_reporting/metrics.json").write_text(json.dumps(metrics))
    (folder / "07_model_output/evaluation_facts.json").write_text(json.dumps({"checkpoint_val_miou": miou}))


def test_runs_scored_on_the_same_images_are_paired(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    score_images(data / "runs/lr-1", 0.3, 0.8)
    score_images(data / "runs/lr-2", 0.2, 0.7)
    caplog.set_level(logging.INFO)
    _, _, differences, _ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig())
    assert differences["name"].tolist() == ["same settings (2 seeds)"]  # they differ in nothing but the seed
    assert "standard deviation over seeds" in caplog.text
    assert "Not compared image by image:\n  (nameless): it has not been evaluated\n" in caplog.text


def test_runs_of_different_settings_are_compared(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, hits, rate in (("lr-1", 0.8, 0.1), ("lr-2", 0.7, 0.2)):
        path = data / "runs" / name / "06_models/best_model.pth"
        state = torch.load(path)
        state["config"]["training"]["optimizer"]["learning_rate"] = rate
        torch.save(state, path)
        score_images(path.parents[1], state["val_miou"], hits)
    caplog.set_level(logging.INFO)
    table, _, differences, _ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig(runs="lr-*"))
    assert "lr-1 is better than lr-2 by " in caplog.text
    assert "by image 20 wins, 0 ties, 0 losses" in caplog.text
    assert differences["name"].tolist() == ["lr-1", "lr-2"]
    assert differences["distinguishable"].iloc[1]
    assert {"miou_low", "miou_high"} <= set(table.columns)


@pytest.mark.parametrize(
    ("ids", "split", "reason"),
    [(19, "val", "it was scored on other images"), (20, "test", "it was evaluated on test, not on val")],
)
def test_runs_scored_on_other_images_are_not_paired(
    data: Path, caplog: pytest.LogCaptureFixture, ids: int, split: str, reason: str
) -> None:
    score_images(data / "runs/lr-1", 0.3, 0.8)
    score_images(data / "runs/lr-2", 0.2, 0.7, ids, split)
    _, _, differences, _ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig(runs="lr-*"))
    assert differences["name"].tolist() == ["lr-1"]
    assert f"  lr-2: {reason}" in caplog.text


def test_counts_that_are_not_those_of_the_scores_are_not_used(data: Path) -> None:
    score_images(data / "runs/lr-1", 0.3, 0.8)
    path = data / "runs/lr-1/07_model_output/image_confusions.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    *_, differences, _ = compare_runs(RunsDataset(filepath=str(data)).load(), ComparisonConfig(runs="lr-*"))
    assert differences.empty
