"""The auxiliary head: logits of a middle stage, for a second loss in training."""

from torch import Tensor, nn

from voc_seg.config import ModelConfig

from .decoder import conv_bn_relu
from .encoder import Encoder


class AuxiliaryHead(nn.Module):
    """Logits of the last stage but one, after Zhao et al., "Pyramid Scene Parsing Network" (CVPR 2017).

    A 3x3 convolution to a quarter of the channels, dropout and a 1x1 convolution. The gradient of its loss reaches the
    earlier stages without the coarsest one in between. Evaluation does not use it.
    """

    def __init__(self, config: ModelConfig, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.index = max(0, len(encoder.channels) - 2)
        self.stage, self.stride = encoder.first_stage + self.index, encoder.strides[self.index]
        channels = encoder.channels[self.index]
        self.reduce = conv_bn_relu(channels, max(8, channels // 4), kernel=3)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(max(8, channels // 4), classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits ``float (N, classes, H / s, W / s)`` of the encoder's features, s the stride of that stage."""
        return self.classify(self.dropout(self.reduce(features[self.index])))
