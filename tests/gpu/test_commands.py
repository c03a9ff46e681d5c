"""All pipelines on a GPU, and the speed of a training step, which is printed and not judged."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from voc_seg.scenes.sample import write_scenes

pytestmark = pytest.mark.gpu

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "training.py"


@pytest.mark.usefixtures("blank_figures")
def test_every_pipeline(
    gpu: torch.device, prepare_project: Callable[..., Path], run_kedro: Callable[..., None]
) -> None:
    project = prepare_project(train=8, val=3, test=1)
    runtime = {"device": str(gpu), "workers": 1}
    run_kedro(project, "training", "evaluation", "export", runtime=runtime)
    run_kedro(project, "inference", runtime=runtime, inference={"images": str(project / "voc")})
    facts = json.loads((project / "data/07_model_output/evaluation_facts.json").read_text())
    metrics = json.loads((project / "data/08_reporting/metrics.json").read_text())
    assert facts["device"] == metrics["device"] == torch.cuda.get_device_name(gpu)
    assert facts["precision"] == metrics["precision"]
    history = pd.read_csv(project / "data/08_reporting/training_history.csv")
    assert (history["gpu_peak_bytes"] > 0).all()
    assert list((project / "data/07_model_output/inference/masks").glob("*.png"))
    assert (project / "data/06_models/export/model.safetensors").is_file()


def test_sanity_overfits_an_image(
    gpu: torch.device, prepare_project: Callable[..., Path], run_kedro: Callable[..., None]
) -> None:
    project = prepare_project(train=2, val=1, test=1)
    run_kedro(project, "sanity", runtime={"device": str(gpu)}, sanity={"pass_miou": 0.6})  # with small settings
    assert json.loads((project / "data/08_reporting/sanity_metrics.json").read_text())["passed"] is True


def test_the_speed_of_a_step(gpu: torch.device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``ours`` reads, crops and copies its images, ``bare`` computes on one batch that is there already."""
    write_scenes(tmp_path / "voc", {"train": 32, "val": 1, "test": 1})
    options = f"--batch 16 --images 320 --rounds 3 --sides ours bare --device {gpu}".split()
    command = [sys.executable, str(BENCHMARK), "--voc-root", str(tmp_path / "voc"), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        sys.stdout.write(f"\n{done.stdout}")
