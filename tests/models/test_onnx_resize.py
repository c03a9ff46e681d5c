"""Resizing in ONNX gives torch's numbers to the last bit."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from voc_seg.engine.scores import network_input
from voc_seg.models.onnx_digest import KEY, is_intact, with_digest
from voc_seg.models.onnx_resize import CONSTANTS, resize

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

SIZES = (
    ((375, 500), (188, 250)),
    ((375, 500), (375, 500)),  # nothing to do
    ((375, 500), (375, 400)),  # columns only
    ((500, 375), (400, 375)),  # rows only
    ((333, 97), (416, 121)),  # larger
    ((64, 64), (31, 77)),
    ((1, 1), (7, 5)),
    ((900, 7), (1, 1)),
    ((90, 70), (30, 1)),
    ((1, 640), (2, 333)),
    ((401, 1203), (125, 375)),
)


@pytest.fixture(scope="module")
def graph() -> bytes:
    text = f"""<ir_version: 9, opset_import: ["" : 18]>
    resizing (uint8[n, c, h, w] image, int64[1] h0, int64[1] w0, int64[1] h1, int64[1] w1)
      => (uint8[n, c, p, q] resized) {{ {CONSTANTS} {resize("resized", "image", ("h0", "w0"), ("h1", "w1"))} }}"""
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("source", "target"), SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_numbers_are_those_of_torch(
    source: tuple[int, int], target: tuple[int, int], channels: int, graph: bytes
) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (1, *source, channels), dtype=np.uint8)
    for image in (noise, np.where(noise > 127, 255, 0).astype(np.uint8)):
        assert np.array_equal(network_input(image[0][None], target), network_input(image, target))
        lengths = {name: np.array([length]) for name, length in zip(("h0", "w0", "h1", "w1"), (*source, *target))}
        (found,) = session.run(None, {"image": np.ascontiguousarray(image.transpose(0, 3, 1, 2)), **lengths})
        assert np.array_equal(found, network_input(image, target).numpy())


def test_pytorchs_own_formula_has_not_changed() -> None:
    """By hand: three pixels become two, which are 1.5 pixels wide; weights 5/8 and 3/8."""
    image = torch.tensor([[[[10, 20, 31]]]], dtype=torch.uint8)
    found = functional.interpolate(image, (1, 2), mode="bilinear", antialias=True)
    # Middles of the results: 0.75 and 2.25; distances to the pixels' 0.5, 1.5, 2.5, in units of 1.5.
    weights = np.array([[1 - 0.25 / 1.5, 1 - 0.75 / 1.5, 0], [0, 1 - 0.75 / 1.5, 1 - 0.25 / 1.5]])
    weights /= weights.sum(1, keepdims=True)
    assert np.array_equal(found.flatten().numpy(), np.floor(weights @ [10, 20, 31] + 0.5))


def test_a_changed_byte_is_noticed(graph: bytes) -> None:
    made = with_digest(graph)
    (entry,) = onnx.load_from_string(made).metadata_props
    digest = entry.value.strip('"')
    assert entry.key == KEY and is_intact(made, digest)
    for position in (len(made) // 3, len(made) - 1, made.index(digest.encode())):
        changed = bytearray(made)
        changed[position] ^= 1
        assert not is_intact(bytes(changed), digest)
