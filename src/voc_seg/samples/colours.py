"""Random changes of an image's colours and sharpness; its mask is unaffected."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .strengths import Strength

_LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey image (Rec. 601)."""
_MEAN_STEP = 4
"""The mean that contrast refers to is taken over every n-th row and column."""


def jitter_colours(image: Tensor, amount: float, rng: np.random.Generator) -> Tensor:
    """Random brightness, saturation and contrast, each a factor in [1 - amount, 1 + amount].

    Saturation changes the first three channels, and only where there are three.

    Args:
        image: ``uint8 (C, H, W)``.
        amount: Largest relative change.
        rng: Source of the three factors.

    Returns:
        ``uint8 (C, H, W)``.
    """
    brightness, saturation, contrast = (float(rng.uniform(1 - amount, 1 + amount)) for _ in range(3))
    values = image.float() * brightness
    if len(values) >= 3:
        colours = values[:3]
        saturated = torch.lerp(colours.mean(0, keepdim=True), colours, saturation)
        values = saturated if len(values) == 3 else torch.cat([saturated, values[3:]])
    values = torch.lerp(values.mean(), values, contrast)
    return values.round_().clamp_(0, 255).to(torch.uint8)


def change_look(image: Tensor, strength: Strength, rng: np.random.Generator) -> Tensor:
    """Random colours, grey and blur.

    Args:
        image: ``uint8 (C, H, W)``, channels-last in memory, as is the result.
        strength: Probabilities and amounts.
        rng: Source of every random choice.
    """
    recolour, grey, blurred = (rng.random() < chance for chance in (strength.colours, strength.grey, strength.blur))
    if recolour or grey:
        brightness = contrast = saturation = 1.0
        hue = 0.0
        if recolour:
            brightness, contrast, saturation = rng.uniform(1 - strength.amount, 1 + strength.amount, 3).tolist()
            hue = math.radians(rng.uniform(-strength.hue, strength.hue))
        image = recolour_image(image, brightness, contrast, 0.0 if grey else saturation, hue)
    if blurred:
        image = blur(image, int(rng.integers(1, strength.blur_passes + 1)))
    return image


def recolour_image(image: Tensor, brightness: float, contrast: float, saturation: float, hue: float) -> Tensor:
    """Change brightness, contrast, saturation and hue in one pass, with one matrix (Haeberli, "Matrix Operations for
    Image Processing", 1993).

    Args:
        image: ``uint8 (C, H, W)``, channels-last in memory, as is the result.
        brightness: Factor of all values.
        contrast: Factor of the distance to the mean of the image.
        saturation: Factor of the distance to grey; 0 makes the image grey.
        hue: Angle in radians by which colours are turned around the grey axis.

    Saturation and hue change the first three channels, and only where there are three. Values are clipped.
    """
    pixels = image.permute(1, 2, 0).numpy()
    sampled = pixels[::_MEAN_STEP, ::_MEAN_STEP]
    offset = (1 - contrast) * brightness * (int(sampled.sum(dtype=np.int64)) / sampled.size)
    factor = brightness * contrast
    channels = pixels.shape[2]
    if channels < 3 or (saturation == 1 and hue == 0):
        return torch.from_numpy(_scale(pixels, factor, offset)).permute(2, 0, 1)
    matrix = factor * (_saturation(saturation) @ _hue(hue))
    # Pillow is faster than torch here, and its result does not depend on the number of threads.
    rows = np.concatenate([matrix, np.full((3, 1), offset)], axis=1)
    colours = Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("RGB", tuple(rows.ravel().tolist()))
    changed = np.array(colours)
    if channels > 3:
        changed = np.concatenate([changed, _scale(pixels[..., 3:], factor, offset)], axis=2)
    return torch.from_numpy(changed).permute(2, 0, 1)


def _scale(pixels: np.ndarray, factor: float, offset: float) -> np.ndarray:
    return np.clip(np.rint(factor * np.arange(256) + offset), 0, 255).astype(np.uint8).take(pixels)


def _saturation(factor: float) -> np.ndarray:
    return factor * np.eye(3) + (1 - factor) * _LUMA  # each row is that of grey


def _hue(angle: float) -> np.ndarray:
    """Rotation about the axis (1, 1, 1), by Rodrigues' formula; grey stays grey."""
    cosine, sine = math.cos(angle), math.sin(angle) / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cosine * np.eye(3) + sine * cross + (1 - cosine) / 3 * np.ones((3, 3))


def blur(image: Tensor, passes: int) -> Tensor:
    """Blur ``uint8 (C, H, W)`` with (1, 2, 1) / 4 along both axes.

    n passes are close to a Gaussian of sigma sqrt(n / 2) pixels.
    """
    pixels = image.permute(1, 2, 0).numpy()
    for _ in range(passes):
        pixels = _smooth(_smooth(pixels).swapaxes(0, 1)).swapaxes(0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _smooth(pixels: np.ndarray) -> np.ndarray:
    """(1, 2, 1) / 4 along the first axis; the border is repeated."""
    total = pixels.astype(np.uint16)
    total += total
    total += 2  # rounds
    total[1:] += pixels[:-1]
    total[0] += pixels[0]
    total[:-1] += pixels[1:]
    total[-1] += pixels[-1]
    total >>= 2
    return total.astype(np.uint8)
