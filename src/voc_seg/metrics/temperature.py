"""The temperature that makes the probabilities of a network mean what they say.

Scores divided by one number before the softmax give other probabilities and the same classes (Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017). The number that minimises the cross-entropy on images that were not
trained on is the temperature: above 1 where the network is overconfident, below 1 where it is underconfident.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from voc_seg.system.errors import VocSegError

from .calibration import BINS, expected_error

if TYPE_CHECKING:
    from torch import Tensor

LEAST, MOST = 0.05, 20.0
"""Temperatures looked for; networks have 0.5 to 5."""


@dataclass(frozen=True)
class ScoredPixels:
    """Pixels of several images with their class scores.

    | field  | shape     | dtype   | meaning                                                |
    |--------|-----------|---------|--------------------------------------------------------|
    | scores | (N, K)    | float32 | logits, or logarithms of probabilities, of K classes   |
    | truth  | (N,)      | int64   | class index; there is no void                          |
    | image  | (N,)      | int64   | position of the image that a pixel is in               |
    """

    scores: Tensor
    truth: Tensor
    image: Tensor

    def of(self, chosen: Tensor) -> ScoredPixels:
        """The pixels chosen by ``bool (N,)``."""
        return ScoredPixels(self.scores[chosen], self.truth[chosen], self.image[chosen])


def cross_entropy(pixels: ScoredPixels, temperature: float) -> float:
    """The mean cross-entropy of the pixels at a temperature."""
    from torch.nn.functional import cross_entropy as mean_loss

    return float(mean_loss(pixels.scores / temperature, pixels.truth))


def fit_temperature(pixels: ScoredPixels) -> float:
    """The temperature with the least cross-entropy, to three digits.

    Raises:
        VocSegError: There is no pixel, or none is wrong, or too few are right: then no temperature is best.
    """
    if not len(pixels.truth):
        raise VocSegError("No temperature can be fitted: the split has no labelled pixel.")
    # Convex in 1 / temperature, so there is one minimum.
    found = minimize_scalar(
        lambda log: cross_entropy(pixels, float(np.exp(log))), (np.log(LEAST), np.log(MOST)),
        bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-4},
    )  # fmt: skip
    temperature = float(np.exp(found.x))
    wrong = float((pixels.scores.argmax(1) != pixels.truth).double().mean())
    if not wrong or not 1.01 * LEAST < temperature < 0.99 * MOST:
        raise VocSegError(
            f"No temperature from {LEAST:g} to {MOST:g} is best for this model: {100 * wrong:.3g} % of the pixels are "
            "wrong. Train a model that makes some mistakes but not only mistakes, or calibrate on other images."
        )
    return float(f"{temperature:.3g}")


def top_label_error(pixels: ScoredPixels, temperature: float) -> float:
    """The expected calibration error of the most probable class, as `calibration.expected_error` of 15 bins."""
    return expected_error(_bins(pixels, temperature))


def cross_fitted_error(pixels: ScoredPixels) -> float:
    """The expected calibration error with the temperature of other images.

    The images are dealt into two halves in turn; each is scored with the temperature of the other, so no pixel is
    scored with a temperature that it helped to choose. NaN where a half has no temperature.
    """
    halves = [pixels.of(pixels.image % 2 == half) for half in (0, 1)]
    try:
        fitted = [fit_temperature(half) for half in halves]
    except VocSegError:
        return float("nan")
    return expected_error(_bins(halves[0], fitted[1]) + _bins(halves[1], fitted[0]))


def _bins(pixels: ScoredPixels, temperature: float) -> np.ndarray:
    """Pixels, sum of confidences and right pixels by confidence, ``float64 (BINS, 3)``."""
    confidence, found = (pixels.scores / temperature).softmax(1).max(1)
    values, right = confidence.double().numpy(), (found == pixels.truth).double().numpy()
    bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(bins, weights, BINS) for weights in (None, values, right)], -1)
