"""Where a tracked run is written to: a run of MLflow, a folder of TensorBoard."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from voc_seg.config import TrackingConfig, flattened
from voc_seg.system.errors import VocSegError

Points = list[tuple[int, dict[str, float]]]
"""Numbers by name, at epochs; 0 for what belongs to no epoch."""


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before its first node.

    Args:
        name: What tables and legends call it; good as the name of a folder.
        settings: The blocks of settings its nodes take, nested, in plain values.
        tags: Code, data, device and versions.
    """

    name: str
    settings: dict[str, Any]
    tags: dict[str, str]


class Writer(Protocol):
    """One place that a run is written to. Any method may raise whatever the library behind it does."""

    label: str
    look: str
    """What to type to see the runs."""

    def begin(self, run: RunFacts) -> None:
        """Open the run."""

    def settings(self, run: RunFacts) -> None:
        """Write down its settings."""

    def numbers(self, group: str, points: Points) -> None:
        """Numbers of a group, ``training`` or ``evaluation``, by epoch."""

    def file(self, path: Path, group: str) -> None:
        """A file of a group: ``figures``, ``tables`` or ``model``."""

    def end(self, status: str) -> None:
        """Close the run: FINISHED, FAILED or KILLED."""


def writers_of(config: TrackingConfig, project: Path) -> list[Writer]:
    """The writers that are enabled.

    Raises:
        VocSegError: One is enabled, but what it needs is not installed or cannot be imported.
    """
    wanted: dict[str, Callable[[TrackingConfig, Path], Writer]] = {
        "mlflow": MlflowWriter,
        "tensorboard": TensorBoardWriter,
    }
    writers: list[Writer] = []
    for name, kind in wanted.items():
        if getattr(config, name):
            try:
                writers.append(kind(config, project))
            except Exception as error:  # a library at odds with another raises what it likes
                raise VocSegError(
                    f"tracking.{name} is true, but it cannot be imported ({error}). Install it with: "
                    f"pip install -e '.[{name}]', or leave it out with --params tracking.{name}=false."
                ) from error
    return writers


_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # what it says goes where conf/logging.yml says
    # Its own are minutes of waiting for a server that is gone; training waits no longer than it must.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Environment variables of MLflow; those that are set already stay."""

_LONGEST_VALUE = 6000  # characters of a parameter; this and the next are MLflow's limits (mlflow.utils.validation)
_PARAMETERS_AT_ONCE = 100


class MlflowWriter:
    """A run of an MLflow experiment."""

    label = "MLflow"

    def __init__(self, config: TrackingConfig, project: Path) -> None:
        for name, value in _MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient  # takes seconds: only when it is asked for

        self._uri, self._artifacts = _resolve(config.uri, project)
        self._experiment = config.experiment
        self._lock = project / "logs/.mlflow.lock"
        self._make_client = MlflowClient
        self.look = "mlflow ui" if self._artifacts else without_password(config.uri)
        if self._artifacts and config.uri != TrackingConfig().uri:  # which is MLflow's default as well
            self.look += f" --backend-store-uri {config.uri}"

    def begin(self, run: RunFacts) -> None:
        self._lock.parent.mkdir(exist_ok=True)
        with FileLock(self._lock, timeout=60):  # runs of a sweep begin together, and one of them makes the store
            self._client = self._make_client(tracking_uri=self._uri)
            experiment = self._client.get_experiment_by_name(self._experiment)
            if experiment is None:
                number = self._client.create_experiment(self._experiment, self._artifacts)
            else:
                number = experiment.experiment_id
        self._run_id = self._client.create_run(number, run_name=run.name, tags=run.tags).info.run_id

    def settings(self, run: RunFacts) -> None:
        from mlflow.entities import Param

        values = [Param(key, value[:_LONGEST_VALUE]) for key, value in flat(run.settings).items()]
        for first in range(0, len(values), _PARAMETERS_AT_ONCE):
            self._client.log_batch(self._run_id, params=values[first : first + _PARAMETERS_AT_ONCE])
        self._client.log_dict(self._run_id, run.settings, "settings.yml")

    def numbers(self, group: str, points: Points) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{group}/{name}", value, now, epoch) for epoch, values in points for name, value in values.items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def file(self, path: Path, group: str) -> None:
        self._client.log_artifact(self._run_id, str(path), group)

    def end(self, status: str) -> None:
        self._client.set_terminated(self._run_id, status)


class TensorBoardWriter:
    """A folder of event files below ``logs/tensorboard``."""

    label = "TensorBoard"
    look = "tensorboard --logdir logs/tensorboard"

    def __init__(self, config: TrackingConfig, project: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make_writer = SummaryWriter
        self._folder = project / "logs" / "tensorboard"

    def begin(self, run: RunFacts) -> None:
        self._writer = self._make_writer(str(self._folder / run.name))

    def settings(self, run: RunFacts) -> None:
        rows = "\n".join(f"| {key} | {value} |" for key, value in flat(run.settings).items())
        self._writer.add_text("settings", f"| key | value |\n|---|---|\n{rows}")

    def numbers(self, group: str, points: Points) -> None:
        for epoch, values in points:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, epoch)
        self._writer.flush()

    def file(self, path: Path, group: str) -> None:
        if group == "figures":
            import numpy as np
            from PIL import Image

            self._writer.add_image(f"{group}/{path.stem}", np.array(Image.open(path).convert("RGB")), dataformats="HWC")

    def end(self, status: str) -> None:
        self._writer.close()


def flat(settings: dict[str, Any]) -> dict[str, str]:
    """Nested settings as text by dotted key, as ``--params`` names them; lists as JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in flattened(settings)
    }


def without_password(text: str) -> str:
    """Text whose addresses have lost ``user:password@``."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _resolve(uri: str, project: Path) -> tuple[str, str | None]:
    """A store's address with a file of SQLite taken from the project folder, and where files go then.

    A server says itself where files go: None.
    """
    kind, found, path = uri.partition(":///")
    if not (found and kind.startswith("sqlite")):
        return uri, None
    return f"{kind}:///{(project / path).as_posix()}", (project / path).parent.joinpath("mlruns").as_uri()
