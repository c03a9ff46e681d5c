"""Exported models without torch: ``voc_seg.onnx.load("model_masks.onnx").predict("photo.jpg").mask``."""

from voc_seg.api.onnx import OnnxModel, load

__all__ = ["OnnxModel", "load"]
