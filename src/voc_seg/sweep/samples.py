"""The samples that the trainings of a sweep need, looked at once, because every run would fail without them."""

from pathlib import Path
from typing import Any, cast

from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from omegaconf import OmegaConf

from voc_seg.hooks.commands import run_command
from voc_seg.hooks.errors import find_cause
from voc_seg.samples.folds import divide_fold
from voc_seg.system.errors import VocSegError

from .grid import Settings

_TRAIN = "train_samples"


def require_samples(project: Path, environment: str | None, shared: Settings, folds: int) -> None:
    """Refuse a sweep without packed samples of train, or with more folds than they can be divided into.

    Args:
        project: The project folder.
        environment: As for ``--env``.
        shared: Settings of all runs.
        folds: Number of folds; 0 if train is not divided.

    Raises:
        VocSegError: With the next step.
    """
    dotted = [f"{key}={value}" for key, value in shared.items()]
    settings = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(dotted)))
    session = KedroSession.create(project, env=environment, runtime_params=settings)
    with session:
        catalog = session.load_context().catalog
        if not catalog.exists(_TRAIN):
            command = run_command("data_processing", {"env": environment, "runtime_params": settings})
            raise VocSegError(f"There are no packed images of train; nothing has run. Pack them with: {command}")
        if not folds:
            return
        try:
            divide_fold(catalog.load(_TRAIN), f"1/{folds}", seed=0)  # how many are possible does not depend on the seed
        except (VocSegError, DatasetError) as error:
            raise VocSegError(f"{find_cause(error, VocSegError) or error} Nothing has run.") from error
