"""OpenVINO reads both ONNX files, with the masks of ONNX Runtime. It is no extra: pip install openvino."""

from collections.abc import Callable

import numpy as np
import pytest

from voc_seg.config import EvaluationConfig
from voc_seg.engine.export_formats import with_processing
from voc_seg.models.exchange import model_metadata
from voc_seg.models.onnx_export import missing_packages, to_onnx
from voc_seg.models.onnx_masks import IMAGE, MASK
from voc_seg.models.registry import restore_model
from voc_seg.scenes.sample import draw_scene, plan_split

openvino = pytest.importorskip("openvino", reason="it is optional: pip install openvino")
pytestmark = [
    pytest.mark.usefixtures("narrow_encoder"),
    pytest.mark.skipif(bool(missing_packages()), reason="the extra onnx is not installed"),
]


@pytest.mark.parametrize("scales", [None, (0.4, 0.6)])
def test_masks_are_those_of_onnx_runtime(scales: tuple[float, ...] | None, untrained_model: Callable) -> None:
    import onnxruntime

    saved = untrained_model(EvaluationConfig(scale=0.5, flip=True, scales=scales))
    content = with_processing(to_onnx(restore_model(saved), model_metadata(saved)).content, saved)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(content, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}, weights=b"")
    scene = draw_scene(plan_split("train", 1, 0)[0])[0]
    for image in (scene, np.ascontiguousarray(scene[:96, :64]), np.tile(scene, (2, 2, 1))):
        (expected,) = session.run([MASK], {IMAGE: image})
        found = compiled({IMAGE: image})[0]
        assert found.shape == expected.shape and len(np.unique(expected)) > 1
        assert (found != expected).mean() <= 0.0005
