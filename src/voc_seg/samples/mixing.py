"""Changes to finished crops, image and mask together: copy-paste, rotation and holes.

Pixels that show nothing get the mean colour and become void; no other label is invented.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from voc_seg.voc.classes import VOID

from .crops import mean_colour
from .strengths import Strength


def paste(image: Tensor, mask: Tensor, from_image: Tensor, from_mask: Tensor, value: int) -> tuple[Tensor, Tensor]:
    """Copy the pixels of one class from another crop of the same size over a crop (Ghiasi et al., 2021).

    Args:
        image: ``uint8 (C, H, W)``.
        mask: ``uint8 (H, W)``.
        from_image: ``uint8 (C, H, W)``.
        from_mask: ``uint8 (H, W)``.
        value: The class to copy; a class, not void.
    """
    chosen = np.flatnonzero(from_mask.numpy() == value)
    height, width = mask.shape
    pixels = image.permute(1, 2, 0).numpy().copy().reshape(height * width, -1)
    pixels[chosen] = from_image.permute(1, 2, 0).numpy().reshape(height * width, -1)[chosen]
    labels = mask.numpy().copy()
    labels.reshape(-1)[chosen] = value
    return torch.from_numpy(pixels.reshape(height, width, -1)).permute(2, 0, 1), torch.from_numpy(labels)


def distort(
    image: Tensor, mask: Tensor, strength: Strength, rng: np.random.Generator, mean: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Random rotation and holes in a square crop, ``uint8 (C, H, H)`` and ``uint8 (H, H)``."""
    rotated, holed = (rng.random() < chance for chance in (strength.rotation, strength.cutout))
    if rotated:
        image, mask = rotate(image, mask, math.radians(rng.uniform(-strength.degrees, strength.degrees)), mean)
    if holed:
        for _ in range(int(rng.integers(1, strength.holes + 1))):
            image, mask = cut_hole(image, mask, strength.hole_side, rng, mean)
    return image, mask


def rotate(image: Tensor, mask: Tensor, angle: float, mean: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Rotate a square crop about its centre by an angle in radians, clockwise as seen.

    The image is interpolated bilinearly and blends into the mean colour at its border; the mask keeps its values.
    """
    size = mask.shape[-1]
    cosine, sine = math.cos(angle), math.sin(angle)
    # Positions in the image of the pixels of the result, turned back by a product of complex numbers.
    grid = torch.view_as_real(_centres(size) * complex(cosine, -sine))[None]
    colour = mean_colour(mean).float()
    # Relative to the mean, because grid_sample has zeros outside. Whole rows are the fastest layout to subtract from.
    rows = image.permute(1, 2, 0).reshape(size, -1) - colour.repeat(size)
    channels = rows.view(1, size, size, -1).permute(0, 3, 1, 2)
    found = functional.grid_sample(channels, grid, align_corners=False)[0].add_(colour[:, None, None] + 0.5)
    values = found.permute(1, 2, 0).contiguous().numpy().astype(np.uint8)  # cuts off fractions

    middle = size / 2  # the same positions in pixels
    matrix = (
        cosine, sine, middle - cosine * middle - sine * middle,
        -sine, cosine, middle + sine * middle - cosine * middle,
    )  # fmt: skip
    labels = Image.fromarray(mask.numpy()).transform(
        (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=VOID
    )
    return torch.from_numpy(values).permute(2, 0, 1), torch.from_numpy(np.array(labels))


@lru_cache(16)
def _centres(size: int) -> Tensor:
    """Column + i row of every pixel's centre, ``complex64 (size, size)``, with the edges of the crop at -1 and 1."""
    centres = (2 * torch.arange(size, dtype=torch.float32) + 1) / size - 1
    return torch.complex(*torch.meshgrid(centres, centres, indexing="xy"))


def cut_hole(
    image: Tensor, mask: Tensor, largest: float, rng: np.random.Generator, mean: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Cut a random rectangle out of a crop (cutout, DeVries and Taylor, 2017), up to ``largest`` of its side long."""
    size = mask.shape[-1]
    height, width = (max(1, round(size * side)) for side in rng.uniform(largest / 3, largest, 2).tolist())
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    image, mask = image.clone(), mask.clone()
    image[:, top : top + height, left : left + width] = mean_colour(mean)[:, None, None]
    mask[top : top + height, left : left + width] = VOID
    return image, mask
