"""Settings of a run: its name, the device, tracking."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator

from .block import Block

_PORTS = {f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10)}
_RESERVED_ON_WINDOWS = {"CON", "PRN", "AUX", "NUL", *_PORTS}

RUN_NAME_RULE = (
    "a run's name is also a folder name: up to 100 letters (a-z), digits, '.', '_' and '-', starting with a letter or "
    "digit and not ending with '.'"
)


def is_run_name(name: str) -> bool:
    """Whether a run may have this name; ``RUN_NAME_RULE`` says it in words."""
    letters = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", name)
    return bool(letters) and name.upper() not in _RESERVED_ON_WINDOWS


def _check_run_name(run: Any) -> Any:
    if run is None:
        return None
    if not isinstance(run, str):
        raise ValueError("YAML does not read this as text: start the name with a letter")
    if not is_run_name(run):
        raise ValueError(RUN_NAME_RULE)
    return run


RunName = Annotated[str | None, BeforeValidator(_check_run_name)]


class RuntimeConfig(Block):
    """Device, precision and processes."""

    device: str = Field(
        "auto", description="auto (a GPU if there is one, else the CPU), cpu, mps, cuda, or cuda:1 and so on"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="precision of the network: fp32, bf16, fp16 (with gradient scaling), or auto: bf16 where the "
        "hardware supports it at full speed, fp16 on GPUs of compute capability 7.0 to 7.5 such as T4 and RTX 20xx, "
        "else fp32",
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto",
        description="loader processes, 0 to 64; 0 prepares batches in the main process; auto is 0 on a CPU, up to 8 "
        "on a GPU, up to 2 on an Apple GPU",
    )
    distributed_timeout: PositiveInt = Field(
        600, description="seconds after which a rank of a distributed run that does not answer counts as lost"
    )
    keep_memory: bool = Field(
        True, description="on Linux CPUs (glibc): keep freed memory for the next step, a few per cent faster"
    )

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError("it must be auto (a GPU if there is one), cpu, mps, cuda, or cuda:1 and so on")
        return device


class TrackingConfig(Block):
    """Copies of settings, scores and files for tools that compare runs; results do not depend on them."""

    mlflow: bool = Field(False, description="log runs to MLflow; needs the extra mlflow")
    uri: str = Field(
        "sqlite:///mlflow.db",
        description="MLflow's store: an SQLite file, relative to the project, or the URL of a server",
    )
    experiment: str = Field(
        "voc_seg", min_length=1, max_length=500, description="MLflow experiment that the runs belong to"
    )
    tensorboard: bool = Field(
        False, description="log runs to TensorBoard, in logs/tensorboard; needs the extra tensorboard"
    )

    @field_validator("uri")
    @classmethod
    def _uri_has_a_scheme(cls, uri: str) -> str:
        if "://" not in uri and not uri.startswith("databricks"):
            raise ValueError("it must be a URL, such as sqlite:///mlflow.db or http://host:5000")
        return uri
