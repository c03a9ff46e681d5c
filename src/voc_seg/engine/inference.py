"""Masks of images of any size, in memory that does not grow with the number of classes times the image size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from voc_seg.config import EvaluationConfig, InferenceConfig
from voc_seg.models.registry import restore_model
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID

from .confidence import as_bytes, confidence_of, uncertainty_of
from .failures import INFERENCE_MEMORY_ADVICE, explain_failures
from .label_next import pooled_features
from .runtime import Runtime
from .scores import network_size
from .tiles import score_parts


@dataclass(frozen=True)
class Preprocessing:
    """How images go through the network.

    | field       | meaning                                                                               |
    |-------------|---------------------------------------------------------------------------------------|
    | scales      | factors on the size; of several the probabilities are averaged, as in evaluation       |
    | flip        | as in evaluation                                                                      |
    | image_size  | height and width the training images were resized to; None if they kept their own      |
    | longer_side | larger images are reduced to this before ``scales``, unless ``image_size`` is set      |
    | tile        | pixels of the network's input; what is longer goes through it in tiles                |
    """

    scales: tuple[float, ...]
    flip: bool
    image_size: tuple[int, int] | None
    longer_side: int | None
    tile: int

    def network_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return height and width at which an image goes through the network, for each scale."""
        if self.image_size:
            return [network_size(self.image_size, scale) for scale in self.scales]
        reduction = min(1.0, self.longer_side / max(height, width)) if self.longer_side else 1.0
        return [network_size((height, width), scale * reduction) for scale in self.scales]


def preprocessing_of(
    saved: dict[str, Any], config: InferenceConfig, scales: Sequence[float] | None = None
) -> Preprocessing:
    """Return how a saved model was validated, combined with the settings for large images.

    Args:
        saved: The content of ``best_model.pth``.
        config: Reduction and tiles of large images.
        scales: ``evaluation.scales``; None is the scale of the validation.

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
    return Preprocessing(
        tuple(scales or (scale,)), flip, tuple(image_size) if image_size else None, config.longer_side, config.tile
    )


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


def evaluation_differences(
    saved: dict[str, Any], evaluation: EvaluationConfig, inference: InferenceConfig
) -> Iterator[str]:
    """Yield a warning for each setting that makes masks differ from those of the model's validation or evaluation."""
    validated = saved.get("config", {}).get("evaluation", {}).get("scale")
    if validated and evaluation.scales and not min(evaluation.scales) <= validated <= max(evaluation.scales):
        factors = " ".join(f"{scale:g}" for scale in evaluation.scales)
        yield (
            f"evaluation.scales is {factors}, but the model was validated at "
            f"{validated:g}: the network sees objects of another size. Choose factors around {validated:g}, or set "
            "evaluation.scales=null"
        )
    if evaluation.tile != inference.tile:
        yield (
            f"evaluation.tile is {evaluation.tile}, but inference.tile {inference.tile}: masks of large images may "
            "differ a little from those that are scored. Set both to the same number"
        )


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
        only_mask = self.config.model_copy(update={"confidence": False, "label_next": 0})
        return replace(self, config=only_mask).predict(image).mask

    def predict(self, image: np.ndarray) -> Segmented:
        """Return the mask of an image, and what ``inference.confidence`` and ``inference.label_next`` ask for.

        Args:
            image: ``uint8 (H, W, C)``, as ``decode_image`` returns it for the model's ``ModelInput.pixels``.

        Raises:
            VocSegError: Memory ran out.
        """
        return predict_image(self.model, image, self.preprocessing, self.runtime, self.config, self.temperature)


def load_segmenter(
    saved: dict[str, Any], config: InferenceConfig, runtime: Runtime, scales: Sequence[float] | None = None
) -> Segmenter:
    """Return what predicts masks; the inference pipeline, the notebook and the model card all use it.

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


def predict_mask(model: nn.Module, image: np.ndarray, preprocessing: Preprocessing, runtime: Runtime) -> np.ndarray:
    """Return the class of every pixel of an image, ``uint8 (H, W)``; see :func:`predict_image`."""
    return predict_image(model, image, preprocessing, runtime, InferenceConfig()).mask


@torch.inference_mode()
def predict_image(
    model: nn.Module,
    image: np.ndarray,
    preprocessing: Preprocessing,
    runtime: Runtime,
    config: InferenceConfig,
    temperature: float = 1.0,
) -> Segmented:
    """Return the mask of an image, and what else ``config`` asks for, from one pass through the network.

    Args:
        model: In evaluation mode, on the runtime's device.
        image: ``uint8 (H, W, C)``, writable memory.
        preprocessing: Size and tiles.
        runtime: Device and precision.
        config: ``confidence``, ``min_confidence`` and ``label_next``.
        temperature: By which scores are divided for probabilities (`voc_seg.metrics.temperature`).

    Raises:
        VocSegError: Memory ran out.
    """
    height, width = image.shape[:2]
    sizes = preprocessing.network_sizes(height, width)
    mask = np.empty((height, width), dtype=np.uint8)
    confidence = np.empty_like(mask) if config.confidence else None
    uncertainty = np.empty_like(mask) if config.label_next else None
    wants_probabilities = config.confidence or config.label_next or config.min_confidence is not None
    with explain_failures(INFERENCE_MEMORY_ADVICE), pooled_features(model, uncertainty is not None) as pooled:
        for rows, columns, scores in score_parts(model, image, sizes, preprocessing.flip, preprocessing.tile, runtime):
            part = scores.argmax(1)[0].to(torch.uint8)
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
    # Tiles have one size, and scales one weight, so their means are averaged.
    feature = torch.stack(pooled).mean(0).cpu().numpy() if pooled else None
    return Segmented(mask, confidence, uncertainty, feature)
