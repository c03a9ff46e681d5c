"""Shared fixtures: a few drawn scenes, small enough that every test is quick, and settings to match."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Read when torch is imported, and by the processes that tests start: networks this small are quicker on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image

from voc_seg.config import Parameters
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.scenes.sample import draw_scene, plan_split, write_scenes

# Under nohup and in the background these are ignored, here and in every process that a test starts; tests send them.
for _number in {"SIGINT", "SIGTERM", "SIGHUP"} & set(signal.Signals.__members__):
    if signal.getsignal(signal.Signals[_number]) is signal.SIG_IGN:
        signal.signal(signal.Signals[_number], signal.default_int_handler if _number == "SIGINT" else signal.SIG_DFL)

_ROOT = Path(__file__).parents[1]
_SMALL: dict[str, Any] = {
    "model": {"width": 16},
    "augmentation": {"crop_size": 64, "scale": [0.2, 0.3]},
    "sanity": {"longer_side": 64},
    "evaluation": {"scale": 0.25, "pictures": 2},
    "training": {"epochs": 2, "batch_size": 4, "validate_every": 1},
}


def _small_scenes(split: str, count: int, longest: int = 96) -> list[Sample]:
    """Drawn scenes reduced to ``longest`` pixels; masks by nearest neighbour, so labels stay labels."""
    samples = []
    for plan in plan_split(split, count, 0):
        image, mask = draw_scene(plan)
        height, width = mask.shape
        size = (round(width * longest / max(mask.shape)), round(height * longest / max(mask.shape)))
        samples.append(
            Sample(
                plan.image_id,
                np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)),
                np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)),
            )
        )
    return samples


@pytest.fixture(scope="session")
def scene_samples() -> list[Sample]:
    """Five training scenes; the fifth is portrait, the others landscape."""
    return _small_scenes("train", 5)


@pytest.fixture(scope="session")
def train_store(scene_samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Four packed training scenes."""
    path = tmp_path_factory.mktemp("packed") / "train.arrow"
    write_store(path, scene_samples[:4])
    return SampleStore(path)


@pytest.fixture(scope="session")
def val_store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Two packed validation scenes."""
    path = tmp_path_factory.mktemp("packed") / "val.arrow"
    write_store(path, _small_scenes("val", 2))
    return SampleStore(path)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """A store without samples."""
    path: Path = tmp_path_factory.mktemp("packed") / "empty.arrow"
    write_store(path, [])
    return SampleStore(path)


@pytest.fixture(scope="session")
def make_parameters() -> Callable[..., Parameters]:
    """Tiny settings for the CPU in fp32; blocks given by name are laid over them."""

    def make(**blocks: Any) -> Parameters:
        settings: dict[str, Any] = {
            "seed": 0,
            "augmentation": {"crop_size": 64, "scale": [0.8, 1.2]},
            "model": {"encoder": "resnet18", "width": 8, "skips": [2, 3, 4], "context": "pyramid"},
            "training": {"epochs": 3, "batch_size": 2, "optimizer": {"learning_rate": 0.01}},
            "runtime": {"device": "cpu", "precision": "fp32"},
        }
        return Parameters.model_validate(_laid_over(settings, blocks))

    return make


@pytest.fixture(scope="session")
def make_project() -> Callable[[Path], Path]:
    """Makes a project folder with its own conf and data and this package; its pictures go into ``voc``."""

    def make(folder: Path) -> Path:
        shutil.copytree(_ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        (folder / "conf" / "local").mkdir()
        (folder / "src").mkdir()
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(_ROOT / name, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def run_kedro() -> Callable[..., None]:
    """Runs pipelines of a project folder with small settings; parameters are laid over them."""

    def run(project: Path, *names: str, env: str | None = None, **parameters: Any) -> None:
        bootstrap_project(project)
        voc_root = {"voc_root": str(project / "voc")} if (project / "voc").exists() else {}
        settings = _laid_over(voc_root | _SMALL, parameters)
        with KedroSession.create(project, env=env, runtime_params=settings) as session:
            session.run(pipeline_names=list(names) or None)

    return run


@pytest.fixture(scope="session")
def prepare_project(
    tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path], run_kedro: Callable[..., None]
) -> Callable[..., Path]:
    """Makes a project with so many drawn scenes in each split, packed."""

    def prepare(**scenes: int) -> Path:
        folder = make_project(tmp_path_factory.mktemp("project"))
        write_scenes(folder / "voc", scenes)
        run_kedro(folder, "data_processing")
        return folder

    return prepare


@pytest.fixture(scope="session")
def parameters(make_parameters: Callable[..., Parameters]) -> Parameters:
    """The tiny settings as they are."""
    return make_parameters()


def _laid_over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``top``, nested blocks merged key by key."""
    merged = dict(base)
    for key, value in top.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _laid_over(base[key], value) if nested else value
    return merged
