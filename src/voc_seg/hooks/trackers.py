"""Writers for tracked runs: an MLflow run, or a TensorBoard folder."""

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from voc_seg.config import TrackingConfig, flattened
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)

Points = list[tuple[int, dict[str, float]]]
"""Epoch and metrics by name; epoch 0 for metrics of the final model."""


@dataclass(frozen=True)
class RunInfo:
    """What is known about a run before its first node."""

    name: str  # name of the run, also a valid folder name
    settings: dict[str, Any]  # settings blocks that its nodes read, nested, as plain values
    tags: dict[str, str]  # code, data, device and versions


class Writer(Protocol):
    """A tracking tool that a run is written to. Methods may raise any exception of its library."""

    label: str
    view_command: str
    """Command that shows the runs."""

    def start(self, run: RunInfo) -> None:
        """Start the run."""

    def log_settings(self, run: RunInfo) -> None:
        """Log its settings."""

    def log_metrics(self, group: str, points: Points) -> None:
        """Log metrics of a group, ``training`` or ``evaluation``, by epoch."""

    def log_file(self, path: Path, group: str) -> None:
        """Log a file of a group: ``figures``, ``tables`` or ``model``."""

    def end(self, status: str) -> None:
        """End the run: FINISHED, FAILED or KILLED."""


def writers_of(config: TrackingConfig, project: Path) -> list[Writer]:
    """The writers that are enabled. Raises VocSegError if the library of one cannot be imported."""
    available: dict[str, Callable[[TrackingConfig, Path], Writer]] = {
        "mlflow": MlflowWriter,
        "tensorboard": TensorBoardWriter,
    }
    writers: list[Writer] = []
    for name, writer_class in available.items():
        if getattr(config, name):
            try:
                writers.append(writer_class(config, project))
            except Exception as error:  # incompatible libraries raise any exception
                raise VocSegError(
                    f"tracking.{name} is true, but it cannot be imported ({error}). Install it with: "
                    f"pip install 'voc_seg[{name}]', or disable it with --params tracking.{name}=false."
                ) from error
    return writers


_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # conf/logging.yml decides where its messages go
    # By default MLflow waits minutes for a server that is down, and training with it.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Environment variables of MLflow, unless the user has set them."""

_MAX_PARAM_LENGTH = 6000  # characters; this and the next are MLflow's limits (mlflow.utils.validation)
_PARAMS_PER_BATCH = 100


class MlflowWriter:
    """A run of an MLflow experiment."""

    label = "MLflow"

    def __init__(self, config: TrackingConfig, project: Path) -> None:
        for name, value in _MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient  # takes seconds: only if enabled

        self._uri, self._artifacts = _resolve_store(config.uri, project)
        self._experiment = config.experiment
        self._lock = project / "logs/.mlflow.lock"
        self._make_client = MlflowClient
        self.view_command = "mlflow ui" if self._artifacts else redact_password(config.uri)
        if self._artifacts and config.uri != TrackingConfig().uri:  # the default is also MLflow's
            self.view_command += f" --backend-store-uri {config.uri}"

    def start(self, run: RunInfo) -> None:
        self._lock.parent.mkdir(exist_ok=True)
        with FileLock(self._lock, timeout=60):  # runs of a sweep start together; one creates the store
            self._client = self._make_client(tracking_uri=self._uri)
            experiment = self._client.get_experiment_by_name(self._experiment)
            if experiment is None:
                number = self._client.create_experiment(self._experiment, self._artifacts)
            else:
                number = experiment.experiment_id
        self._run_id = self._client.create_run(number, run_name=run.name, tags=run.tags).info.run_id

    def log_settings(self, run: RunInfo) -> None:
        from mlflow.entities import Param

        values = [Param(key, value[:_MAX_PARAM_LENGTH]) for key, value in flatten_to_text(run.settings).items()]
        for first in range(0, len(values), _PARAMS_PER_BATCH):
            self._client.log_batch(self._run_id, params=values[first : first + _PARAMS_PER_BATCH])
        self._client.log_dict(self._run_id, run.settings, "settings.yml")

    def log_metrics(self, group: str, points: Points) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{group}/{name}", value, now, epoch) for epoch, values in points for name, value in values.items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def log_file(self, path: Path, group: str) -> None:
        if group == "model":
            from .mlflow_model import save_model

            with tempfile.TemporaryDirectory(prefix="voc_seg_") as folder:
                save_model(path, Path(folder) / group)
                self._client.log_artifacts(self._run_id, str(Path(folder) / group), group)
            logger.info("MLflow: the model is runs:/%s/%s", self._run_id, group)
            return
        self._client.log_artifact(self._run_id, str(path), group)

    def end(self, status: str) -> None:
        self._client.set_terminated(self._run_id, status)


class TensorBoardWriter:
    """A folder of event files under ``logs/tensorboard``."""

    label = "TensorBoard"
    view_command = "tensorboard --logdir logs/tensorboard"

    def __init__(self, config: TrackingConfig, project: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make_writer = SummaryWriter
        self._folder = project / "logs" / "tensorboard"

    def start(self, run: RunInfo) -> None:
        self._writer = self._make_writer(str(self._folder / run.name))

    def log_settings(self, run: RunInfo) -> None:
        rows = "\n".join(f"| {key} | {value} |" for key, value in flatten_to_text(run.settings).items())
        self._writer.add_text("settings", f"| key | value |\n|---|---|\n{rows}")

    def log_metrics(self, group: str, points: Points) -> None:
        for epoch, values in points:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, epoch)
        self._writer.flush()

    def log_file(self, path: Path, group: str) -> None:
        if group == "figures":
            import numpy as np
            from PIL import Image

            self._writer.add_image(f"{group}/{path.stem}", np.array(Image.open(path).convert("RGB")), dataformats="HWC")

    def end(self, status: str) -> None:
        self._writer.close()


def flatten_to_text(settings: dict[str, Any]) -> dict[str, str]:
    """Flatten nested settings to text by dotted key, as in ``--params``; lists as JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in flattened(settings)
    }


def redact_password(text: str) -> str:
    """Remove ``user:password@`` from URLs in a text."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _resolve_store(uri: str, project: Path) -> tuple[str, str | None]:
    """The URI of the store and of its artifacts; an SQLite path is relative to the project folder.

    The second is None for a server, which chooses where artifacts go.
    """
    scheme, found, path = uri.partition(":///")
    if not (found and scheme.startswith("sqlite")):
        return uri, None
    return f"{scheme}:///{(project / path).as_posix()}", (project / path).parent.joinpath("mlruns").as_uri()
