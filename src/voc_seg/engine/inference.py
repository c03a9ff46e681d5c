"""Masks of images of any size, in memory that does not grow with the number of classes times the image size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voc_seg.config import InferenceConfig
from voc_seg.models.registry import restore_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.system.errors import VocSegError

from .failures import INFERENCE_MEMORY_ADVICE, explain_failures
from .prediction import network_input, network_logits, network_size, upsample_in_strips
from .runtime import Runtime


@dataclass(frozen=True)
class Preprocessing:
    """How images go through the network.

    | field       | meaning                                                                               |
    |-------------|---------------------------------------------------------------------------------------|
    | scale, flip | as in evaluation                                                                      |
    | image_size  | height and width the training images were resized to; None if they kept their own      |
    | longer_side | larger images are reduced to this before ``scale``, unless ``image_size`` is set |
    | tile        | pixels of the network's input; what is longer goes through it in tiles                |
    """

    scale: float
    flip: bool
    image_size: tuple[int, int] | None
    longer_side: int | None
    tile: int

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width at which an image goes through the network."""
        if self.image_size:
            return network_size(self.image_size, self.scale)
        reduction = min(1.0, self.longer_side / max(height, width)) if self.longer_side else 1.0
        return network_size((height, width), self.scale * reduction)


def preprocessing_of(saved: dict[str, Any], config: InferenceConfig) -> Preprocessing:
    """Return how a saved model was validated, combined with the settings for large images.

    Raises:
        VocSegError: The model does not say.
    """
    try:
        evaluation, image_size = saved["config"]["evaluation"], saved["image_size"]
        scale, flip = evaluation["scale"], evaluation["flip"]
    except (KeyError, TypeError):
        raise VocSegError(
            "best_model does not say with which evaluation.scale it was validated: an earlier version wrote it. "
            "Retrain: kedro run --pipelines training"
        ) from None
    return Preprocessing(scale, flip, tuple(image_size) if image_size else None, config.longer_side, config.tile)


def inference_scale_warning(saved: dict[str, Any], stored: int | None, config: InferenceConfig) -> str:
    """Return a warning if larger images would reach the network at another scale than the packed images did.

    Args:
        saved: The content of ``best_model.pth``.
        stored: ``data.longer_side``, to which images were reduced when they were packed.
        config: Reduction of large images.

    Returns:
        Empty if the scales agree.
    """
    if not stored or saved.get("image_size") or config.longer_side == stored:
        return ""
    return (
        f"data.longer_side is {stored}, but inference.longer_side {config.longer_side or 'null'}: larger images go "
        "through the network at another scale than the images of training and evaluation. "
        f"Set inference.longer_side={stored}"
    )


def load_segmenter(
    saved: dict[str, Any], config: InferenceConfig, runtime: Runtime
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that predicts masks; the inference pipeline, the notebook and the model card all use it.

    Args:
        saved: The content of ``best_model.pth``, or the result of ``read_safetensors``.
        config: Reduction and tiles of large images.
        runtime: Device and precision.

    Returns:
        Takes ``uint8 (H, W, C)``, as ``decode_image`` returns it for the model's ``ModelInput.pixels``, and returns
        ``uint8 (H, W)``, class index; it raises VocSegError when memory runs out.

    Raises:
        VocSegError: The network cannot be restored, or does not say how it was validated.
    """
    preprocessing = preprocessing_of(saved, config)
    model = runtime.place(restore_model(saved)).eval()
    return lambda image: predict_mask(model, image, preprocessing, runtime)


@torch.inference_mode()
def predict_mask(
    model: SegmentationNet, image: np.ndarray, preprocessing: Preprocessing, runtime: Runtime
) -> np.ndarray:
    """Return the class of every pixel of an image.

    Args:
        model: In evaluation mode, on the runtime's device.
        image: ``uint8 (H, W, C)``, writable memory.
        preprocessing: Size and tiles.
        runtime: Device and precision.

    Returns:
        ``uint8 (H, W)``, class index.

    Raises:
        VocSegError: Memory ran out.
    """
    height, width = image.shape[:2]
    size = preprocessing.network_size(height, width)
    mask = np.empty((height, width), dtype=np.uint8)
    with explain_failures(INFERENCE_MEMORY_ADVICE):
        for rows in tiles_along(height, size[0], preprocessing.tile):
            for columns in tiles_along(width, size[1], preprocessing.tile):
                window = image[rows.start : rows.stop, columns.start : columns.stop]
                pixels = network_input(window[None], (rows.size, columns.size))
                logits = network_logits(model, pixels, preprocessing.flip, runtime)
                found = argmax_at_size(logits, *window.shape[:2])
                mask[rows.first : rows.last, columns.first : columns.last] = found[
                    rows.first - rows.start : rows.last - rows.start,
                    columns.first - columns.start : columns.last - columns.start,
                ]
    return mask


@dataclass(frozen=True)
class Tile:
    """One tile along one side of an image, in its pixels.

    | field       | meaning                                          |
    |-------------|--------------------------------------------------|
    | start, stop | the part the network sees                            |
    | first, last | the part whose classes are kept            |
    | size        | network input pixels for ``start`` to ``stop`` |
    """

    start: int
    stop: int
    first: int
    last: int
    size: int


def tiles_along(length: int, network_length: int, tile: int) -> Iterator[Tile]:
    """Yield the tiles along one side: a single one, or several that overlap by at least a quarter.

    Neighbours meet in the middle of their overlap, so every pixel comes from a tile that sees at least an eighth of a
    tile of context beyond it.

    Args:
        length: Pixels of the image.
        network_length: Network input pixels for the whole side.
        tile: Largest network input, pixels.
    """
    if network_length <= tile:
        yield Tile(0, length, 0, length, network_length)
        return
    part = max(1, length * tile // network_length)  # a tile in image pixels
    step = max(1, part * 3 // 4)
    count = -(-(length - part) // step) + 1
    starts = np.linspace(0, length - part, count).astype(int).tolist()
    borders = [0, *((start + part + after) // 2 for start, after in pairwise(starts)), length]
    for start, (first, last) in zip(starts, pairwise(borders)):
        yield Tile(start, start + part, first, last, tile)


def argmax_at_size(logits: Tensor, height: int, width: int) -> np.ndarray:
    """Upsample logits to the image's size and return the best class of every pixel.

    Args:
        logits: ``float32 (1, classes, h, w)``.
        height: Of the image, pixels.
        width: Of the image, pixels.

    Returns:
        ``uint8 (height, width)``.
    """
    classes = np.empty((height, width), dtype=np.uint8)
    for rows, scores in upsample_in_strips(logits, height, width):
        classes[rows] = scores.argmax(1)[0].to(torch.uint8).cpu().numpy()
    return classes
