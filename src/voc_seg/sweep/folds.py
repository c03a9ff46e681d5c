"""The runs of ``kedro sweep --folds``: every combination of settings on every fold of train, and their ensembles."""

from collections.abc import Sequence
from dataclasses import dataclass

from voc_seg.system.errors import VocSegError

from .grid import FOLD, Settings, Trial, expand

_ENSEMBLE = "ensemble"
NEEDED = ("training", "evaluation")
"""Pipelines of a run that is pooled with others."""


@dataclass(frozen=True)
class FoldSweep:
    """The folds of one combination of settings, and the run that joins their models."""

    folds: tuple[Trial, ...]
    ensemble: Trial


def expand_folds(grid: dict[str, tuple[str, ...]], shared: Settings, folds: int, prefix: str = "") -> list[FoldSweep]:
    """Every combination of the values in the grid, on every fold; arguments and errors as for `expand`.

    Raises VocSegError if a setting says what a sweep over folds decides.
    """
    for key in (FOLD, "evaluation.split", "ensemble.runs"):
        if key in grid or key in shared:
            raise VocSegError(f"{key} cannot be set with --folds, which decides it. Remove it, or remove --folds.")
    values = tuple(f"{number}/{folds}" for number in range(1, folds + 1))
    trials = expand(grid | {FOLD: values}, shared | {"evaluation.split": "fold"}, prefix)
    # Without a grid, the prefix alone names the ensemble.
    names = [trial.name for trial in expand(grid, {}, prefix)] if grid else [prefix]
    sweeps = []
    for number, name in enumerate(names):
        members = tuple(trials[number * folds : (number + 1) * folds])
        settings = {key: value for key, value in members[0].settings.items() if key != FOLD}
        settings |= {"evaluation.split": "val", "ensemble.runs": " ".join(member.name for member in members)}
        joined = Trial(f"{name}_{_ENSEMBLE}" if name else _ENSEMBLE, settings)
        sweeps.append(FoldSweep(members, joined))
    return sweeps


def require_fold_pipelines(pipelines: Sequence[str]) -> None:
    """Refuse a sweep over folds without the pipelines that make its scores."""
    if missing := [name for name in NEEDED if name not in pipelines]:
        raise VocSegError(f"--folds pools scores of folds, so --pipelines needs {', '.join(missing)}.")
