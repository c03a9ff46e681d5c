"""Convolutions in 8 bits: nearly the same numbers at any size, in a third of the file."""

import numpy as np
import pytest

from voc_seg.models.onnx_int8 import is_worth_it, share_of_convolutions, to_int8

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


def network(operator: str) -> bytes:
    """Two layers of this operator, with a ReLU in between."""
    random = np.random.default_rng(0)
    weights = {"first": (3, 64, 3, 3) if operator == "ConvTranspose" else (64, 3, 3, 3), "second": (64, 64, 3, 3)}
    nodes = [
        onnx.helper.make_node(operator, ["images", "first"], ["a"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node(operator, ["b", "second"], ["logits"], pads=[1, 1, 1, 1]),
    ]
    shapes = {"images": ["batch", 3, "height", "width"], "logits": ["batch", 64, "height", "width"]}
    given, made = (onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items())
    arrays = [
        onnx.numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    graph = onnx.helper.make_graph(nodes, "network", [given], [made], arrays)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.helper.set_model_props(model, {"class_names": '["background"]'})
    return bytes(model.SerializeToString())


def images(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).standard_normal((1, 3, height, width)).astype(np.float32)


def run(content: bytes, given: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"images": given})[0])


def test_numbers_stay_nearly_the_same_at_sizes_never_seen() -> None:
    before = network("Conv")
    after = to_int8(before, [images(16, 20), images(24, 12)])
    assert len(after) < len(before) / 2
    given = images(31, 17)
    expected, found = run(before, given), run(after, given)
    assert np.abs(found - expected).max() > 0
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.03 * expected.std()
    model = onnx.load_from_string(after)
    assert [(one.key, one.value) for one in model.metadata_props] == [("class_names", '["background"]')]


def test_the_same_images_give_the_same_file() -> None:
    assert to_int8(network("Conv"), [images(16, 20)]) == to_int8(network("Conv"), [images(16, 20)])


def test_weights_leave_room_for_sums_of_16_bits() -> None:
    """Without VNNI, two products of 8 bits are added in 16: 2 * 255 * 64 fits, 2 * 255 * 127 does not."""
    model = onnx.load_from_string(to_int8(network("Conv"), [images(16, 20)]))
    weights = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer if one.data_type == 3 and one.dims]
    weights = [one for one in weights if one.ndim == 4]
    assert len(weights) == 2
    assert max(np.abs(one.astype(int)).max() for one in weights) == 64


def test_only_convolutions_count() -> None:
    assert share_of_convolutions(network("Conv")) > 0.95
    assert is_worth_it(network("Conv"))
    assert share_of_convolutions(network("ConvTranspose")) == 0
    assert not is_worth_it(network("ConvTranspose"))
