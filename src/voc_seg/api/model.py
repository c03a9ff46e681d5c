"""Models in PyTorch: ``voc_seg.load("best_model.pth").predict("photo.jpg").mask``."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from voc_seg.config import EvaluationConfig, InferenceConfig, RuntimeConfig
from voc_seg.config.block import value_fault
from voc_seg.engine.inference import Segmenter, load_segmenter
from voc_seg.engine.preprocessing import recorded_settings
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.exchange import TORCH, read_saved
from voc_seg.models.saved import require_best_model
from voc_seg.system.errors import VocSegError

from . import onnx
from .hub import download_from_hub, is_on_hub
from .predictor import Predictor, Result, require_path

__all__ = ["Model", "Predictor", "Result", "load"]

_SETTINGS = ("longer_side", "tile", "min_confidence", "scales")
_PROJECT_KEY = re.compile(rf"\b(runtime|inference|evaluation)\.(?=(device|precision|{'|'.join(_SETTINGS)})\b)")


class Model(Predictor):
    """A trained model in PyTorch; :func:`load` makes it."""

    def __init__(self, saved: dict[str, Any], segmenter: Segmenter) -> None:
        super().__init__(saved)
        self._segmenter = segmenter
        self._about = f"{saved['model_config']['encoder']}, {len(self.classes)} classes, {segmenter.runtime}"

    def __repr__(self) -> str:
        return f"Model({self._about})"

    def _segment(self, images: Sequence[np.ndarray], confidence: bool) -> list[tuple[np.ndarray, np.ndarray | None]]:
        with _arguments_named():
            found = self._segmenter.with_confidence(confidence).predict_same_size(images)
        return [(one.mask, one.confidence) for one in found]

    def images_together(self, height: int, width: int) -> int:
        return self._segmenter.images_together(height, width)


def load(path: Path | str, device: str = "auto", precision: str = "auto", **settings: Any) -> Predictor:
    """Load a trained model; its masks equal those of ``kedro run --pipelines inference``.

    Args:
        path: ``best_model.pth``, an exported ``model.safetensors``, the folder with one of these, ``model_masks.onnx``
            or ``model_masks_int8.onnx``; or ``hf://USER/NAME``, a model on the Hugging Face Hub, see
            :func:`voc_seg.api.hub.download_from_hub`.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``bf16``, ``fp16`` or ``fp32``.
        settings: Instead of those that the model was trained or exported with, as in the block ``inference`` of
            parameters.yml: ``longer_side``, ``tile``, ``min_confidence``; and ``scales``, ``evaluation.scales``.

    Raises:
        VocSegError: The file is missing, damaged or no model, or the hub cannot be reached; or a setting is unknown or
            has a wrong value.
    """
    require_path(path)
    path = download_from_hub(path) if is_on_hub(path) else Path(path).expanduser()
    if path.is_dir():
        path = next((path / name for name in (TORCH, "best_model.pth") if (path / name).is_file()), path / TORCH)
    if onnx.is_onnx(path):
        if settings or precision != "auto":
            raise VocSegError(
                f"{path} is an ONNX file: settings and precision were fixed by its export. Give only device."
            )
        return onnx.load(path, device)
    if not path.is_file():
        raise VocSegError(f"There is no file {path.absolute()}. Give the path of best_model.pth; kedro run makes one.")
    saved = read_saved(path)
    require_best_model(saved, str(path))
    try:
        config, scales = recorded_settings(saved)
    except (ValidationError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise VocSegError(
            f"{path} has settings for inference that this version does not know ({reason:.200})."
        ) from error
    if unknown := sorted(settings.keys() - set(_SETTINGS)):
        raise VocSegError(f"load has no setting {', '.join(unknown)}. There are: {', '.join(_SETTINGS)}.")
    try:
        if "scales" in settings:
            scales = EvaluationConfig.model_validate({"scales": settings.pop("scales")}).scales
        config = InferenceConfig.model_validate(config.model_dump() | settings)
        runtime = RuntimeConfig.model_validate({"device": device, "precision": precision})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise VocSegError(f"{key} = {first['input']!r}: {value_fault(first)}") from None
    with _arguments_named():
        return Model(saved, load_segmenter(saved, config, choose_runtime(runtime), scales))


@contextmanager
def _arguments_named() -> Iterator[None]:
    """Name the arguments of `load` in messages that name settings of a project: device for runtime.device."""
    try:
        yield
    except VocSegError as error:
        raise VocSegError(_PROJECT_KEY.sub("", str(error))) from error
