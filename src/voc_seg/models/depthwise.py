"""Faster gradients for depthwise convolutions in bf16 on a CPU.

torch computes them with oneDNN, which is fast in most cases, but slow for the gradient of the input at stride 2, for
kernels above 3x3 and for dilation. Here these cases are computed by the fast ones (benchmarks/README.md, depthwise.py).
In fp32 there is little to gain, so nothing changes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_FAST_KERNEL = 3
"""Largest kernel for which oneDNN computes the gradient of the weights quickly."""
_MAX_DILATION = 4
"""That of an encoder with ``output_stride`` 8. Larger dilations would pad the map too much."""


def fast_depthwise(images: Tensor) -> AbstractContextManager[Any]:
    """Context in which depthwise convolutions have the faster gradients where that helps; else an empty one.

    Not for non-reentrant activation checkpointing, which computes again outside the context.

    Args:
        images: Input of the network that runs in the context.
    """
    useful = (
        not torch.compiler.is_compiling()
        and images.device.type == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and len(images)
    )
    return _FastDepthwise() if useful else nullcontext()


class _FastDepthwise(TorchFunctionMode):
    """Replaces calls of ``conv2d``, so it does not matter which module makes them, and keys of weights stay."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.conv2d and (found := _depthwise(*args, **(kwargs or {}))) is not None:
            return found
        return func(*args, **(kwargs or {}))


def _depthwise(
    input: Tensor,  # named as in torch
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution if its gradients are among the slow ones, else None."""
    if input.dim() != 4 or isinstance(padding, str) or not (input.requires_grad or weight.requires_grad):
        return None
    channels, each, height, width = weight.shape
    if each != 1 or not channels == groups == input.shape[1] or height != width:
        return None
    steps, pads, gaps = (
        [value] * 2 if isinstance(value, int) else [*value] * (2 // len(value)) for value in (stride, padding, dilation)
    )
    if height < _FAST_KERNEL or steps not in ([1, 1], [2, 2]):
        return None
    if gaps == [1, 1]:
        # With smaller maps, windows of the kernel might see nothing but padding.
        fits = max(pads) < height <= min(input.shape[2:])
        if not fits or (height == _FAST_KERNEL and steps == [1, 1]):
            return None
        output = _Depthwise.apply(input.bfloat16(), weight.bfloat16(), steps, pads)
    elif gaps[0] == gaps[1] <= _MAX_DILATION and steps == [1, 1]:
        output = _dilated(input.bfloat16(), weight.bfloat16(), pads, gaps[0])
    else:
        return None
    return output if bias is None else output + bias.bfloat16()[:, None, None]


def _dilated(maps: Tensor, weight: Tensor, padding: list[int], gap: int) -> Tensor:
    """A dilated convolution as one without dilation of every ``gap``-th row and column, for each of the offsets."""
    batch, channels, *size = maps.shape
    sides = [value + 2 * pad for value, pad in zip(size, padding)]  # of the padded map
    rest = [-side % gap for side in sides]
    maps = functional.pad(maps, (padding[1], padding[1] + rest[1], padding[0], padding[0] + rest[0]))
    rows, columns = ((side + more) // gap for side, more in zip(sides, rest))
    folded = maps.permute(0, 2, 3, 1).reshape(batch, rows, gap, columns, gap, channels).permute(0, 2, 4, 1, 3, 5)
    folded = folded.reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)  # channels-last
    output = _Depthwise.apply(folded, weight, [1, 1], [0, 0])
    rows, columns = output.shape[2:]
    output = output.permute(0, 2, 3, 1).reshape(batch, gap, gap, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    output = output.reshape(batch, rows * gap, columns * gap, channels).permute(0, 3, 1, 2)
    reach = gap * (weight.shape[-1] - 1)
    return output[:, :, : sides[0] - reach, : sides[1] - reach]


class _Depthwise(torch.autograd.Function):
    """``conv2d`` of bf16 maps ``(N, C, H, W)`` with weights ``(C, 1, k, k)``, in groups of one channel."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(maps, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, weight = ctx.saved_tensors
        of_maps, of_weight, *_ = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            return (
                _maps_gradient(gradient, maps, weight, ctx.stride, ctx.padding) if of_maps else None,
                _weight_gradient(gradient, maps, weight, ctx.stride, ctx.padding) if of_weight else None,
                None,
                None,
            )


def _maps_gradient(gradient: Tensor, maps: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """A convolution of stride 1 over the gradient with zeros between its values, by the flipped kernel."""
    batch, channels, *_ = gradient.shape
    kernel = weight.shape[-1]
    height, width = (size + 2 * pad - kernel + 1 for size, pad in zip(maps.shape[2:], padding))
    if stride != [1, 1]:
        spread = gradient.new_zeros(batch, height, width, channels).permute(0, 3, 1, 2)  # channels-last
        spread[:, :, :: stride[0], :: stride[1]] = gradient
        gradient = spread
    rest = [kernel - 1 - pad for pad in padding]
    return functional.conv2d(gradient, weight.flip(2, 3), None, 1, rest, groups=channels)


def _weight_gradient(gradient: Tensor, maps: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """The gradients of 3x3 windows that together cover the kernel, each from maps that are shifted to it."""
    kernel = weight.shape[-1]
    starts = [min(start, kernel - _FAST_KERNEL) for start in range(0, kernel, _FAST_KERNEL)]
    window = weight[:, :, :_FAST_KERNEL, :_FAST_KERNEL].contiguous()  # only its shape counts
    needed = [(size - 1) * step + _FAST_KERNEL for size, step in zip(gradient.shape[2:], stride)]
    result = torch.empty_like(weight)
    for top in starts:
        for left in starts:
            sides = []  # of `functional.pad`, which also crops: left, right, top, bottom
            for start, pad, size, need in zip((left, top), padding[::-1], maps.shape[:1:-1], needed[::-1]):
                sides += [pad - start, need - size - pad + start]
            result[:, :, top : top + _FAST_KERNEL, left : left + _FAST_KERNEL] = torch.ops.aten.convolution_backward(
                gradient, functional.pad(maps, sides), window, None, stride, [0, 0], [1, 1], False, [0, 0],
                len(weight), [False, True, False],
            )[1]  # fmt: skip
    return result
