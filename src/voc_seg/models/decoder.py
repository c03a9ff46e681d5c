"""The contract of a decoder, and the one of transposed convolutions: context, upsampling, sums with skips."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig
from voc_seg.system.errors import VocSegError

from .encoder import Encoder, count_parameters


@dataclass(frozen=True)
class Part:
    """A part of a decoder in the diagram of the network; each takes the output of the one before.

    | field      | meaning                                                 |
    |------------|---------------------------------------------------------|
    | name       | what it does, up to 28 letters                           |
    | channels   | channels of its output                                  |
    | stride     | stride of its output                                    |
    | parameters | number of trainable values                              |
    | stages     | numbers of the encoder stages whose features it takes   |
    """

    name: str
    channels: int
    stride: int
    parameters: int
    stages: tuple[int, ...] = ()


class Decoder(nn.Module):
    """What the rest of the project needs to know of a decoder.

    | attribute | meaning                                                                        |
    |-----------|--------------------------------------------------------------------------------|
    | settings  | which of ``skips``, ``width`` and ``context`` of ``ModelConfig`` it uses        |
    | classify  | the last convolution, 1x1, with a filter for each class                        |

    A subclass is built from the settings, the encoder and the number of classes. Dropout is ``nn.Dropout2d``, which
    distributed training replaces, and a batch of one 64-pixel crop must train.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    classify: nn.Conv2d

    def parts(self) -> list[Part]:
        """Everything with parameters, in the order of the forward pass."""
        raise NotImplementedError

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits ``float (N, classes, H / s, W / s)``, of any stride s, of the encoder's feature maps, finest first."""
        raise NotImplementedError


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PyramidContext(nn.Module):
    """Pyramid pooling: adds global context from the whole image to every position.

    After Zhao et al., "Pyramid Scene Parsing Network" (CVPR 2017): the map is averaged over grids of 1x1, 2x2,
    3x3 and 6x6 cells, each reduced by a 1x1 convolution, enlarged again and concatenated with the map itself
    (reduced here, to keep the 3x3 convolution that mixes them light).
    """

    grids = (1, 2, 3, 6)

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = conv_bn_relu(inputs, outputs)
        # No batch normalisation here: the 1x1 grid of a batch of one has a single value a channel.
        self.pooled = nn.ModuleList(nn.Conv2d(inputs, outputs // len(self.grids), 1) for _ in self.grids)
        self.mix = conv_bn_relu(2 * outputs, outputs, kernel=3)
        self.average = AverageGrids(self.grids)

    def forward(self, features: Tensor) -> Tensor:
        maps = [self.reduce(features)]
        for means, convolution in zip(self.average(features), self.pooled):
            pooled = functional.relu(convolution(means))
            maps.append(functional.interpolate(pooled, features.shape[-2:], mode="bilinear"))
        return self.mix(torch.cat(maps, dim=1))


class AverageGrids(nn.Module):
    """``adaptive_avg_pool2d`` over several square grids at once, as a matrix product.

    The one implementation for every device and for ONNX: torch's operator is missing on Apple's GPUs for sizes that
    the grid does not divide, ONNX has none for maps of unknown size, and its gradient is not deterministic on CUDA.

    Args:
        grids: Cells along each axis, for each grid.
    """

    cells: Tensor  # buffers
    row: Tensor
    column: Tensor

    def __init__(self, grids: tuple[int, ...]) -> None:
        super().__init__()
        self.grids = grids
        cells = torch.tensor([(grid, row, column) for grid in grids for row in range(grid) for column in range(grid)])
        # Not persistent: saved networks have no such keys. Contiguous: transposed views would be copied on every call.
        for name, values in zip(("cells", "row", "column"), cells.T.contiguous()):
            self.register_buffer(name, values[:, None], persistent=False)  # (all cells, 1)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Means ``(N, C, grid, grid)`` for each grid, in float32 or what is finer.

        Args:
            features: ``float (N, C, H, W)``.
        """
        height, width = features.shape[-2:]
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        rows, columns = (
            _weights(length, cell, self.cells).to(features.dtype)
            for length, cell in ((height, self.row), (width, self.column))
        )
        weights = (rows[:, :, None] * columns[:, None, :]).flatten(1)  # (all cells, H W)
        with without_autocast(features.device):
            means = weights @ features.permute(0, 2, 3, 1).flatten(1, 2)  # (N, all cells, C)
        parts = means.split([grid * grid for grid in self.grids], dim=1)
        return [part.transpose(1, 2).unflatten(2, (grid, grid)) for part, grid in zip(parts, self.grids)]


def _weights(length: int, cell: Tensor, cells: Tensor) -> Tensor:
    """Weight of each position in the mean of each cell, ``float32 (number of cells, length)``.

    Cell i of n reaches from floor(i length / n) to ceil((i + 1) length / n), as in ``adaptive_avg_pool2d``.
    """
    position = torch.arange(length, device=cell.device)
    inside = (position >= cell * length // cells) & (position < -(-(cell + 1) * length // cells))
    inside = inside.float()
    return inside / inside.sum(1, keepdim=True)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Context without autocast: in bf16, means over a large map would lose precision."""
    enabled = torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if enabled else nullcontext()


CONTEXTS: dict[str, Callable[[int, int], nn.Module]] = {"none": conv_bn_relu, "pyramid": PyramidContext}


class Upsample(nn.ConvTranspose2d):
    """Transposed convolution that doubles the resolution, initialised to bilinear interpolation per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=4, stride=2, padding=1, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = bilinear_kernel()


def bilinear_kernel() -> Tensor:
    """Weights of a 4x4 transposed convolution with stride 2 that interpolates bilinearly, ``float (4, 4)``.

    The initialisation of upsampling in Long et al., "Fully Convolutional Networks" (CVPR 2015).
    """
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return line[:, None] * line


class TransposedDecoder(Decoder):
    """Logits at the stride of the finest skip.

    Every used stage is reduced to one width by a 1x1 convolution. From the coarsest map, each step doubles the
    map by a transposed convolution and adds the skips of that stride. A 3x3 and a 1x1 convolution give the logits.

    Raises:
        VocSegError: The encoder has no such stage as ``model.skips`` names.
    """

    settings = ("skips", "width", "context")

    def __init__(self, config: ModelConfig, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.width, channels, strides = config.width, encoder.channels, encoder.strides
        width = self.width
        self.first_stage = encoder.first_stage
        stages = range(self.first_stage, self.first_stage + len(channels) - 1)
        if lacking := sorted(set(config.skips) - set(stages)):
            raise VocSegError(
                f"model.skips {list(config.skips)}: {config.encoder} has no stage {lacking[0]}. Choose from: "
                f"{', '.join(map(str, stages))}."
            )
        self.context = CONTEXTS[config.context](channels[-1], width)
        self.skips = nn.ModuleDict(
            {str(stage): conv_bn_relu(channels[stage - self.first_stage], width) for stage in config.skips}
        )
        self.stride = strides[-1]
        # Of a dilated encoder, several stages have one stride.
        self.stages_at: dict[int, tuple[int, ...]] = {}
        for stage in config.skips:
            stride = strides[stage - self.first_stage]
            self.stages_at[stride] = (*self.stages_at.get(stride, ()), stage)
        steps = (self.stride // min(self.stages_at)).bit_length() - 1
        self.upsample = nn.ModuleList(Upsample(width) for _ in range(steps))
        # The most expensive convolution, at the finest stride: half the width saves a twentieth of a step.
        self.fuse = conv_bn_relu(width, width // 2, kernel=3)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(width // 2, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits ``float (N, classes, H / s, W / s)`` of the encoder's features, s the stride of the finest skip."""
        maps = self._add_skips(self.context(features[-1]), self.stride, features)
        for step, upsample in enumerate(self.upsample, start=1):
            maps = self._add_skips(upsample(maps), self.stride >> step, features)
        return self.classify(self.dropout(self.fuse(maps)))

    def _add_skips(self, maps: Tensor, stride: int, features: list[Tensor]) -> Tensor:
        for stage in self.stages_at.get(stride, ()):
            maps = maps + self.skips[str(stage)](features[stage - self.first_stage])
        return maps

    def parts(self) -> list[Part]:
        """Context, the transposed convolutions, each with its skips, and the classifier."""
        context = "pyramid pooling" if isinstance(self.context, PyramidContext) else "1x1 convolution"
        found = []
        for step, module in enumerate([self.context, *self.upsample]):
            stages = self.stages_at.get(self.stride >> step, ())
            size = count_parameters(module) + sum(count_parameters(self.skips[str(stage)]) for stage in stages)
            name = context if step == 0 else "transposed conv." if stages else "transposed convolution"
            found.append(Part(f"{name} + skip" if stages else name, self.width, self.stride >> step, size, stages))
        classes, size = self.classify.out_channels, count_parameters(self.fuse) + count_parameters(self.classify)
        return [*found, Part(f"3x3 to {self.width // 2}, 1x1 to {classes}", classes, found[-1].stride, size)]
