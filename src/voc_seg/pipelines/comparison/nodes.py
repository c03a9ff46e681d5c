"""Nodes of the comparison pipeline."""

import logging
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import ComparisonConfig
from voc_seg.datasets import Run
from voc_seg.reporting.comparison import compare, comparison_row, comparison_text, plot_runs
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)


def compare_runs(runs: Mapping[str, Callable[[], Run]], comparison: ComparisonConfig) -> tuple[pd.DataFrame, Figure]:
    """Compare runs: a table with one row per run, the best on val first, which is also logged, and a figure.

    Raises VocSegError if there are no runs, or none with that name.
    """
    wanted = comparison.runs or ("*",)
    chosen = {name: read for name, read in runs.items() if any(fnmatchcase(name, pattern) for pattern in wanted)}
    rows = {}
    for name, read in chosen.items():
        try:
            run = read()
            rows[name] = comparison_row(run.model, run.history, run.scores)
        except VocSegError as error:
            logger.warning("%s is excluded: %s", name, error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # edited by hand
            logger.warning(
                "%s is excluded: its history or scores were not written by this project (%s: %s). Recreate "
                "them with: kedro run --pipelines training,evaluation", name, type(error).__name__, error,
            )  # fmt: skip
    if not rows:
        known = f" Runs: {', '.join(runs)}." if runs else ""
        raise VocSegError(
            f"No runs to compare: none of {' '.join(wanted)} has a readable model.{known} Train one with: "
            "kedro run --pipelines training --params run=NAME"
        )
    table = compare(rows)
    logger.info("Runs by val mIoU, the only score to select by\n%s", comparison_text(table))
    if len({row["val_conditions"] for row in rows.values()}) > 1:
        logger.warning(
            "These runs were validated differently (val images, data.longer_side, evaluation.scale or "
            "evaluation.flip). Compare only runs with the same validation settings."
        )
    return table, plot_runs(rows, table)
