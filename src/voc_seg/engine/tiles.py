"""Class scores of an image of any size: whole, or in overlapping tiles that are blended."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from .runtime import Runtime
from .scores import average_in_strips, network_input, network_logits

ScoredPart = tuple[slice, slice, Tensor]
"""Rows and columns of an image, and their class scores ``float32 (1, classes, rows, columns)``."""

_BLENDED = 128
"""Largest number of image pixels over which two tiles are blended; it bounds the scores that are kept meanwhile."""


@dataclass(frozen=True)
class Tile:
    """One tile along one side of an image, in its pixels.

    | field         | meaning                                                                       |
    |---------------|-------------------------------------------------------------------------------|
    | start, stop   | the part the network sees                                                     |
    | first, last   | the part whose scores are used                                                |
    | before, after | pixels at the beginning and at the end of it that are blended with a neighbour |
    | size          | network input pixels for ``start`` to ``stop``                                |
    """

    start: int
    stop: int
    first: int
    last: int
    before: int
    after: int
    size: int


def is_tiled(sizes: Sequence[tuple[int, int]], tile: int) -> bool:
    """Whether an image whose network inputs have these sizes (h, w) is larger than a tile."""
    return max(map(max, sizes)) > tile


def tiles_along(length: int, network_length: int, tile: int) -> Iterator[Tile]:
    """Yield the tiles along one side: a single one, or several that overlap by at least a quarter.

    Neighbours are blended around the middle of their overlap, over an eighth of a tile at most. So every pixel comes
    from tiles that see at least a sixteenth of a tile of context beyond it, and no pixel comes from more than two.

    Args:
        length: Pixels of the image.
        network_length: Network input pixels for the whole side.
        tile: Largest network input, pixels.
    """
    if network_length <= tile:
        yield Tile(0, length, 0, length, 0, 0, network_length)
        return
    part = max(1, length * tile // network_length)  # a tile in image pixels
    step = max(1, part * 3 // 4)
    count = -(-(length - part) // step) + 1
    blended = min(part // 8, _BLENDED)
    starts = np.linspace(0, length - part, count).astype(int).tolist()
    borders = [(start + part + after) // 2 - blended // 2 for start, after in pairwise(starts)]
    for start, first, last in zip(starts, [0, *borders], [*(border + blended for border in borders), length]):
        yield Tile(start, start + part, first, last, blended * (first > 0), blended * (last < length), tile)


@torch.inference_mode()
def score_parts(
    model: nn.Module,
    image: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    flip: bool,
    tile: int,
    runtime: Runtime,
) -> Iterator[ScoredPart]:
    """Yield the class scores of an image part by part; the parts cover every pixel once.

    A large image is cut into tiles. Where two overlap, the weight of the later one rises from 0 to 1 along a raised
    cosine, so that no edge shows. Every tile goes through the network at all ``sizes``. Besides the scores of one tile,
    only those of its blended edges are kept: ``classes * width`` numbers for at most 128 rows.

    Args:
        model: In evaluation mode, on the runtime's device.
        image: ``uint8 (H, W, C)``, writable memory.
        sizes: Height and width of the network's input for the whole image, one for each scale.
        flip: Whether to average with the mirrored image.
        tile: Side of the largest network input, pixels.
        runtime: Device and precision.
    """
    height, width = image.shape[:2]
    largest = tuple(max(lengths) for lengths in zip(*sizes))
    above: Tensor | None = None  # the blended rows of the tiles above, over the whole width
    for rows in tiles_along(height, largest[0], tile):
        left: Tensor | None = None  # the blended columns of the tile to the left
        for columns in tiles_along(width, largest[1], tile):
            window = image[rows.start : rows.stop, columns.start : columns.stop]
            logits = []
            for size in sizes:
                # At the largest scale that is the size of the tile.
                shape = [max(1, round(n * side.size / most)) for n, side, most in zip(size, (rows, columns), largest)]
                pixels = network_input(window[None], (shape[0], shape[1]))
                logits.append(network_logits(model, pixels, flip, runtime))
            empty = logits[0].new_empty
            if rows.after and above is None:
                above = empty((1, logits[0].shape[1], rows.after, width))
            right = empty((1, logits[0].shape[1], rows.last - rows.first, columns.after)) if columns.after else None
            for strip, scores in average_in_strips(logits, *window.shape[:2]):
                first, last = max(rows.first, rows.start + strip.start), min(rows.last, rows.start + strip.stop)
                if first >= last:
                    continue
                offset = rows.start + strip.start
                scores = scores[:, :, first - offset : last - offset]
                scores = scores[..., columns.first - columns.start : columns.last - columns.start]
                inside = slice(first - rows.first, last - rows.first)
                scores = _blend_columns(scores, columns, left, right, inside)
                across = slice(columns.first, columns.last - columns.after)
                scores = _blend_rows(scores, rows, above, inside, across)
                if scores.shape[2]:
                    yield slice(first, first + scores.shape[2]), across, scores
            left = right


def _blend_columns(scores: Tensor, columns: Tile, left: Tensor | None, right: Tensor | None, inside: slice) -> Tensor:
    """Blend with the tile to the left; move the columns that the tile to the right shares into ``right``."""
    if columns.before and left is not None:
        blended = torch.lerp(left[:, :, inside], scores[..., : columns.before], _ramp(columns.before, scores))
        scores = torch.cat([blended, scores[..., columns.before :]], dim=3)
    if right is None:
        return scores
    kept = scores.shape[3] - columns.after
    right[:, :, inside] = scores[..., kept:]
    return scores[..., :kept]


def _blend_rows(scores: Tensor, rows: Tile, above: Tensor | None, inside: slice, across: slice) -> Tensor:
    """Blend with the tiles above; move the rows that the tiles below share into ``above``."""
    if above is None:
        return scores
    if inside.start < rows.before:
        common = slice(inside.start, min(inside.stop, rows.before))
        count = common.stop - common.start
        weights = _ramp(rows.before, scores)[common, None]
        blended = torch.lerp(above[:, :, common, across], scores[:, :, :count], weights)
        scores = torch.cat([blended, scores[:, :, count:]], dim=2)
    shared = rows.last - rows.first - rows.after  # from here on the rows are shared
    if not rows.after or inside.stop <= shared:
        return scores
    kept = max(0, shared - inside.start)
    above[:, :, inside.start + kept - shared : inside.stop - shared, across] = scores[:, :, kept:]
    return scores[:, :, :kept]


def _ramp(length: int, like: Tensor) -> Tensor:
    """Weights from 0 to 1, ``(length,)``: half a period of a raised cosine (Hann window)."""
    position = (torch.arange(length, dtype=like.dtype, device=like.device) + 0.5) / length
    return (1 - torch.cos(math.pi * position)) / 2
