"""How plausible the labels of masks are, judged by the probabilities of a network.

Pixels that the network confidently assigns to another class than their mask does are probably labelled wrongly. What is
confident follows from the network itself, by class (confident learning; Northcutt, Jiang and Chuang, "Confident
Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021): the threshold of a class is the mean probability of the
class over the pixels that carry its label, and a label is in doubt if the predicted class is another one and reaches
its threshold. So the threshold of a class is lower if the network is rarely sure of it.

The label quality of an image is the softmin of the probabilities of its labels over the pixels (Lad and Mueller,
"Estimating label quality and errors in semantic segmentation data via any model", ICML workshop 2023; default method of
cleanlab's ``segmentation.rank.get_label_quality_scores``): a mean in which doubtful pixels count most.

Void pixels have no label, and count in nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TEMPERATURE = 0.1
"""Of the softmin, as in the paper: a pixel with probability 0 weighs e^10 times as much as one with probability 1."""
LEAST_RECALL = 0.1
"""Classes that the network finds in a smaller share of their pixels are not judged: it has not learnt them."""


@dataclass(frozen=True)
class LabelSums:
    """Sums over labelled pixels by the class of the label, each ``(classes,)``; those of several images add up.

    | field       | dtype   | meaning                                  |
    |-------------|---------|------------------------------------------|
    | pixels      | int64   | labelled pixels                          |
    | hits        | int64   | of these, predicted as their label says  |
    | probability | float64 | sum of the probabilities of their labels |
    """

    pixels: np.ndarray
    hits: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray, probability: np.ndarray, classes: int) -> LabelSums:
        """Count labelled pixels: label and predicted class (integers), and probability of the label, all ``(n,)``."""
        return cls(
            np.bincount(labels, minlength=classes),
            np.bincount(labels[labels == predicted], minlength=classes),
            np.bincount(labels, probability.astype(np.float64), classes),
        )

    def __add__(self, other: LabelSums) -> LabelSums:
        return LabelSums(self.pixels + other.pixels, self.hits + other.hits, self.probability + other.probability)

    def thresholds(self) -> np.ndarray:
        """The mean probability of each class over the pixels with its label; NaN for a class without any.

        No confidence reaches NaN, so an absent class is never suggested.
        """
        with np.errstate(invalid="ignore"):
            return self.probability / self.pixels

    def recall(self) -> np.ndarray:
        """The share of the pixels with each label that are predicted so; NaN for a class without any."""
        with np.errstate(invalid="ignore"):
            return self.hits / self.pixels

    def judged(self) -> np.ndarray:
        """Which classes the network has learnt, ``bool (classes,)``: only their labels can be called wrong.

        A class that the network never predicts would otherwise be wrong wherever it is labelled.
        """
        return self.recall() >= LEAST_RECALL  # False for NaN


def softmin_sums(probability: np.ndarray) -> np.ndarray:
    """The two sums of the softmin of pixels ``(n,)``, ``float64 (2,)``; those of the parts of an image add up.

    The softmin is ``sum(p * w) / sum(w)`` with the weights ``w = exp((1 - p) / TEMPERATURE)``.
    """
    values = probability.astype(np.float64)
    weights = np.exp((1 - values) / TEMPERATURE)
    return np.array([(values * weights).sum(), weights.sum()])


def softmin(sums: np.ndarray) -> float:
    """The label quality, 0 (worst) to 1, from :func:`softmin_sums`; NaN without a pixel."""
    return float(sums[0] / sums[1]) if sums[1] else float("nan")
