"""Class scores of some pixels of every image, from which the temperature is fitted."""

import math

import torch
from torch import nn

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.calibration import STEP
from voc_seg.metrics.temperature import ScoredPixels
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import VOID

from .failures import EVALUATION_MEMORY_ADVICE, explain_failures
from .prediction import queue_scores
from .runtime import Runtime

_MAX_SCORES = 2**26
"""Scores that are kept, 256 MB: 3.2 million pixels of 21 classes, every tenth in rows and columns of VOC's val."""


def collect_scores(
    model: nn.Module,
    samples: SampleStore,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None,
) -> ScoredPixels:
    """Return the scores of labelled pixels on a grid, every ninth in rows and columns or fewer, on the host.

    The arguments are those of `voc_seg.engine.evaluation.evaluate`.

    Raises:
        VocSegError: The split is empty.
    """
    model = runtime.place(model).eval()
    if not len(samples):
        raise VocSegError(f"The temperature needs the masks of {config.split}, but the split is empty.")
    positions = samples.positions()
    pixels = sum(sample.mask.size for sample in samples)
    parts: list[ScoredPixels] = []
    with explain_failures(EVALUATION_MEMORY_ADVICE), progress_bar(f"scoring {config.split}", len(samples)) as advance:
        for sample, rows_of_scores, truth, _ in queue_scores(model, samples, config, runtime, image_size):
            for rows, columns, scores in rows_of_scores:
                classes = scores.shape[1]
                step = max(STEP, math.ceil(math.sqrt(pixels * classes / _MAX_SCORES)))
                grid = tuple(slice(-start % step, None, step) for start in (rows.start, columns.start))
                targets = truth[0, rows, columns][grid].flatten()
                labelled = targets != VOID
                targets = targets[labelled].long().cpu()
                found = scores[0][(slice(None), *grid)].flatten(1).T[labelled].cpu()
                parts.append(ScoredPixels(found, targets, torch.full_like(targets, positions[sample.id])))
            advance(1)
    return ScoredPixels(
        torch.cat([part.scores for part in parts]),
        torch.cat([part.truth for part in parts]),
        torch.cat([part.image for part in parts]),
    )
