"""How images reach a saved network: at which size, and in which tiles. Everything that predicts masks asks here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from voc_seg.config import EvaluationConfig, InferenceConfig
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import Classes

from .scores import network_size


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


def settings_record(config: InferenceConfig, evaluation: EvaluationConfig, classes: Classes) -> dict[str, Any]:
    """What a saved model needs to be used without this project's settings: sizes, tiles and the colours of classes."""
    scales = list(evaluation.scales) if evaluation.scales else None
    return {
        "class_colours": [list(colour) for colour in classes.colours],
        "inference": {"longer_side": config.longer_side, "tile": config.tile, "scales": scales},
    }


def recorded_settings(saved: dict[str, Any]) -> tuple[InferenceConfig, tuple[float, ...] | None]:
    """The settings of :func:`settings_record`, and ``evaluation.scales``; the defaults for models of before."""
    record = dict(saved.get("inference") or {})
    scales = record.pop("scales", None)
    return InferenceConfig.model_validate(record), tuple(scales) if scales else None


def recorded_preprocessing(saved: dict[str, Any]) -> Preprocessing:
    """How images go through a saved network by its own settings.

    Raises:
        VocSegError: As :func:`preprocessing_of`.
    """
    return preprocessing_of(saved, *recorded_settings(saved))


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
