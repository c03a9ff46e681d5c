"""Train, check and evaluate semantic segmentation networks on PASCAL VOC, as a Kedro project."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voc_seg.system.openmp import limit_spinning

if TYPE_CHECKING:
    from voc_seg import onnx as onnx
    from voc_seg.api.model import load as load

__all__ = ["load", "onnx"]
__version__ = "0.1.0"

limit_spinning()  # before anything imports torch


def __getattr__(name: str) -> Any:
    """``voc_seg.load`` and ``voc_seg.onnx``, imported when they are first used: torch takes seconds."""
    if name == "load":
        try:
            from voc_seg.api.model import load
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ModuleNotFoundError(
                "voc_seg.load needs torch, which is not installed. Without it, load model_masks.onnx with "
                "voc_seg.onnx.load.",
                name="torch",
            ) from error
        return load
    if name == "onnx":
        return import_module("voc_seg.onnx")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Include the names that are not imported yet, for completion in notebooks."""
    return sorted({*globals(), *__all__})
