"""Whether the probabilities of a network mean what they say.

A network is calibrated if, of the pixels that it labels with a confidence of 80 %, 80 % are right. The confidence is
the largest probability of a pixel. Three numbers say how far a network is from that, and how useful its confidence is:

- Expected calibration error (ECE; Guo et al., "On Calibration of Modern Neural Networks", ICML 2017): confidences in 15
  bins of equal width; the mean over the pixels of |accuracy - mean confidence| of their bin.
- Class-wise ECE (Kull et al., "Beyond temperature scaling", NeurIPS 2019): the same for the probability of each class
  and how often the pixel is of the class, over all pixels, averaged over the classes.
- AURC, area under the risk-coverage curve (Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep
  Neural Classifiers", ICLR 2019): the share of errors among the most confident pixels, averaged over all shares kept.

They are counted on every ninth pixel in rows and columns, which costs little. Nine has no factor in common with the
strides of networks, so the pixels lie anywhere between the cells of their logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from voc_seg.system.errors import VocSegError

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15
FINE = 100 * BINS
"""Bins of the confidence for the risk-coverage curve: 100 in each of the 15. Those of the last one are equal steps of
the logarithm of 1 - confidence, because most pixels of a trained network are there."""
_LOGS = 16.0  # from 1 / 15 down to the resolution of float32
STEP = 9
"""Every ninth pixel in rows and columns."""
COLUMNS = ("of", "bin", "pixels", "probability", "right")
REGIONS = ("inside", "outline")
"""Pixels inside a region of one class, and those within 8 pixels of another class or of void."""


@dataclass(frozen=True)
class Calibration:
    """Sums over pixels; those of several images add up.

    | field   | shape              | last axis                                            |
    |---------|--------------------|------------------------------------------------------|
    | top     | (2, FINE, 3)       | pixels, sum of confidences, right pixels, by region  |
    | classes | (classes, BINS, 3) | pixels, sum of probabilities, pixels of the class    |

    Both ``float64``.
    """

    top: np.ndarray
    classes: np.ndarray

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(self.top + other.top, self.classes + other.classes)


@dataclass(frozen=True)
class SampledPixels:
    """The pixels of an image, or of several, that count; on a device, which may still compute them.

    | field  | shape        | dtype   | meaning                                                      |
    |--------|--------------|---------|--------------------------------------------------------------|
    | scores | (n, classes) | float32 | logits, or logarithms of unnormalised probabilities           |
    | truth  | (n,)         | uint8   | class index or void                                          |
    | near   | (n,)         | bool    | whether the pixel is near a boundary                          |
    """

    scores: Tensor
    truth: Tensor
    near: Tensor


def sample_pixels(scores: Tensor, truth: Tensor, near: Tensor, origin: tuple[int, int] = (0, 0)) -> SampledPixels:
    """Return the pixels of a part of an image that count.

    Args:
        scores: ``float32 (1, classes, h, w)``.
        truth: ``uint8 (1, h, w)``, class index or void.
        near: Whether a pixel is near a boundary, ``bool (1, h, w)``.
        origin: Row and column of the part in its image, so that the same pixels count whatever the parts.
    """
    grid = tuple(slice(-start % STEP, None, STEP) for start in origin)
    of_pixels = scores[0].permute(1, 2, 0)[grid]  # scores have their channels last in memory
    return SampledPixels(of_pixels.flatten(0, 1), truth[0][grid].flatten(), near[0][grid].flatten())


def calibration_sums(pixels: Sequence[SampledPixels], temperature: float = 1.0) -> Calibration:
    """Return the sums of pixels, and wait for their device. Those of many images at once cost less than one by one.

    Args:
        pixels: At most 2 ** 23 pixels, up to which float32 counts exactly: Apple's GPUs have no float64.
        temperature: By which scores are divided (`voc_seg.metrics.temperature`).
    """
    import torch

    truth = torch.cat([one.truth for one in pixels])
    labelled = truth < pixels[0].scores.shape[1]
    truth, near = truth[labelled].long(), torch.cat([one.near for one in pixels])[labelled]
    probabilities = (torch.cat([one.scores for one in pixels])[labelled] / temperature).softmax(1)
    classes = probabilities.shape[1]
    confidence, prediction = probabilities.max(1)
    last = FINE // BINS * (BINS - 1)
    logs = -((1 - confidence) * BINS).clamp(min=1e-12, max=1.0).log() / _LOGS * (FINE - last)
    fine = torch.where(confidence * FINE < last, confidence * FINE, last + logs).long().clamp(max=FINE - 1)
    fine += FINE * near
    coarse = (probabilities * BINS).long().clamp_(max=BINS - 1)
    coarse += BINS * torch.arange(classes, device=truth.device)

    def summed(bins: Tensor, size: int, values: Tensor, right: Tensor) -> np.ndarray:
        added = ((bins, torch.ones_like(values)), (bins, values), (right, torch.ones_like(right, dtype=values.dtype)))
        sums = [values.new_zeros(size).index_add_(0, of.flatten(), one.flatten()) for of, one in added]
        return torch.stack(sums, -1).cpu().numpy().astype(np.float64)

    top = summed(fine, len(REGIONS) * FINE, confidence, fine[prediction == truth])
    each = summed(coarse, classes * BINS, probabilities, coarse.gather(1, truth[:, None]))
    return Calibration(top.reshape(len(REGIONS), FINE, 3), each.reshape(classes, BINS, 3))


def to_rows(found: Calibration, class_names: Sequence[str]) -> pd.DataFrame:
    """The bins that have pixels, as one row each.

    Returns:
        Columns of (``inside``, ``outline``: confidences in FINE bins; ``class NAME``: its probability in BINS bins),
        bin, and the sums pixels, probability and right (pixels that are of the class, or labelled right).
    """
    parts = [*zip(REGIONS, found.top), *zip((f"class {name}" for name in class_names), found.classes)]
    rows = [
        pd.DataFrame(sums[used], columns=["pixels", "probability", "right"]).assign(of=name, bin=used)
        for name, sums in parts
        for used in [np.flatnonzero(sums[:, 0])]
    ]
    return pd.concat(rows, ignore_index=True)[list(COLUMNS)]


def from_rows(rows: pd.DataFrame, class_names: Sequence[str]) -> Calibration:
    """The sums of the rows of :func:`to_rows`; bins without a row are empty.

    Raises:
        VocSegError: A row is of an unknown class.
    """
    rows = rows if len(rows) else pd.DataFrame(columns=list(COLUMNS))
    if unknown := set(rows["of"]) - {*REGIONS, *(f"class {name}" for name in class_names)}:
        raise VocSegError(
            f"confidence_bins.parquet has an unknown {min(unknown)}: it is of another evaluation. Recreate it with: "
            "kedro run --pipelines evaluation"
        )

    def sums(name: str, bins: int) -> np.ndarray:
        found, of_name = np.zeros((bins, 3)), rows[rows["of"] == name]
        found[of_name["bin"].to_numpy(dtype=int)] = of_name[["pixels", "probability", "right"]].to_numpy(dtype=float)
        return found

    return Calibration(
        np.stack([sums(name, FINE) for name in REGIONS]),
        np.stack([sums(f"class {name}", BINS) for name in class_names]),
    )


def reliability(top: np.ndarray) -> pd.DataFrame:
    """The reliability diagram of fine bins ``(FINE, 3)``: low and high end, pixels, confidence and accuracy by bin."""
    pixels, confidence, right = top.reshape(BINS, -1, 3).sum(1).T
    with np.errstate(invalid="ignore"):
        return pd.DataFrame({
            "low": np.arange(BINS) / BINS, "high": (np.arange(BINS) + 1) / BINS, "pixels": pixels.astype(np.int64),
            "confidence": confidence / pixels, "accuracy": right / pixels,
        })  # fmt: skip


def expected_error(bins: np.ndarray) -> float:
    """ECE of bins ``(..., bins, 3)``, averaged over the leading axes that have pixels; NaN without any."""
    pixels, confidence, right = np.moveaxis(bins, -1, 0)
    total = pixels.sum(-1)
    if not (total > 0).any():
        return float("nan")
    return float((np.abs(right - confidence).sum(-1)[total > 0] / total[total > 0]).mean())


def risk_coverage(top: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of pixels kept, from the most confident on, and the share of errors among them.

    Args:
        top: Fine bins ``(FINE, 3)``.

    Returns:
        Both ``float64 (FINE + 1,)``; the errors are NaN without a pixel.
    """
    pixels, right = (np.concatenate([[0.0], top[::-1, column].cumsum()]) for column in (0, 2))
    with np.errstate(invalid="ignore"):
        risk = 1 - right / pixels
    filled = pixels > 0
    risk[~filled] = risk[filled][0] if filled.any() else np.nan
    return pixels / max(pixels[-1], 1.0), risk


def aurc(top: np.ndarray) -> float:
    """Area under the risk-coverage curve of fine bins ``(FINE, 3)``; NaN without a pixel."""
    coverage, risk = risk_coverage(top)
    return float((np.diff(coverage) * (risk[1:] + risk[:-1]) / 2).sum())


def summarise(found: Calibration) -> dict[str, float]:
    """The scores, as in ``metrics.json``."""
    everywhere = found.top.sum(0)
    coarse = found.top.reshape(len(REGIONS), BINS, -1, 3).sum(2)
    return {
        "ece": expected_error(coarse.sum(0)),
        "ece_inside": expected_error(coarse[0]),
        "ece_outline": expected_error(coarse[1]),
        "class_ece": expected_error(found.classes),
        "aurc": aurc(everywhere),
    }
