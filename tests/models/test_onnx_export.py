"""An ONNX file whose results differ from torch is not kept."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from voc_seg.config import ModelConfig
from voc_seg.models.onnx_export import CHECKED, largest_difference, to_onnx
from voc_seg.models.segmentation_net import bare_model
from voc_seg.system.errors import VocSegError


@pytest.fixture(scope="module")
def identity() -> bytes:
    """An ONNX file that returns its input."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    kind, shape = onnx.TensorProto.FLOAT, ["n", 3, "h", "w"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["images"], ["logits"])],
        "identity",
        [onnx.helper.make_tensor_value_info("images", kind, shape)],
        [onnx.helper.make_tensor_value_info("logits", kind, shape)],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_the_same_numbers_pass_at_every_size(identity: bytes) -> None:
    asked = []

    def model(images: Tensor) -> Tensor:
        asked.append((images.shape[0], *images.shape[2:]))
        return images * (1 + 1e-6)

    assert 0 < largest_difference(model, identity) < 1e-5
    assert asked == list(CHECKED)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda images: images * 1.001, "images of 1 x 3 x 1 x 1 give .* values differ by"),
        (lambda images: images[..., :90], r"images of 1 x 3 x 33 x 95 give logits \(1, 3, 33, 95\) instead of"),
        (lambda images: images * torch.nan, "values differ by nan"),
    ],
)
def test_other_numbers_or_shapes_are_refused(model: Callable[[Tensor], Tensor], message: str, identity: bytes) -> None:
    with pytest.raises(VocSegError, match=message):
        largest_difference(model, identity)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["aspp", pytest.param("linear", marks=pytest.mark.long)])
def test_every_decoder_is_exported_for_any_size(decoder: str) -> None:
    """The transposed one is exported by the tests of the pipeline. The auxiliary head is not in the file."""
    onnx, *_ = (pytest.importorskip(name, reason="no extra onnx") for name in ("onnx", "onnxscript", "onnxruntime"))
    model = bare_model(ModelConfig(decoder=decoder, width=8, output_stride=8, auxiliary=0.4), 3).eval()
    exported = to_onnx(model, {})
    weights = [tensor.name for tensor in onnx.load_from_string(exported.content).graph.initializer]
    assert weights and not [name for name in weights if name.startswith("auxiliary")]
