"""MLflow's own pages on the store of a tracked run."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from voc_seg.scenes.sample import write_scenes

mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")

PATIENCE = 60_000  # milliseconds: the pages load 20 MB of scripts, and the machine may be busy


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable, run_kedro: Callable) -> Path:
    folder = make_project(tmp_path_factory.mktemp("project"))
    write_scenes(folder / "voc", {"train": 4, "val": 2, "test": 1})
    run_kedro(folder, tracking={"mlflow": True})
    return folder


@pytest.fixture(scope="module")
def run(project: Path) -> Any:
    """The tracked run as MLflow has stored it."""
    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("voc_seg").experiment_id])
    return found


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """Address of ``mlflow server``, started in the project folder as a user would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (project / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}", server, project / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)  # its workers are processes of their own
            server.wait(timeout=30)


def wait_until_healthy(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address}\n{log.read_text()}")


def test_the_run_its_numbers_and_a_figure_are_shown(page: Page, address: str, run: Any) -> None:
    # The address behind "Model training" at the top left.
    experiment = f"{address}/#/experiments/{run.info.experiment_id}"
    page.goto(f"{experiment}/runs?workflowType=machine_learning")
    page.get_by_role("link", name=run.info.run_name).click(timeout=PATIENCE)
    for name in ("training/best_val_miou", "evaluation/miou", "training.optimizer.learning_rate"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=PATIENCE)

    page.goto(f"{experiment}/runs/{run.info.run_id}/artifacts/figures/training_curves.png")
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 800)", timeout=PATIENCE)
