"""The calibration pipeline: the temperature is stored in the model, and used from then on."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click import ClickException
from safetensors import safe_open

from voc_seg.models.saved import require_best_model
from voc_seg.pipelines.export import nodes as export
from voc_seg.reporting.same_evaluation import require_same_model
from voc_seg.system.errors import VocSegError

Run = Callable[..., None]

pytestmark = pytest.mark.usefixtures("narrow_encoder", "blank_figures")


def _model(project: Path) -> dict[str, Any]:
    return torch.load(project / "data/06_models/best_model.pth", weights_only=True)


def _json(project: Path, name: str) -> dict[str, Any]:
    return json.loads((project / "data/08_reporting" / name).read_text())


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path], run_kedro: Run) -> Path:
    project = prepare_project(train=6, val=4, test=2)
    run_kedro(project, "training", training={"epochs": 8})
    return project


def test_a_model_is_calibrated_scored_and_exported(
    project: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_kedro(project, "evaluation")
    before, weights = _json(project, "metrics.json"), _model(project)
    assert before["temperature"] == 1.0

    run_kedro(project, "calibration")
    found = _json(project, "calibration.json")
    calibrated = _model(project)
    assert found["temperature"] == calibrated["temperature"] != 1.0
    assert found["cross_entropy_after"] < found["cross_entropy_before"]
    assert found["ece_before"] == pytest.approx(before["ece"], abs=1e-4)
    assert all(torch.equal(value, calibrated["model"][name]) for name, value in weights["model"].items())
    assert weights.keys() | {"temperature"} == calibrated.keys()
    require_best_model(calibrated, "best_model.pth")

    monkeypatch.setattr(export, "_to_onnx", lambda *_: (b"", b"", {}))
    run_kedro(project, "export")
    card = (project / "data/06_models/export/MODEL_CARD.md").read_text()
    assert f"divided by the temperature, **{found['temperature']:g}**" in card
    run_kedro(project, "evaluation", "export")
    after = _json(project, "metrics.json")
    assert (after["miou"], after["temperature"]) == (before["miou"], found["temperature"])
    assert after["ece"] != before["ece"]
    with safe_open(project / "data/06_models/export/model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["temperature"]) == found["temperature"]
    bins = pd.read_parquet(project / "data/07_model_output/confidence_bins.parquet")
    assert bins["pixels"].sum() > 0


def test_scores_from_before_are_not_taken_for_those_of_the_calibrated_model() -> None:
    model = {"model_digest": "a", "epoch": 3}
    for stated in ({}, {"temperature": 1.0}):
        require_same_model({"model_digest": "a", "checkpoint_epoch": 3} | stated, model)
    with pytest.raises(VocSegError, match=r"another model than best_model\.pth: temperature 1\.0, not 0\.9"):
        require_same_model({"model_digest": "a", "temperature": 1.0}, model | {"temperature": 0.9})


def test_no_calibration_during_a_training(project: Path, run_kedro: Run) -> None:
    path = project / "data/06_models/.training.lock"
    code = (
        f"from pathlib import Path; from voc_seg.system.lock import acquire_lock as take; f = take(Path({str(path)!r}))"
    )
    command = [sys.executable, "-u", "-c", f"{code}; print(f is not None); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        with pytest.raises(ClickException, match="Another process is running training into"):
            run_kedro(project, "calibration")
        other.kill()


def test_calibrating_twice_gives_the_same(project: Path, run_kedro: Run) -> None:
    run_kedro(project, "calibration")
    first = _json(project, "calibration.json")
    run_kedro(project, "calibration")
    assert _json(project, "calibration.json") == first


def test_a_resumed_training_begins_uncalibrated(project: Path, run_kedro: Run) -> None:
    run_kedro(project, "calibration")
    run_kedro(project, "training", training={"epochs": 1})
    assert "temperature" not in _model(project)
