"""Mean and standard deviation of the channels of images that are not RGB, from sums over each image."""

from collections.abc import Iterable

import numpy as np

_LEAST_STD = 1 / 255
"""Standard deviation of a channel that hardly varies: one step of 8 bits."""


def channel_sums(image: np.ndarray) -> str:
    """Number of pixels, and the sums of values and of squared values of each channel of ``uint8 (H, W, C)``, as text.

    Empty for RGB images, which are normalised by ImageNet's statistics.
    """
    if image.shape[2] == 3:
        return ""
    counts = [np.bincount(image[..., channel].reshape(-1), minlength=256) for channel in range(image.shape[2])]
    values = np.arange(256)
    sums, squares = ([int(count @ powers) for count in counts] for powers in (values, values**2))
    return " ".join(map(str, [image.shape[0] * image.shape[1], *sums, *squares]))


def channel_statistics(sums: Iterable[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of the images, of values in [0, 1].

    Args:
        sums: Results of `channel_sums`.

    Returns:
        Both are empty if there are no sums.
    """
    rows = [[int(number) for number in text.split()] for text in sums if text]
    if not rows:
        return (), ()
    pixels, *totals = (sum(column) for column in zip(*rows))  # as integers, so that the order does not matter
    channels = len(totals) // 2
    means = [total / pixels for total in totals[:channels]]
    variances = [max(0.0, square / pixels - mean**2) for square, mean in zip(totals[channels:], means)]
    stds = (max(_LEAST_STD, variance**0.5 / 255) for variance in variances)
    return tuple(round(mean / 255, 6) for mean in means), tuple(round(std, 6) for std in stds)
