"""A network without its encoder, for feature maps that have been computed before."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .encoder import Encoder
from .segmentation_net import SegmentationNet


class Head(nn.Module):
    """Class scores from stored feature maps, by the network's own layers, which are not copied.

    Args:
        model: The network; its encoder is not used.
        used: Positions of the stored maps among those of the encoder, ascending; see :func:`used_maps`.
    """

    def __init__(self, model: SegmentationNet, used: Sequence[int]) -> None:
        super().__init__()
        self.network, self.used = model, tuple(used)
        self.channels, self.strides = model.encoder.channels, model.encoder.strides
        self.training = model.training

    def forward(self, maps: list[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """What the network returns for padded images, at their size: logits ``float (N, classes, H, W)``.

        Args:
            maps: The stored maps, each ``float (N, channels, H / stride, W / stride)``.
        """
        height, width = (maps[0].shape[axis] * self.strides[self.used[0]] for axis in (-2, -1))
        stored = dict(zip(self.used, maps))
        features = [
            # A decoder may ask for the size of a map whose values it does not use.
            stored[level] if level in stored
            else maps[0].new_zeros(1).expand(len(maps[0]), channels, height // stride, width // stride)
            for level, (channels, stride) in enumerate(zip(self.channels, self.strides))
        ]  # fmt: skip
        return self.network.scores(features, (height, width), height, width)

    def empty_maps(self, number: int, height: int, width: int, dtype: torch.dtype) -> list[Tensor]:
        """Stored maps of 0 for padded inputs of a size."""
        device = next(self.network.decoder.parameters()).device
        return [
            torch.zeros(number, self.channels[level], height // self.strides[level], width // self.strides[level],
                        dtype=dtype, device=device)
            for level in self.used
        ]  # fmt: skip


def used_maps(model: SegmentationNet) -> list[int]:
    """Positions of the encoder's maps that the network's output in training depends on."""
    encoder: Encoder = model.encoder
    parameter, side = next(model.decoder.parameters()), 2 * encoder.multiple
    modes = {module: module.training for module in model.modules()}
    model.eval()
    model.training = True  # of the network alone: no layer draws random numbers or counts statistics
    with torch.enable_grad():
        features = [
            torch.ones(
                1, channels, side // stride, side // stride,
                dtype=parameter.dtype, device=parameter.device, requires_grad=True,
            )
            for channels, stride in zip(encoder.channels, encoder.strides)
        ]  # fmt: skip
        outputs: Tensor | tuple[Tensor, ...] = model.scores(list(features), (side, side), side, side)
        total = torch.stack([output.sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]).sum()
        gradients = torch.autograd.grad(total, features, allow_unused=True)
    for module, training in modes.items():
        module.training = training
    return [level for level, gradient in enumerate(gradients) if gradient is not None]
