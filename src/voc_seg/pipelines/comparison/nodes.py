"""Nodes of the comparison pipeline."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import ComparisonConfig
from voc_seg.datasets import Run
from voc_seg.metrics.intervals import unreliable_because
from voc_seg.models.members import fold_of
from voc_seg.reporting.comparison import compare, comparison_row, comparison_text, plot_runs
from voc_seg.reporting.differences import (
    ScoredImages,
    compare_images,
    difference_text,
    group_by_seed,
    plot_differences,
    same_images,
    scored_images,
)
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed, matches_any

logger = logging.getLogger(__name__)


def compare_runs(
    runs: Mapping[str, Callable[[], Run]], comparison: ComparisonConfig
) -> tuple[pd.DataFrame, Figure, pd.DataFrame, Figure]:
    """Compare runs: their scores, and which of them are distinguishable; both are also logged.

    Returns:
        A table with one row per run, the best on val first, and its figure; the differences on the same images, and
        their figure. A group that is alone has a row without a difference.

    Raises:
        VocSegError: There are no runs, or none with that name.
    """
    wanted = comparison.runs or ("*",)
    found = _read_runs({name: read for name, read in runs.items() if matches_any(name, wanted)})
    if not found:
        known = f" Runs: {', '.join(runs)}." if runs else ""
        raise VocSegError(
            f"No runs to compare: none of {' '.join(wanted)} has a readable model.{known} Train one with: "
            "kedro run --pipelines training --params run=NAME"
        )
    rows = {name: run.row for name, run in found.items()}
    table = compare(rows)
    logger.info("Runs by val mIoU, the only score to select by\n%s", comparison_text(table))
    _warn_of_unlike_validations(found)
    # In the order of the table, as the first run is the one that the others are compared with.
    images = {name: found[name].images for name in table["run"]}
    scored = {name: one for name, one in images.items() if not isinstance(one, str)}
    paired, unlike = same_images(scored)
    differences = compare_images(
        paired, group_by_seed({name: rows[name]["settings"] | rows[name]["data"] for name in paired})
    )
    counts = next(iter(paired.values())).counts if paired else None
    if counts is not None and len(paired) > 1:
        logger.info("%s", difference_text(differences, len(counts), unreliable_because(counts)))
    unpaired = {name: one for name, one in images.items() if isinstance(one, str)} | unlike
    if len(rows) > 1 and (reasons := {name: why for name, why in unpaired.items() if not found[name].of_fold}):
        logger.warning(
            "Not compared image by image:\n%s\nScore a run with: kedro run --pipelines evaluation --params run=NAME",
            "\n".join(f"  {name}: {reason}" for name, reason in reasons.items()),
        )
    count = len(counts) if counts is not None else 0
    return table, plot_runs(rows, table), differences, plot_differences(differences, count)


@dataclass(frozen=True)
class _RunToCompare:
    row: dict[str, Any]  # of `comparison_row`
    images: ScoredImages | str  # or why there are none
    of_fold: bool  # validated on a fold of train


def _read_runs(runs: Mapping[str, Callable[[], Run]]) -> dict[str, _RunToCompare]:
    """Read runs, without those that cannot be read, which are warned of."""
    found = {}
    for name, read in runs.items():
        try:
            run = read()
            images = scored_images(run.model, run.scores, run.images)
            row = comparison_row(run.model, run.history, run.scores, name)
            found[name] = _RunToCompare(row, images, bool(fold_of(run.model)))
        except VocSegError as error:
            logger.warning("%s is excluded: %s", name, error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # edited by hand
            logger.warning(
                "%s is excluded: its history or scores were not written by this project (%s: %s). Recreate "
                "them with: kedro run --pipelines training,evaluation", name, type(error).__name__, error,
            )  # fmt: skip
    return found


def _warn_of_unlike_validations(runs: Mapping[str, _RunToCompare]) -> None:
    if len({run.row["val_conditions"] for run in runs.values()} - {None}) > 1:
        logger.warning(
            "These runs were validated differently (val images, data.longer_side, evaluation.scale or "
            "evaluation.flip). Compare only runs with the same validation settings."
        )
    if on_folds := [name for name, run in runs.items() if run.of_fold]:
        logger.warning(
            "Validated on folds of train, not on val, so these scores do not compare: %s. Pool them with: kedro run "
            "--pipelines folds", listed(on_folds),
        )  # fmt: skip
