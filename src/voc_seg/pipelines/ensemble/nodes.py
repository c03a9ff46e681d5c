"""Nodes of the ensemble pipeline."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from voc_seg.config import EnsembleConfig
from voc_seg.models.ensemble import join_models
from voc_seg.models.members import members_of
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed, matches_any

logger = logging.getLogger(__name__)


def join_runs(run_models: Mapping[str, Callable[[], dict[str, Any]]], ensemble: EnsembleConfig) -> dict[str, Any]:
    """The best models of several runs as one model, whose class probabilities are the mean of theirs.

    Raises:
        VocSegError: ``ensemble.runs`` is null or names a run that does not exist, or the models do not fit together.
    """
    known = f"Runs: {listed(list(run_models), 20) or 'none'}."
    if not ensemble.runs:
        raise VocSegError(
            f"ensemble.runs does not say which runs to join. {known} Name some: --params run=ensemble,ensemble.runs="
            "'NAME NAME'"
        )
    for pattern in ensemble.runs:
        if not any(matches_any(name, [pattern]) for name in run_models):
            raise VocSegError(f"ensemble.runs: no run with a model is called {pattern}. {known}")
    chosen = {name: read() for name, read in run_models.items() if matches_any(name, ensemble.runs)}
    joined = join_models(chosen)
    logger.info("Ensemble of %d models: %s", len(members_of(joined)), listed(list(chosen), 20))
    return joined
