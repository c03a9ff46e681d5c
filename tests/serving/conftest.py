"""A small model, and servers in threads of the test process."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed: pip install 'voc_seg[serve]'")
import httpx

import voc_seg
from voc_seg.api.predictor import Predictor
from voc_seg.config import EvaluationConfig
from voc_seg.scenes.sample import draw_scene, plan_split
from voc_seg.serving.app import create_app
from voc_seg.serving.limits import Admission, Limits
from voc_seg.voc.classes import VOC_CLASSES
from voc_seg.voc.pixel_format import RGB

PROTOCOL = os.environ.get("VOC_SEG_TEST_HTTP", "h11")
"""What uvicorn parses HTTP with: the extra installs h11. Where httptools is installed, `voc-seg serve` uses it."""


@dataclass(frozen=True)
class Running:
    """A server in a thread."""

    client: httpx.Client
    admission: Admission

    def predict(self, image: bytes, **options: Any) -> httpx.Response:
        return self.client.post("/predict", files={"image": image}, **options)

    def metric(self, name: str, **options: Any) -> float:
        lines = self.client.get("/metrics", **options).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def wait_for(self, name: str, value: float, **options: Any) -> None:
        until = time.monotonic() + 10
        while (found := self.metric(name, **options)) != value:
            assert time.monotonic() < until, f"{name} is {found}, not {value}"
            time.sleep(0.01)


class GatedModel(Predictor):
    """Takes the first channel for the mask, when its gate is open, and keeps the numbers of images it got at once."""

    classes = VOC_CLASSES
    pixels = RGB

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[int] = []
        self.error: Exception | None = None

    def _segment(self, images: Sequence[np.ndarray], confidence: bool) -> list[tuple[np.ndarray, np.ndarray | None]]:
        self.batches.append(len(images))
        assert self.gate.wait(30)
        if self.error:
            raise self.error
        return [(np.ascontiguousarray(image[..., 0]), None) for image in images]

    def images_together(self, height: int, width: int) -> int:
        return 4


@pytest.fixture
def gated() -> Iterator[GatedModel]:
    model = GatedModel()
    yield model
    model.gate.set()


@pytest.fixture(scope="module")
def start(serve_in_thread: Callable[..., AbstractContextManager[str]]) -> Iterator[Callable[..., Running]]:
    """Start a server for a model; keyword arguments are limits."""
    with ExitStack() as stack:

        def begin(model: Predictor, token: str = "", **limits: Any) -> Running:
            given = Limits(**limits)
            admission = Admission(given.queue)
            app = create_app(model, given, token, admission)
            address = stack.enter_context(serve_in_thread(app, http=PROTOCOL, timeout_graceful_shutdown=20))
            limits_of_client = httpx.Limits(max_connections=None)
            client = stack.enter_context(httpx.Client(base_url=address, timeout=60, limits=limits_of_client))
            return Running(client, admission)

        yield begin


@pytest.fixture(scope="module")
def model_file(narrow_encoder: None, untrained_model: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model") / "best_model.pth"
    torch.save(untrained_model(EvaluationConfig(scale=0.5)), path)
    return path


@pytest.fixture(scope="module")
def model(model_file: Path) -> Predictor:
    return voc_seg.load(model_file, device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """A drawn scene."""
    return Image.fromarray(draw_scene(plan_split("train", 1, 0)[0])[0])
