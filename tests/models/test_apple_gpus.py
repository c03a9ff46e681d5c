"""What Apple's GPUs lack: no network uses it, whatever the size of its images."""

from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from voc_seg.config import LossConfig, ModelConfig
from voc_seg.engine import prediction
from voc_seg.engine.losses import build_loss, loss_sum, with_auxiliary
from voc_seg.metrics.calibration import calibration_sums
from voc_seg.models.decoder import AverageGrids, PyramidContext
from voc_seg.models.decoders import DECODERS
from voc_seg.models.registry import build_model

CROPS = [96, 224]
IMAGES = [(375, 500), (1, 1)]


class Operators(TorchDispatchMode):
    """Notes the operators that run, and the data types of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        self.names.add(operator.overloadpacket.__name__)
        results = result if isinstance(result, tuple | list) else [result]
        self.types |= {value.dtype for value in results if isinstance(value, torch.Tensor)}
        return result


@pytest.mark.parametrize("output_stride", [8, 32])
@pytest.mark.parametrize("decoder", DECODERS)
def test_no_network_pools_adaptively_or_computes_in_float64(decoder: str, output_stride: int) -> None:
    """``adaptive_avg_pool2d`` raises on mps where the grid does not divide the map, and there is no float64."""
    config = ModelConfig(encoder="resnet18", decoder=decoder, output_stride=output_stride, width=16, auxiliary=0.4)
    model, loss = build_model(config, 21).to("meta"), with_auxiliary(loss_sum, 0.4)
    with Operators() as ran:
        for side in CROPS:
            targets = torch.zeros(2, side, side, dtype=torch.uint8, device="meta")
            loss(model.train()(torch.zeros(2, 3, side, side, device="meta")), targets).backward()
        for size in IMAGES:
            model.eval()(torch.zeros(1, 3, *size, device="meta"))
    assert {"convolution", "convolution_backward"} | ({"bmm"} if decoder == "transposed" else set()) <= ran.names
    assert not [name for name in ran.names if "adaptive" in name]
    assert torch.float64 not in ran.types


def test_no_term_of_the_loss_computes_in_float64_or_selects_by_a_mask() -> None:
    """Operators whose result has a size that depends on values make the host wait, on any GPU."""
    device = torch.device("meta")
    config = LossConfig(
        class_weights="balanced", label_smoothing=0.1, ohem=0.5, dice=1, lovasz=1, focal=1, boundary=1
    )  # fmt: skip
    loss = build_loss(config, [1] * 21, device)
    logits = torch.zeros(2, 21, 96, 96, device=device, requires_grad=True)
    with Operators() as ran:
        loss(logits, torch.zeros(2, 96, 96, dtype=torch.uint8, device=device)).backward()
    assert {"sort", "max_pool2d_with_indices", "_log_softmax_backward_data"} <= ran.names
    assert not {"nonzero", "masked_select", "_local_scalar_dense", "index_put_", "median", "kthvalue"} & ran.names
    assert torch.float64 not in ran.types


def test_no_score_of_an_image_is_computed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prediction.sum_dtype(torch.device("mps")) == torch.float32
    monkeypatch.setattr(prediction, "sum_dtype", lambda device: torch.float32)
    truth = torch.zeros(1, 60, 70, dtype=torch.uint8)
    scores = [(slice(0, 60), slice(0, 70), torch.randn(1, 21, 60, 70))]
    with Operators() as ran:
        pending = prediction.compare_with_mask("a", scores, truth, truth == 0)
        calibration_sums(pending.pixels, 1.5)
    assert "index_add_" in ran.names
    assert torch.float64 not in ran.types


def test_averages_over_maps_of_every_length_are_those_of_adaptive_pooling() -> None:
    average = AverageGrids(PyramidContext.grids)
    for length in range(1, 65):
        features = torch.rand(1, 2, length, 1 + length % 13, generator=torch.Generator().manual_seed(length))
        for means, grid in zip(average(features), PyramidContext.grids, strict=True):
            torch.testing.assert_close(means, functional.adaptive_avg_pool2d(features, grid), rtol=1e-6, atol=1e-6)
