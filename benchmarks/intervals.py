"""How often 95 % intervals of the mIoU contain the true value: the bootstrap's, and those of this project.

    python benchmarks/intervals.py [--splits 1000]

The splits are drawn from the simulated images of tests/metrics/test_intervals.py. Both bootstraps resample the images
2,000 times: `percentile` takes the quantiles of the resampled scores, `BCa` corrects them (Efron, "Better Bootstrap
Confidence Intervals", Journal of the American Statistical Association 1987).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from measuring import console, print_table
from scipy.special import ndtr, ndtri

from voc_seg.metrics.counts import Counts
from voc_seg.metrics.intervals import score_intervals
from voc_seg.system.progress import progress_bar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.metrics.test_intervals import population

SPLITS = [(5, 20), (5, 30), (5, 100), (5, 300), (21, 30), (21, 100), (21, 300), (21, 1000)]
RESAMPLES = 2000
ENDS = np.array([0.025, 0.975])


def bootstrap_intervals(counts: Counts, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Low and high end of the mIoU by both bootstraps."""
    images = len(counts)
    times = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES).astype(float)
    found = np.sort(Counts(times @ counts.hits, times @ counts.truth, times @ counts.predicted).miou())
    without = counts.leave_one_out().miou()
    bias = ndtri(np.clip((found < counts.total().miou()).mean(), 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    spread = without.mean() - without
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
    moved = bias + ndtri(ENDS)
    return {
        "percentile": np.quantile(found, ENDS),
        "BCa": np.quantile(found, ndtr(bias + moved / (1 - acceleration * moved))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=1000, help="simulated splits for each row")
    arguments = parser.parse_args()
    rows = []
    with progress_bar("simulating splits", len(SPLITS) * arguments.splits) as advance:
        for classes, images in SPLITS:
            everything = population(classes, 4000, 1)
            true, rng = float(everything.total().miou()), np.random.default_rng(2)
            held = {"percentile": 0, "BCa": 0, "ours": 0}
            for _ in range(arguments.splits):
                counts = everything.take(rng.integers(4000, size=images))
                ends = score_intervals(counts)
                found = bootstrap_intervals(counts, rng) | {"ours": (ends["miou_low"], ends["miou_high"])}
                for name, (low, high) in found.items():
                    held[name] += bool(low <= true <= high)
                advance(1)
            rows.append([classes, images, *(f"{count / arguments.splits:.1%}" for count in held.values())])
    print_table("Intervals that contain the true mIoU", ["classes", "images", *held], rows)
    console.print(f"{arguments.splits} splits each; the standard error of a share near 95 % is "
                  f"{np.sqrt(0.95 * 0.05 / arguments.splits):.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
