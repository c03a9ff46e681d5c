"""The results of all runs as one catalog entry, for comparison."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from voc_seg.config.running import RUN_NAME_RULE, is_run_name
from voc_seg.system.errors import VocSegError
from voc_seg.system.versions import newest_version

from .earlier_table import EarlierTableDataset, read_earlier_table
from .model_file import State, read_state
from .previews import table_preview
from .single_files import OptionalJSONDataset

logger = logging.getLogger(__name__)

NAMELESS = "(nameless)"
"""The run whose outputs are in ``data`` itself."""


@dataclass(frozen=True)
class Run:
    """The results of a run."""

    model: dict[str, Any]  # its best model without the weights: epoch, val_miou, config, model_digest ...
    history: pd.DataFrame  # one row an epoch; empty where there is none
    scores: dict[str, Any]  # ``metrics.json`` and ``evaluation_facts.json`` of one evaluation, or empty
    images: pd.DataFrame = field(default_factory=pd.DataFrame)  # confusion matrix of each image; empty if there is none


class RunsDataset(AbstractDataset[None, Mapping[str, Callable[[], Run]]]):
    """Runs by name, each read on access; read-only. Runs without a best model are skipped, as are folders whose name
    is not allowed for a run.

    Args:
        filepath: Folder of the outputs of a run without a name; those with one are in ``runs/NAME`` below it.
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def load(self) -> Mapping[str, Callable[[], Run]]:
        return {name: partial(_read, folder) for name, folder in self._folders().items()}

    def _folders(self) -> dict[str, Path]:
        """Folders with a best model by the name of the run."""
        folders = {NAMELESS: self._folder} if _model(self._folder).is_file() else {}
        for folder in sorted((self._folder / "runs").glob("[!.]*")):
            if not _model(folder).is_file():
                continue
            if is_run_name(folder.name):
                folders[folder.name] = folder
            else:  # spreadsheets would take =x() for a formula
                logger.warning("%r in %s is skipped: %s. Rename the folder.", folder.name, folder.parent, RUN_NAME_RULE)
        return folders

    def save(self, data: None) -> None:
        """Always an error."""
        raise DatasetError("The results of runs are written by other entries of the catalog.")

    def preview(self) -> TablePreview:
        """Epoch and score of every run's best model, for Kedro-Viz."""
        rows = []
        for name, folder in self._folders().items():
            try:
                model = _read(folder).model
                rows.append([name, model["epoch"], round(model["val_miou"], 4)])
            except VocSegError:
                rows.append([name, "cannot be read", ""])
        return table_preview(["run", "epoch", "val mIoU"], rows)

    def _exists(self) -> bool:
        return True  # without runs, the comparison says what to run

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


def _model(folder: Path) -> Path:
    return newest_version(folder / "06_models/best_model.pth")


class RunModelsDataset(RunsDataset):
    """The best models of runs with their weights, each read on access, as ``load_checked`` of `ModelDataset` does."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)  # Kedro notes the arguments by the names they have here

    def load(self) -> Mapping[str, Callable[[], State]]:  # type: ignore[override]
        return {name: partial(_read_model, folder) for name, folder in self._folders().items() if name != NAMELESS}


def _read_model(folder: Path) -> State:
    from voc_seg.models.saved import require_best_model

    state = read_state(_model(folder))
    require_best_model(state, str(_model(folder)))
    return state


_FIELDS = ("epoch", "val_miou", "config", "model_config", "model")
"""Fields of a best model that a comparison needs."""


def _reason(error: BaseException) -> str:
    """The first line of the cause of a Kedro error."""
    return str(error.__cause__ or error).partition("\n")[0]


def _read(folder: Path) -> Run:
    """Read one run. Raises VocSegError if its best model or its scores cannot be read."""
    from voc_seg.models.exchange import merge_evaluation, model_digest  # torch only when there is a network to read
    from voc_seg.models.saved import require_fields, require_tensors

    state = read_state(_model(folder))
    require_fields(state, str(_model(folder)), *_FIELDS)
    require_tensors(state["model"], str(_model(folder)))
    digest = model_digest(state)
    found_scores: list[dict[str, Any]] = []
    for name in ("08_reporting/metrics.json", "07_model_output/evaluation_facts.json"):
        path = newest_version(folder / name)
        advice = "Delete it, or recreate it with: kedro run --pipelines evaluation"
        try:
            found = OptionalJSONDataset(filepath=path.as_posix()).load()
        except (DatasetError, OSError, ValueError, RecursionError) as error:
            raise VocSegError(f"{path} cannot be read ({_reason(error)}). {advice}") from error
        if not isinstance(found, dict):
            raise VocSegError(f"{path} should hold scores, but holds a {type(found).__name__}. {advice}")
        found_scores.append(found)
    return Run(
        {name: value for name, value in state.items() if name != "model"} | {"model_digest": digest},
        EarlierTableDataset(filepath=str(folder / "08_reporting/training_history.csv")).load(),
        merge_evaluation(*found_scores),
        read_earlier_table(folder / "07_model_output/image_confusions.parquet"),
    )
