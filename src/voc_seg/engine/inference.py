"""Masks of images of any size, in memory that does not grow with the number of classes times the image size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from voc_seg.config import InferenceConfig
from voc_seg.models.registry import restore_model
from voc_seg.voc.classes import VOID

from .confidence import as_bytes, confidence_of, uncertainty_of
from .failures import INFERENCE_MEMORY_ADVICE, explain_failures
from .label_next import pooled_features
from .prediction import TYPICAL_PIXELS, images_per_forward, whole_rows
from .preprocessing import Preprocessing, preprocessing_of, recorded_settings
from .runtime import Runtime
from .scores import best_class, network_input, network_logits
from .tiles import ScoredPart, is_tiled, score_parts


@dataclass(frozen=True)
class Segmented:
    """What is predicted for one image; what was not asked for is None.

    | field       | shape  | dtype   | meaning                                                                    |
    |-------------|--------|---------|----------------------------------------------------------------------------|
    | mask        | (H, W) | uint8   | class index; void where it is less sure than ``inference.min_confidence``   |
    | confidence  | (H, W) | uint8   | 255 times the largest class probability                                    |
    | uncertainty | (H, W) | uint8   | 255 times :func:`voc_seg.engine.confidence.uncertainty_of`                  |
    | feature     | (D,)   | float32 | the encoder's last feature map, averaged over the image                    |
    """

    mask: np.ndarray
    confidence: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    feature: np.ndarray | None = None


@dataclass(frozen=True)
class Segmenter:
    """A saved model, ready to segment images; calling it gives the mask only.

    | field         | meaning                                       |
    |---------------|-----------------------------------------------|
    | model         | in evaluation mode, on the runtime's device    |
    | preprocessing | size and tiles                                |
    | runtime       | device and precision                          |
    | config        | what to return besides masks                  |
    | temperature   | by which scores are divided for probabilities |
    """

    model: nn.Module
    preprocessing: Preprocessing
    runtime: Runtime
    config: InferenceConfig
    temperature: float = 1.0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the mask of an image, as :meth:`predict` does."""
        return self.with_confidence(confidence=False).predict(image).mask

    def with_confidence(self, confidence: bool) -> "Segmenter":
        """The same, for masks and the confidence if asked for, but nothing for ``inference.label_next``."""
        return replace(self, config=self.config.model_copy(update={"confidence": confidence, "label_next": 0}))

    def predict(self, image: np.ndarray) -> Segmented:
        """Return the mask of an image, and what ``inference.confidence`` and ``inference.label_next`` ask for.

        Args:
            image: ``uint8 (H, W, C)``, as ``decode_image`` returns it for the model's ``ModelInput.pixels``.

        Raises:
            VocSegError: Memory ran out.
        """
        height, width = image.shape[:2]
        sizes = self.preprocessing.network_sizes(height, width)
        flip, tile = self.preprocessing.flip, self.preprocessing.tile
        features = pooled_features(self.model, self.config.label_next > 0)
        with explain_failures(INFERENCE_MEMORY_ADVICE), features as pooled:
            parts = score_parts(self.model, image, sizes, flip, tile, self.runtime)
            found = _read_scores(parts, (height, width), self.config, self.temperature)
        # Tiles have one size, and scales one weight, so their means are averaged.
        return replace(found, feature=torch.stack(pooled).mean(0).cpu().numpy() if pooled else None)

    def predict_same_size(self, images: Sequence[np.ndarray]) -> list[Segmented]:
        """Do the same as :meth:`predict` for images of one size, which go through the network together.

        Images that need tiles go through it one by one, as do those with ``inference.label_next``.
        """
        height, width = images[0].shape[:2]
        sizes, flip = self.preprocessing.network_sizes(height, width), self.preprocessing.flip
        if len(images) == 1 or self.config.label_next or is_tiled(sizes, self.preprocessing.tile):
            return [self.predict(image) for image in images]
        with explain_failures(INFERENCE_MEMORY_ADVICE):
            stacked = np.stack(images)
            logits = [
                network_logits(self.model, network_input(stacked, size), flip, self.runtime).split(1) for size in sizes
            ]
            parts = (whole_rows(list(one), height, width) for one in zip(*logits))
            return [_read_scores(one, (height, width), self.config, self.temperature) for one in parts]

    def images_together(self, height: int, width: int) -> int:
        """Return how many images of this size go through the network together where that is fastest."""
        sizes = self.preprocessing.network_sizes(height, width)
        pixels = max(network_height * network_width for network_height, network_width in sizes)
        return max(1, TYPICAL_PIXELS * images_per_forward(self.runtime) // pixels)


def load_segmenter(
    saved: dict[str, Any], config: InferenceConfig, runtime: Runtime, scales: Sequence[float] | None = None
) -> Segmenter:
    """Load a saved model for inference; the pipeline, Python, the server and the notebook all use it.

    Args:
        saved: The content of ``best_model.pth``, or the result of ``read_safetensors``.
        config: Reduction and tiles of large images, and what to return besides masks.
        runtime: Device and precision.
        scales: As for :func:`preprocessing_of`.

    Raises:
        VocSegError: The network cannot be restored, or does not say how it was validated.
    """
    preprocessing = preprocessing_of(saved, config, scales)
    model = runtime.place(restore_model(saved)).eval()
    return Segmenter(model, preprocessing, runtime, config, saved.get("temperature", 1.0))


def recorded_segmenter(saved: dict[str, Any], runtime: Runtime) -> Segmenter:
    """Load a saved model for masks by its own settings; see :func:`load_segmenter`."""
    config, scales = recorded_settings(saved)
    return load_segmenter(saved, config, runtime, scales)


@torch.inference_mode()
def _read_scores(
    parts: Iterable[ScoredPart], shape: tuple[int, int], config: InferenceConfig, temperature: float
) -> Segmented:
    """What ``config`` asks for, but the feature, from the scores of an image."""
    mask = np.empty(shape, dtype=np.uint8)
    confidence = np.empty_like(mask) if config.confidence else None
    uncertainty = np.empty_like(mask) if config.label_next else None
    wants_probabilities = config.confidence or config.label_next or config.min_confidence is not None
    for rows, columns, scores in parts:
        part = best_class(scores)[0].to(torch.uint8)
        if temperature != 1 and wants_probabilities:
            scores = scores / temperature
        if confidence is not None or config.min_confidence is not None:
            certain = confidence_of(scores)[0]
            if config.min_confidence is not None:
                part = part.masked_fill(certain < config.min_confidence, VOID)
            if confidence is not None:
                confidence[rows, columns] = as_bytes(certain)
        if uncertainty is not None:
            uncertainty[rows, columns] = as_bytes(uncertainty_of(scores)[0])
        mask[rows, columns] = part.cpu().numpy()
    return Segmented(mask, confidence, uncertainty)
