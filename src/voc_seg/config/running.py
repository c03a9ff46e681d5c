"""Settings of a run itself: its name, the machine, who is told of it."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator

from .block import Block

_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
"""What Windows takes for no folder."""

RUN_NAMES = (
    "a run's name is that of its folder: up to 100 letters (a-z), digits, '.', '_' and '-', with a letter or digit "
    "first and no '.' last"
)


def is_run_name(name: str) -> bool:
    """Whether a run may be called so; ``RUN_NAMES`` is the rule in words."""
    letters = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", name)
    return bool(letters) and name.upper() not in _DEVICES


def _name_of_a_folder(run: Any) -> Any:
    if run is None:
        return None
    if not isinstance(run, str):
        raise ValueError("YAML does not read this as text: begin the name with a letter")
    if not is_run_name(run):
        raise ValueError(RUN_NAMES)
    return run


RunName = Annotated[str | None, BeforeValidator(_name_of_a_folder)]


class RuntimeConfig(Block):
    """Where and how to compute."""

    device: str = Field("auto", description="auto takes a GPU if there is one; or cpu, mps, cuda, cuda:1 and so on")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto is bf16 where the device has it")
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto", description="processes that prepare batches; 0 prepares them in place; auto is 0 unless on a GPU"
    )
    distributed_timeout: PositiveInt = Field(
        600, description="with several processes: seconds after which one that does not answer counts as lost"
    )
    keep_memory: bool = Field(
        True, description="on CPUs with glibc: memory stays with the process from step to step, and goes at the end"
    )

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError("it must be auto (a GPU if there is one), cpu, mps, cuda, or cuda:1 and so on")
        return device


class TrackingConfig(Block):
    """Copies of what a run leaves, for tools that compare runs; nothing is computed otherwise because of them."""

    mlflow: bool = Field(False, description="to MLflow; needs the extra mlflow")
    uri: str = Field(
        "sqlite:///mlflow.db",
        description="MLflow's store: a file of SQLite, relative to the project, or the address of a server",
    )
    experiment: str = Field("voc_seg", min_length=1, max_length=500, description="MLflow's name for runs of a kind")
    tensorboard: bool = Field(False, description="to TensorBoard, in logs/tensorboard; needs the extra tensorboard")

    @field_validator("uri")
    @classmethod
    def _uri_has_a_scheme(cls, uri: str) -> str:
        if "://" not in uri and not uri.startswith("databricks"):
            raise ValueError("it must be an address: sqlite:///mlflow.db, http://host:5000 and so on")
        return uri
