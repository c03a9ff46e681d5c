"""Nodes of the folds pipeline."""

import logging
from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import ComparisonConfig
from voc_seg.datasets import Run
from voc_seg.metrics.intervals import unreliable_because
from voc_seg.models.members import fold_of, members_of
from voc_seg.reporting.comparison import comparison_settings
from voc_seg.reporting.differences import compare_images, difference_text, group_by_seed, same_images
from voc_seg.reporting.folds import (
    FoldRun,
    Pooled,
    ensembles_of,
    fold_class_table,
    fold_run,
    fold_table,
    fold_text,
    pool,
)
from voc_seg.reporting.folds_figure import plot_folds
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import matches_any

logger = logging.getLogger(__name__)


def pool_folds(
    runs: Mapping[str, Callable[[], Run]], comparison: ComparisonConfig
) -> tuple[pd.DataFrame, pd.DataFrame, Figure]:
    """Pool the scores of runs that were trained without one fold of train each; the scores are also logged.

    Runs with the same settings are pooled. ``comparison.runs`` chooses the runs.

    Returns:
        A table with a row for each fold, for all folds together and for their ensemble, if it is among the runs;
        the pooled scores of every class; and a figure.

    Raises:
        VocSegError: For no settings there is a scored run on every fold.
    """
    wanted = comparison.runs or ("*",)
    found: list[FoldRun] = []
    ensembles, reasons = {}, []
    for name, read in runs.items():
        if not matches_any(name, wanted):
            continue
        try:
            run = read()
            if members_of(run.model):
                ensembles[name] = run.model, run.scores
            elif fold_of(run.model):
                one = fold_run(name, run.model, comparison_settings(run.model), run.scores, run.images)
                if isinstance(one, str):
                    reasons.append(f"{name}: {one}")
                else:
                    found.append(one)
        except VocSegError as error:
            reasons.append(f"{name}: {error}")
    pooled, incomplete = pool(found)
    scored, problems = ensembles_of(pooled, ensembles)
    if lines := [f"  {reason}" for reason in (*reasons, *incomplete, *problems)]:
        logger.warning("Not pooled:\n%s", "\n".join(lines))
    if not pooled:
        raise VocSegError(
            f"There is nothing to pool: no settings have a scored run on every fold of train (runs: {len(found)} on "
            "folds). Train and score all of them with: kedro sweep --folds 5"
        )
    table, classes = fold_table(pooled, scored), fold_class_table(pooled)
    logger.info("%s", fold_text(table, classes))
    for name, group in pooled.items():
        if reason := unreliable_because(group.counts):
            logger.warning("The 95 %% intervals of %s are unreliable: %s.", name, reason)
    _log_differences(pooled)
    return table, classes, plot_folds(pooled, table, classes)


def _log_differences(pooled: Mapping[str, Pooled]) -> None:
    """Log which settings are distinguishable on the images of train; seeds are a group."""
    paired, _ = same_images({name: group.scored for name, group in pooled.items()})
    if len(paired) < 2:
        return
    counts = next(iter(paired.values())).counts
    # Divisions into other numbers of folds train on other shares of the images: they are no seeds of one another.
    groups = group_by_seed(
        {name: {**pooled[name].runs[0].settings, "folds": len(pooled[name].runs)} for name in paired}
    )
    logger.info("%s", difference_text(compare_images(paired, groups), len(counts), unreliable_because(counts)))
