"""Models as MLflow's pyfunc: loaded in Python, and behind ``mlflow models serve``."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import torch
from PIL import Image

import voc_seg
from voc_seg.api.predictor import Result
from voc_seg.config import EvaluationConfig
from voc_seg.hooks.mlflow_model import save_model
from voc_seg.scenes.sample import draw_scene, plan_split

mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")


@pytest.fixture(scope="module")
def best_model(untrained_model: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "best_model.pth"
    torch.save(untrained_model(EvaluationConfig(scale=0.5)), path)
    return path


@pytest.fixture(scope="module")
def folder(best_model: Path) -> Path:
    save_model(best_model, best_model.parent / "mlflow")
    return best_model.parent / "mlflow"


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_scene(plan_split("val", 1, 0)[0])[0]).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def expected(best_model: Path, photo: bytes) -> Result:
    return voc_seg.load(best_model).predict(photo)


def decoded(mask: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(mask)))


def test_masks_are_those_of_the_model(folder: Path, photo: bytes, expected: Result) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    found = model.predict(pd.DataFrame({"image": [photo, photo]}))
    assert (decoded(found["mask"][1]) == expected.mask).mean() > 0.999  # two images go through the network together
    assert json.loads(found["shares"][0]) == pytest.approx(expected.shares, abs=0.001)
    one = model.predict(pd.DataFrame({"image": [photo]}))
    assert np.array_equal(decoded(one["mask"][0]), expected.mask)


def test_the_folder_says_what_the_model_takes(folder: Path, best_model: Path) -> None:
    about = mlflow.models.Model.load(str(folder))
    assert about.signature.inputs.input_names() == ["image"]
    assert about.signature.outputs.input_names() == ["mask", "shares"]
    assert about.saved_input_example_info["artifact_path"] == "input_example.json"
    assert (folder / "best_model.pth").read_bytes() == best_model.read_bytes()
    assert any(line.startswith("torch==") for line in (folder / "requirements.txt").read_text().splitlines())


def test_it_can_be_served(folder: Path, photo: bytes, expected: Result) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address, port = f"http://127.0.0.1:{free.getsockname()[1]}", str(free.getsockname()[1])
    options = ["-m", str(folder), "--env-manager", "local", "-p", port, "--workers", "1"]
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "models", "serve", *options], start_new_session=True)
    try:
        for _ in range(600):
            with suppress(requests.ConnectionError):
                if requests.get(f"{address}/ping", timeout=60).ok:
                    break
            time.sleep(0.2)
        sent = {"dataframe_records": [{"image": base64.b64encode(photo).decode()}]}
        (row,) = requests.post(f"{address}/invocations", json=sent, timeout=60).json()["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
    assert np.array_equal(decoded(base64.b64decode(row["mask"])), expected.mask)
    assert json.loads(row["shares"]) == pytest.approx(expected.shares)
