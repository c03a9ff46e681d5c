"""A trained network as ONNX, for any batch size, height and width, verified against torch."""

import copy
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from voc_seg.system.errors import VocSegError

from .segmentation_net import input_of

logger = logging.getLogger(__name__)

OPSET = 18
"""ONNX operator set; supported since ONNX Runtime 1.14."""
INPUT, OUTPUT = "images", "logits"
CHECKED = ((1, 1, 1), (1, 33, 95), (2, 64, 127), (3, 201, 130), (1, 375, 500))
"""Batch, height and width compared with torch; all differ from the example of the export."""
TOLERANCE = 1e-4
"""Largest difference accepted as rounding, relative to the largest logit."""


@dataclass(frozen=True)
class ExportedNetwork:
    """A network as ONNX.

    | field      | type  | meaning                                                     |
    |------------|-------|-------------------------------------------------------------|
    | content    | bytes | the file                                                    |
    | difference | float | largest difference to torch's logits over the sizes checked |
    | runtime    | str   | version of ONNX Runtime it was checked with                 |
    """

    content: bytes
    difference: float
    runtime: str


def missing_packages() -> list[str]:
    """Packages of the extra ``onnx`` that are not installed."""
    return [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]


def to_onnx(model: nn.Module, metadata: dict[str, str]) -> ExportedNetwork:
    """Export a network to ONNX and compare it with torch at several sizes.

    Args:
        model: In evaluation mode, on the CPU.
        metadata: Text to write into the file, by name.

    Returns:
        The file: input ``images float32 (batch, C, height, width)``, normalised, output ``logits float32 (batch,
        classes, height, width)``.

    Raises:
        VocSegError: torch could not export it, or the file's results differ from torch's.
    """
    import onnx  # optional, as is onnxruntime

    logger.info("Exporting to ONNX (opset %d) and checking it at %d sizes", OPSET, len(CHECKED))
    try:
        with _padding_of_whole_strides():
            program = torch.onnx.export(
                # Contiguous: with weights in channels-last memory torch.export does not solve the sizes.
                copy.deepcopy(model).to(memory_format=torch.contiguous_format),
                (torch.zeros(2, input_of(model).channels, 70, 101),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise VocSegError(
            f"torch {torch.__version__} could not export the network to ONNX ({str(error).partition(chr(10))[0]}). "
            "This is tested with torch 2.14; install that, or skip ONNX: pip uninstall onnxscript"
        ) from error
    assert program is not None, "the exporter of torch.export returns one"
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata)
    # The exporter writes formulas of padding and cropping here, which equal the input size.
    for side, name in zip(proto.graph.output[0].type.tensor_type.shape.dim[2:], ("height", "width")):
        side.dim_param = name
    content = proto.SerializeToString()
    return ExportedNetwork(content, largest_difference(model, content), version("onnxruntime"))


@contextmanager
def _padding_of_whole_strides() -> Iterator[None]:
    """Give timm's TensorFlow padding a constant size while the network is exported.

    timm computes it from the size of the input, which torch.export cannot simplify over many layers. Images are padded
    to multiples of the encoder's stride, so all maps are multiples of the strides of their layers, and for these
    the formula gives a constant.
    """
    padding: Any = sys.modules.get("timm.layers.padding")
    if padding is None:
        yield
        return
    formula = padding.get_same_padding
    padding.get_same_padding = lambda size, kernel, stride, dilation: max((kernel - 1) * dilation + 1 - stride, 0)
    try:
        yield
    finally:
        padding.get_same_padding = formula


@torch.inference_mode()
def largest_difference(model: nn.Module, content: bytes) -> float:
    """Largest difference of ONNX Runtime's logits to torch's, on noise of the sizes ``CHECKED``.

    Raises:
        VocSegError: Shapes differ, or values by more than rounding.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest, channels = 0.0, input_of(model).channels
    for batch, height, width in CHECKED:
        images = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(0))
        expected = model(images)
        found = torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])
        same_shape = found.shape == expected.shape
        difference = float((found - expected).abs().max()) if same_shape else math.inf
        if not difference <= TOLERANCE * float(expected.abs().max()):
            raise VocSegError(
                f"The results of the ONNX file differ from torch's: images of {batch} x {channels} x {height} x "
                f"{width} give logits {tuple(found.shape)} instead of {tuple(expected.shape)}, values differ by "
                f"{difference:.2g}. The file is not kept. This is tested with torch 2.14; installed is "
                f"{torch.__version__}."
            )
        largest = max(largest, difference)
    return largest
