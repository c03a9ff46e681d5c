"""Shared fixtures: a few drawn scenes, small enough that every test is quick, and settings to match."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_seg.config import Parameters
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.voc.scenes import draw_scene, plan_split


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
