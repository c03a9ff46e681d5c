"""The fast gradients of depthwise convolutions are those of torch."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.models import depthwise
from voc_seg.models.depthwise import fast_depthwise

KERNELS = [*itertools.product((5, 7, 9), (1, 2), (0, 1, 2, 3)), (3, 1, 1), (3, 2, 0), (3, 2, 1), (4, 1, 2), (4, 2, 1)]


@pytest.fixture
def counted(monkeypatch) -> list[Tensor]:
    """Receives the input of each convolution that has the fast gradients."""
    calls: list[Tensor] = []
    apply = depthwise._Depthwise.apply
    monkeypatch.setattr(depthwise._Depthwise, "apply", lambda maps, *more: calls.append(maps) or apply(maps, *more))
    return calls


def gradients(layer: nn.Module, images: Tensor, fast: bool) -> list[Tensor]:
    """Output, gradient of the input and gradients of the weights, computed in bf16."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        if fast:
            with fast_depthwise(images):
                output = layer(images)
        else:
            output = layer(images)
    (output.float() * torch.linspace(0, 1, output.numel()).view_as(output)).sum().backward()
    return [output.detach().float(), images.grad, *(one.grad for one in layer.parameters())]


@pytest.mark.parametrize(("kernel", "stride", "padding"), KERNELS)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_torch(kernel, stride, padding, bias, counted):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, kernel, stride, padding, groups=8, bias=bias)
    for size in [(9, 13), (16, 10), (12, 12)]:
        images = torch.randn(2, 8, *size).contiguous(memory_format=torch.channels_last)
        for fast, usual in zip(gradients(layer, images, True), gradients(layer, images, False), strict=True):
            assert (fast - usual).abs().max() <= 0.01 * usual.abs().max()
    assert len(counted) == 3 * (kernel > 3 or stride > 1)


@pytest.mark.parametrize(("kernel", "dilation", "padding"), [(3, 2, 2), (3, 4, 4), (5, 2, 4), (5, 3, 1), (5, 2, 0)])
def test_gradients_of_dilated_convolutions_are_those_of_torch(kernel, dilation, padding, counted):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, kernel, 1, padding, dilation, groups=8)
    for size in [(15, 13), (16, 14)]:
        images = torch.randn(2, 8, *size).contiguous(memory_format=torch.channels_last)
        for fast, usual in zip(gradients(layer, images, True), gradients(layer, images, False), strict=True):
            assert fast.shape == usual.shape
            assert (fast - usual).abs().max() <= 0.01 * usual.abs().max()
    assert len(counted) == 2


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),  # fast as it is
        nn.Conv2d(8, 8, 3, 1, 6, dilation=6, groups=8),
        nn.Conv2d(8, 8, 3, 2, 2, dilation=2, groups=8),
        nn.Conv2d(8, 8, 3, 1, 1, dilation=(1, 2), groups=8),
        nn.Conv2d(8, 8, (5, 3), 1, 1, groups=8),
        nn.Conv2d(8, 8, 31, 1, 15, groups=8),  # larger than the map
        nn.Conv2d(8, 8, 5, (2, 1), 1, groups=8),
        nn.Conv2d(8, 8, 5, 3, 1, groups=8),
        nn.Conv2d(8, 16, 5, 2, 1, groups=8),
        nn.Conv2d(8, 8, 5, 2, 1, groups=4),
        nn.Conv2d(8, 8, 5, 2, 1),
        nn.Conv2d(8, 8, 5, padding="same", groups=8),
    ],
)
def test_other_convolutions_are_torchs(layer, counted):
    images = torch.randn(2, 8, 16, 16)
    for fast, usual in zip(gradients(layer, images, True), gradients(layer, images, False), strict=True):
        assert torch.equal(fast, usual)
    assert not counted


def test_only_in_bf16_and_with_gradients(counted):
    layer, images = nn.Conv2d(8, 8, 5, 2, 2, groups=8), torch.randn(1, 8, 16, 16)
    with fast_depthwise(images):
        layer(images)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad(), fast_depthwise(images):
            layer(images)
        with fast_depthwise(images[:0]):
            layer(images[:0])
    assert not counted
    with torch.autocast("cpu", torch.bfloat16), fast_depthwise(images):
        functional.conv2d(images, weight=layer.weight, bias=None, stride=2, groups=8)
        assert layer(images).dtype == torch.bfloat16
    assert len(counted) == 2


def test_only_asked_for_gradients_are_computed():
    layer, images = nn.Conv2d(8, 8, 5, 2, 2, groups=8), torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16), fast_depthwise(images):
        layer(images).sum().backward()
    assert images.grad is None and layer.weight.grad is not None
    layer.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16), fast_depthwise(images):
        layer(images.requires_grad_()).sum().backward()
    assert images.grad is not None


def test_networks_of_timm_train_with_it(counted):
    pytest.importorskip("timm")
    from voc_seg.models.timm_encoder import build_timm_encoder

    encoder = build_timm_encoder("tf_efficientnet_lite0", 32, 3)
    with torch.autocast("cpu", torch.bfloat16):
        encoder(torch.rand(2, 3, 160, 160))
        assert len(counted) == 11  # 5x5 or stride 2
        with torch.no_grad():
            encoder(torch.rand(2, 3, 160, 160))
    encoder(torch.rand(2, 3, 160, 160))
    assert len(counted) == 11
