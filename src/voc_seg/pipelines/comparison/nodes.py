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
    """One row a run, the best on val first, also printed; and a figure of scores and curves.

    Raises:
        VocSegError: There are no runs, or none of that name.
    """
    wanted = comparison.runs or ("*",)
    chosen = {name: read for name, read in runs.items() if any(fnmatchcase(name, pattern) for pattern in wanted)}
    rows = {}
    for name, read in chosen.items():
        try:
            run = read()
            rows[name] = comparison_row(run.model, run.history, run.scores)
        except VocSegError as error:
            logger.warning("%s is left out: %s", name, error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # tables and scores changed by hand
            logger.warning(
                "%s is left out: its history or scores were not written by this project (%s: %s). Make them "
                "again with: kedro run --pipelines training,evaluation", name, type(error).__name__, error,
            )  # fmt: skip
    if not rows:
        known = f" There are: {', '.join(runs)}." if runs else ""
        raise VocSegError(
            f"No runs to compare: none of {' '.join(wanted)} has a model that can be read.{known} Make one with: "
            "kedro run --pipelines training --params run=NAME"
        )
    table = compare(rows)
    logger.info("Runs by val mIoU, on which alone to choose\n%s", comparison_text(table))
    if len({row["judged_on"] for row in rows.values()}) > 1:
        logger.warning(
            "These runs were not validated alike (other val images, data.longer_side, evaluation.scale or "
            "evaluation.flip): compare only those that were."
        )
    return table, plot_runs(rows, table)
