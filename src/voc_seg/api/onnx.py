"""Exported models without torch: ``voc_seg.onnx.load("model_masks.onnx").predict("photo.jpg").mask``."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voc_seg.models.onnx_digest import KEY, is_intact
from voc_seg.system.errors import VocSegError

from .predictor import Predictor, Result, require_path

__all__ = ["OnnxModel", "Result", "load"]

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_GPU = re.compile(r"cuda(:(?P<number>\d+))?")


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
        path: The file, or the folder with it.
        device: ``auto`` (a GPU if ONNX Runtime has been installed for it), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        VocSegError: The file is missing, damaged or not of this project; ONNX Runtime is not installed, or has no such
            device.
    """
    require_path(path)
    if str(path).startswith("hf:"):
        raise VocSegError(f"voc_seg.onnx.load reads files only. For {path}, use voc_seg.load, which needs torch.")
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / "model_masks.onnx"
    try:
        import onnxruntime  # optional
    except ImportError:
        raise VocSegError("ONNX models need ONNX Runtime: pip install onnxruntime") from None
    if not path.is_file():
        raise VocSegError(f"There is no file {path.absolute()}. Make it with: kedro run --pipelines export")
    if not is_onnx(path):
        raise VocSegError(
            f"{path} is not an ONNX file. Give model_masks.onnx, or use voc_seg.load for best_model.pth and "
            "model.safetensors."
        )
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        content = path.read_bytes()
        session = onnxruntime.InferenceSession(content, providers=providers)
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    except Exception as error:  # ONNX Runtime has an exception type for each cause
        reason = str(error).partition("\n")[0]
        raise VocSegError(f"{path} cannot be read as an ONNX model of this project ({reason:.200}).") from error
    if str(device).startswith("cuda") and session.get_providers()[0] != _CUDA:  # it falls back to the CPU
        raise VocSegError(
            f"device is {device}, but ONNX Runtime could not use it, and has printed the reason. Use device=auto "
            "or cpu, or install the CUDA and cuDNN that this onnxruntime-gpu needs."
        )
    if [one.name for one in session.get_inputs()] != ["image"] or "class_names" not in about:
        raise VocSegError(
            f"{path} does not take images of any size and return masks. Load model_masks.onnx, which kedro run "
            "--pipelines export writes beside it."
        )
    if KEY in about and not is_intact(content, str(about[KEY])):
        raise VocSegError(
            f"{path} is damaged: its bytes have changed. Make it again with: kedro run --pipelines export"
        )
    names = about["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):  # of another program
        raise VocSegError(f"{path} does not describe its classes as this project does: class_names is {names!r:.80}.")
    try:
        return OnnxModel(session, about)
    except (KeyError, TypeError, ValueError) as error:
        raise VocSegError(f"{path} does not describe its images as this project does ({error!r:.200}).") from error


def _providers(device: str, available: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    """What ONNX Runtime computes with, the preferred first."""
    gpu = _GPU.fullmatch(str(device))
    if gpu is None and device not in ("auto", "cpu"):
        raise VocSegError(f"device = {device!r} is not known here. Use auto, cpu, cuda or cuda:N.")
    if gpu is None and (device == "cpu" or _CUDA not in available):
        return [_CPU]
    if _CUDA not in available:
        raise VocSegError(
            f"device is {device}, but this ONNX Runtime has no CUDA. Install it with: pip install onnxruntime-gpu"
        )
    return [(_CUDA, {"device_id": (gpu and gpu["number"]) or "0"}), _CPU]


def is_onnx(path: Path) -> bool:
    """Whether a file begins as an ONNX model; false if it cannot be read, which reading it as a model reports."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    # Safetensors files begin with the length of their header, whose first byte may be any, and the header's brace.
    return start[:1] == b"\x08" and start[8:] != b"{"
