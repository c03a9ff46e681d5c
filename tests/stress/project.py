"""A project of its own for the stress scripts, and what a training leaves in it."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from voc_seg.scenes.sample import write_scenes
from voc_seg.system.atomic import SCRATCH as SCRATCH

ROOT = Path(__file__).parents[2]
TIMES = ["images_per_second", "data_seconds", "epoch_seconds"]


def make_project(folder: Path, images: int) -> Path:
    """Conf of this project, ``images`` training scenes, indexed and packed."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    for name in ("conf/local", "src"):
        (folder / name).mkdir()
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder)
    write_scenes(folder / "voc", {"train": images, "val": 2, "test": 1})
    run(folder, "data_processing", {"voc_root": str(folder / "voc")})
    return folder


def run(project: Path, pipeline: str, settings: dict[str, Any]) -> None:
    """One ``kedro run`` in this process."""
    bootstrap_project(project)
    with KedroSession.create(project, runtime_params=settings) as session:
        session.run(pipeline_names=[pipeline])


def forget_training(project: Path) -> None:
    """Delete the outputs of earlier trainings."""
    shutil.rmtree(project / "data/06_models", ignore_errors=True)
    shutil.rmtree(project / "data/08_reporting", ignore_errors=True)


def left_by(project: Path, epochs: int) -> dict[str, Any]:
    """Last checkpoint, best model and history without its times."""
    models = project / "data/06_models"
    history = pd.read_csv(project / "data/08_reporting/training_history.csv").drop(columns=TIMES)
    return {
        "last": torch.load(models / f"checkpoints/checkpoint_epoch_{epochs:04d}.pth", weights_only=True),
        "best": torch.load(models / "best_model.pth", weights_only=True),
        "history": history.to_dict("list"),
    }


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Places where two states are not bit-identical; times and the number of mid-epoch checkpoints are ignored."""
    if isinstance(expected, dict):
        keys = (found.keys() | expected.keys()) - {*TIMES, "seconds", "waited", "resume", "every_minutes"}
        pairs = [(found.get(key), expected.get(key), f"{where}.{key}") for key in keys]
    elif isinstance(expected, list) and len(found) == len(expected):
        pairs = [(one, other, f"{where}[{index}]") for index, (one, other) in enumerate(zip(found, expected))]
    elif isinstance(expected, torch.Tensor):
        return [] if torch.equal(found, expected) else [where]
    else:
        same = found == expected or (found != found and expected != expected)  # NaN: an epoch without validation
        return [] if same else [f"{where}: {found} instead of {expected}"]
    return [line for pair in pairs for line in differences(*pair)]
