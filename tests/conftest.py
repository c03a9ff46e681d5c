"""Shared fixtures: a few drawn scenes, small enough that every test is quick, and settings to match."""

import gc
import importlib.util
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Before torch is imported, and for processes that tests start: networks this small are faster on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image

from voc_seg.config import EvaluationConfig, InferenceConfig, ModelConfig, Parameters
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.scenes.sample import draw_scene, plan_split, write_scenes
from voc_seg.voc.classes import CLASS_NAMES, VOC_CLASSES

# The module is beside this file, but pytest's importlib mode does not put the folder on the path.
_spec = importlib.util.spec_from_file_location("narrow", Path(__file__).with_name("narrow.py"))
narrow = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(narrow)

# nohup and background shells ignore these signals, and child processes inherit that; tests send them.
for _number in {"SIGINT", "SIGTERM", "SIGHUP"} & set(signal.Signals.__members__):
    if signal.getsignal(signal.Signals[_number]) is signal.SIG_IGN:
        signal.signal(signal.Signals[_number], signal.default_int_handler if _number == "SIGINT" else signal.SIG_DFL)

_ROOT = Path(__file__).parents[1]
_LONG = {"test_distributed.py", "test_kill.py", "test_sweep.py", "test_tracking.py"}
_MEMORY_LIMIT = 5 * 1024**3 // 2  # so that two processes fit into 8 GB
_SMALL: dict[str, Any] = {
    "model": {"width": 16},
    "augmentation": {"crop_size": 64, "scale": [0.2, 0.3]},
    "sanity": {"longer_side": 64},
    "evaluation": {"scale": 0.25, "pictures": 2},
    "training": {"epochs": 2, "batch_size": 4, "validate_every": 1},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process of pytest-xdist is left with one at the end."""
    items.sort(key=lambda item: item.path.name not in _LONG)  # stable


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """Exempt what is there before a module, such as torch, from collections: each then takes 2 ms, not 300."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[Any]:
    """Collect cycles after every test: an exception that ``pytest.raises`` caught keeps the networks of its frames."""
    result = yield
    gc.collect()
    return result


def _peak_memory() -> int:
    """Peak memory of this process, or of a child process that has ended, in bytes."""
    import resource

    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@pytest.fixture(scope="session")
def serve_in_thread() -> Callable[..., AbstractContextManager[str]]:
    """Serve an application of the web on a free port of loopback; gives its address. Options are those of uvicorn."""

    @contextmanager
    def serve(app: Any, **options: Any) -> Iterator[str]:
        import uvicorn  # of an extra

        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, **options))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

    return serve


@pytest.fixture(scope="module", autouse=True)
def memory_limit() -> Iterator[None]:
    """Fail the last test of a module in which a process took more than 2.5 GB: tests must pass on small machines."""
    if sys.platform != "linux":  # elsewhere the unit is another one, or there is no such number
        yield
        return
    before = _peak_memory()
    yield
    assert _peak_memory() <= max(before, _MEMORY_LIMIT), f"{_peak_memory() / 1024**3:.1f} GB; see narrow_encoder"


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
    """Tiny settings for the CPU in fp32; blocks given by name override them."""

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


@pytest.fixture(scope="module")
def narrow_encoder() -> Iterator[None]:
    """Make resnet18 narrow in this process: see ``narrow.py``."""
    with pytest.MonkeyPatch.context() as patch:
        narrow.narrow_resnet18(patch)
        yield


@pytest.fixture(scope="session")
def untrained_model() -> Callable[[EvaluationConfig], dict[str, Any]]:
    """Make the content of a ``best_model.pth`` of a network that is not trained, yet sure of its classes."""
    import torch

    from voc_seg.engine.checkpoint import export_best_model
    from voc_seg.engine.preprocessing import settings_record
    from voc_seg.engine.resuming import run_fingerprint
    from voc_seg.models.registry import build_model

    def make(evaluation: EvaluationConfig) -> dict[str, Any]:
        parameters = Parameters(model=ModelConfig(width=8), evaluation=evaluation)
        torch.manual_seed(0)
        model = build_model(parameters.model, len(CLASS_NAMES)).eval()
        with torch.no_grad():  # initial weights are so small that rounding would decide the class
            model.decoder.classify.weight.mul_(50)
        data = {"source": "sample", "images": 64, "val_images": 32, "ids": "", "val_ids": ""}
        best = export_best_model(model, run_fingerprint(CLASS_NAMES, parameters, data), 7, 0.5)
        return best | settings_record(InferenceConfig(), evaluation, VOC_CLASSES)

    return make


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write figures without drawing them, which takes two fifths of a session; what fixtures ran before is drawn."""
    from matplotlib.figure import Figure

    from voc_seg.reporting import style

    monkeypatch.setattr(style._Figure, "draw", lambda figure, renderer: Figure(layout=None).draw(renderer))


@pytest.fixture(scope="session")
def make_project() -> Callable[[Path], Path]:
    """Make a project folder with its own conf and data and this package; its images go into ``voc``."""

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
    """Run pipelines of a project folder with small settings; the given parameters override them."""

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
    """Make a project with this number of drawn scenes in each split, packed."""

    def prepare(**scenes: int) -> Path:
        folder = make_project(tmp_path_factory.mktemp("project"))
        write_scenes(folder / "voc", scenes)
        run_kedro(folder, "data_processing")
        return folder

    return prepare


@pytest.fixture(scope="session")
def parameters(make_parameters: Callable[..., Parameters]) -> Parameters:
    """The tiny settings, unchanged."""
    return make_parameters()


def _laid_over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``top``, nested blocks merged key by key."""
    merged = dict(base)
    for key, value in top.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _laid_over(base[key], value) if nested else value
    return merged
