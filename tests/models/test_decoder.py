"""Pyramid pooling: one implementation for every device, equal to ``adaptive_avg_pool2d``."""

import pytest
import torch
from torch.nn import functional

from voc_seg.models.decoder import AverageGrids, PyramidContext

GRIDS = (1, 2, 3, 6)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 6), (13, 4), (12, 16), (1, 94)])
def test_averages_are_those_of_adaptive_pooling(size: tuple[int, int]) -> None:
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for means, grid in zip(AverageGrids(GRIDS)(features), GRIDS, strict=True):
        expected = functional.adaptive_avg_pool2d(features, grid)
        torch.testing.assert_close(means, expected, rtol=1e-6, atol=1e-6)
        weights = torch.randn(means.shape, generator=torch.Generator().manual_seed(1))
        (found,) = torch.autograd.grad((means * weights).sum(), features, retain_graph=True)
        (gradient,) = torch.autograd.grad((expected * weights).sum(), features)
        torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-6)


def test_an_average_by_hand() -> None:
    row = torch.tensor([1.0, 2, 3, 4, 5]).view(1, 1, 1, 5)
    # Two cells of five positions share the one in the middle: 1 2 3 and 3 4 5.
    (means,) = AverageGrids((2,))(row)
    assert means.tolist() == [[[[2, 4], [2, 4]]]]


def test_in_bf16_the_averages_lose_no_digits() -> None:
    features = torch.randn(1, 4, 23, 31, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = AverageGrids(GRIDS)(features)
    for means, grid in zip(found, GRIDS, strict=True):
        expected = functional.adaptive_avg_pool2d(features.double(), grid)
        torch.testing.assert_close(means.double(), expected, rtol=1e-6, atol=1e-6)


def test_saved_networks_have_the_same_keys_as_ever() -> None:
    context = PyramidContext(16, 8)
    assert not [name for name in context.state_dict() if name.startswith("average")]


def test_everything_is_made_on_the_features_device() -> None:
    """A tensor created on the CPU would fail beside one on another device, as on a GPU."""
    context = PyramidContext(16, 8).to("meta")
    assert context(torch.empty(2, 16, 5, 7, device="meta")).device.type == "meta"


def test_no_operator_that_apples_gpus_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """On mps ``adaptive_avg_pool2d`` raises if the grid does not divide the map."""

    def missing(*_: object) -> None:
        raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes.")

    for owner in (functional, torch, torch._C._nn):
        monkeypatch.setattr(owner, "adaptive_avg_pool2d", missing, raising=False)
    assert PyramidContext(16, 8)(torch.randn(2, 16, 5, 7)).shape == (2, 8, 5, 7)
