"""The contract of an encoder, and ResNet encoders: the stages of torchvision's classification networks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import resnet

RGB_CHANNELS = 3

# Channels of the five stages, at strides 2, 4, 8, 16 and 32 of a network that is not dilated.
ENCODER_CHANNELS: dict[str, tuple[int, int, int, int, int]] = {
    "resnet18": (64, 64, 128, 256, 512),
    "resnet34": (64, 64, 128, 256, 512),
    "resnet50": (64, 256, 512, 1024, 2048),
}


class Encoder(nn.Module):
    """What decoders, freezing and the optimiser need to know of an encoder.

    | attribute   | meaning                                                                |
    |-------------|------------------------------------------------------------------------|
    | channels    | channels of the feature maps that ``forward`` returns, finest first     |
    | strides     | their strides in pixels of the image: powers of two that never fall     |
    | first_stage | number of the first map: 1 if its stride is 2, and 2 if it is 4         |
    | multiple    | height and width of an input are multiples of this                      |
    | unused      | keys of the network's weight files that the encoder does not need       |
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    first_stage: int
    multiple: int
    unused: frozenset[str]

    def stages(self) -> list[list[nn.Module]]:
        """All modules with parameters, grouped in the order of the forward pass: the unit of freezing and of rates."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``float (N, channels[i], H / strides[i], W / strides[i])`` of images ``float (N, C, H, W)``."""
        raise NotImplementedError


class ResNetEncoder(Encoder):
    """A torchvision ResNet without its pooling and classifier.

    Attribute names are torchvision's (``conv1``, ``bn1``, ``layer1`` ...), so its state dicts load as they
    are.

    Args:
        name: ``resnet18``, ``resnet34`` or ``resnet50``.
        output_stride: 32; 16 to keep the last stage at the resolution of the one before: its stride becomes a
            dilation (Chen et al., "Rethinking Atrous Convolution", 2017); 8 to do so with the last two.
        stride_in_1x1: Put the stride of a bottleneck on its first 1x1 convolution, as in the paper of 2015,
            instead of the 3x3 as torchvision does. It must match how the weights were trained.
        channels: Of the images.
    """

    def __init__(
        self, name: str, output_stride: int = 32, stride_in_1x1: bool = False, channels: int = RGB_CHANNELS
    ) -> None:
        super().__init__()
        network = getattr(resnet, name)(weights=None)
        self.conv1, self.bn1 = network.conv1, network.bn1
        if channels != RGB_CHANNELS:
            self.conv1 = nn.Conv2d(channels, self.conv1.out_channels, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        if stride_in_1x1:
            for stage in (self.layer2, self.layer3, self.layer4):
                _move_stride_to_first_convolution(stage[0])
        if output_stride == 16:
            _replace_stride_with_dilation(self.layer4, 1)
        elif output_stride == 8:
            _replace_stride_with_dilation(self.layer3, 1)
            _replace_stride_with_dilation(self.layer4, 2)
        self.channels = ENCODER_CHANNELS[name]
        self.strides = (2, 4, 8, min(16, output_stride), output_stride)
        self.first_stage, self.multiple = 1, 32
        self.unused = frozenset({"fc.weight", "fc.bias"})

    def stages(self) -> list[list[nn.Module]]:
        """The modules of each of the five stages, finest first."""
        return [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of the five stages, finest first.

        Args:
            images: ``float (N, C, H, W)``, normalised; H and W multiples of the output stride.

        Returns:
            Five tensors ``float (N, channels[i], H / strides[i], W / strides[i])``.
        """
        stem = self.relu(self.bn1(self.conv1(images)))
        features = [stem, self.layer1(self.maxpool(stem))]
        for stage in (self.layer2, self.layer3, self.layer4):
            features.append(stage(features[-1]))
        return features


def widen(filters: Tensor, channels: int) -> Tensor:
    """Filters of RGB images as filters of another number of channels, ``float (out, channels, h, w)``.

    The first three channels keep the filters of red, green and blue, and every other one gets their mean. With one or
    two channels all get the mean. All are scaled by 3 / channels, which keeps the size of the sum.

    Args:
        filters: ``float (out, 3, h, w)``.
        channels: Wanted number of channels.
    """
    mean = filters.mean(1, keepdim=True)
    kept = filters if channels > RGB_CHANNELS else filters[:, :0]
    widened = torch.cat([kept, mean.repeat(1, channels - kept.shape[1], 1, 1)], 1)
    return widened * (RGB_CHANNELS / channels)


def _move_stride_to_first_convolution(block: nn.Module) -> None:
    if isinstance(block, resnet.Bottleneck):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def _replace_stride_with_dilation(stage: nn.Sequential, before: int) -> None:
    """Keep the resolution of the stage's input; widen the 3x3 kernels behind the lost stride instead.

    The convolution that loses its stride keeps the dilation of its input, so the values at the positions of the strided
    network are the same.

    Args:
        stage: Blocks; the first has the stride.
        before: Dilation of the stage before; the result is twice that.
    """
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            loses_stride = module.stride == (2, 2)
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                dilation = before if loses_stride else 2 * before
                module.dilation = module.padding = (dilation, dilation)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values in a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_weights(weights: Mapping[str, Tensor]) -> int:
    """Number of learnt values in a state dict, without batch-norm statistics."""
    return sum(value.numel() for name, value in weights.items() if name.rpartition(".")[2] in ("weight", "bias"))
