"""A network of `voc_seg.models.onnx_export` with 8-bit convolutions: a third of the size, and often faster.

Static quantisation by ONNX Runtime, https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: with
a scale ``s`` and a zero point ``z``, a number ``x`` becomes ``round(x / s) + z``. Weights have a scale for each output
channel, from the channel's largest weight; activations have one for each tensor, from its range on a few images.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .onnx_export import INPUT

_QUANTISED = "Conv"
"""Transposed convolutions stay in float32: ONNX Runtime computes them in float32 in any case, and on the sample their
8-bit weights cost 1.4 points of mIoU for 2 of 15 MB (benchmarks/README.md)."""
_WORTH_IT = 0.5
"""Least share of the file that must be weights of convolutions; in a transformer it is close to 0."""


def share_of_convolutions(content: bytes) -> float:
    """The share of an ONNX file that is weights of convolutions, 0 to 1."""
    import onnx  # optional

    graph = onnx.load_from_string(content).graph
    weights = {node.input[1] for node in graph.node if node.op_type == _QUANTISED}
    return sum(one.ByteSize() for one in graph.initializer if one.name in weights) / len(content)


def is_worth_it(content: bytes) -> bool:
    """Whether 8-bit convolutions make the file of a network much smaller."""
    return share_of_convolutions(content) >= _WORTH_IT


def to_int8(content: bytes, inputs: Iterable[np.ndarray]) -> bytes:
    """The file of :func:`voc_seg.models.onnx_export.to_onnx` with 8-bit convolutions.

    Args:
        content: Input ``images``, output ``logits``.
        inputs: Normalised images of the training data, ``float32 (1, C, height, width)``, whose sizes may differ. They
            give the ranges of the activations.

    Returns:
        A file with the same input, output and metadata.
    """
    import onnx  # optional
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest: Iterator[np.ndarray] = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._rest, None)
            return None if image is None else {INPUT: image}

    with TemporaryDirectory() as folder:
        given, prepared, made = (Path(folder, name) for name in ("given.onnx", "prepared.onnx", "made.onnx"))
        given.write_bytes(content)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)  # the exporter has written the shapes
        quantize_static(
            prepared,
            made,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[_QUANTISED],
            per_channel=True,
            # 7-bit weights: CPUs without VNNI add products in 16 bits, which would overflow with 8.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(made)
    del model.metadata_props[:]  # notes of the quantisation, which are not JSON
    model.metadata_props.extend(onnx.load_from_string(content).metadata_props)
    return bytes(model.SerializeToString())
