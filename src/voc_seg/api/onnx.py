"""Exported models without torch: ``voc_seg.onnx.load("model_masks.onnx").predict("photo.jpg").mask``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voc_seg.system.errors import VocSegError

from .predictor import Predictor, Result, require_path

__all__ = ["OnnxModel", "Result", "load"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxModel(Predictor):
    """A model that ``kedro run --pipelines export`` has written as ``model_masks.onnx``; :func:`load` makes it."""

    def __init__(self, session: Any, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._session = session

    def __repr__(self) -> str:
        return f"OnnxModel({len(self.classes)} classes, {self._session.get_providers()[0]})"

    def _segment(self, images: Sequence[np.ndarray], confidence: bool) -> list[tuple[np.ndarray, np.ndarray | None]]:
        if confidence:
            raise VocSegError(
                "model_masks.onnx returns masks only. For the confidence, load best_model.pth or model.safetensors."
            )
        return [(self._session.run(["mask"], {"image": image})[0], None) for image in images]


def load(path: Path | str, device: str = "auto") -> OnnxModel:
    """Load ``model_masks.onnx``.

    Args:
        path: The file.
        device: ``auto`` (a GPU if ONNX Runtime has been installed for it), ``cpu`` or ``cuda``.

    Raises:
        VocSegError: The file is missing, damaged or not of this project; ONNX Runtime is not installed, or has no such
            device.
    """
    require_path(path)
    path = Path(path).expanduser()
    try:
        import onnxruntime  # optional
    except ImportError:
        raise VocSegError("ONNX models need ONNX Runtime: pip install onnxruntime") from None
    if not path.is_file():
        raise VocSegError(f"There is no file {path.absolute()}. Make it with: kedro run --pipelines export")
    if not is_onnx(path):
        raise VocSegError(f"{path} is not an ONNX file. voc_seg.load reads best_model.pth and model.safetensors.")
    available = onnxruntime.get_available_providers()
    wanted = [name for kind, name in _PROVIDERS.items() if device in ("auto", kind)][::-1]
    if not (providers := [name for name in wanted if name in available]):
        raise VocSegError(f"device is {device}, but ONNX Runtime has only {', '.join(available)} here.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    except Exception as error:  # ONNX Runtime has an exception type for each cause
        reason = str(error).partition("\n")[0]
        raise VocSegError(f"{path} cannot be read as an ONNX model of this project ({reason:.200}).") from error
    if [one.name for one in session.get_inputs()] != ["image"] or "class_names" not in about:
        raise VocSegError(
            f"{path} does not take images of any size and return masks. Load model_masks.onnx, which kedro run "
            "--pipelines export writes beside it."
        )
    return OnnxModel(session, about)


def is_onnx(path: Path) -> bool:
    """Whether a file begins as an ONNX model; false if it cannot be read, which reading it as a model reports."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    # Safetensors files begin with the length of their header, whose first byte may be any, and the header's brace.
    return start[:1] == b"\x08" and start[8:] != b"{"
