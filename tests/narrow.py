"""A small stand-in for ResNet-18, for tests of what surrounds a network: training them takes most of the time.

As a program it is ``python -m voc_seg`` with that network, or another module that ``NARROWED`` names.
"""

import os
import runpy
import signal
import sys

import pytest
from torch import nn
from torchvision.models import resnet

from voc_seg.models.encoder import ENCODER_CHANNELS


class _NarrowResNet(resnet.ResNet):
    """A ResNet whose stages have an eighth of the channels; the stem keeps its 64."""

    def _make_layer(self, block: type, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Module:
        return super()._make_layer(block, planes // 8, blocks, stride, dilate)


def narrow_resnet18(patch: pytest.MonkeyPatch) -> None:
    """Replace resnet18, whose state dict then takes 1 MB instead of 45; its tensors keep their names."""
    patch.setattr(resnet, "resnet18", lambda weights: _NarrowResNet(resnet.BasicBlock, [2, 2, 2, 2]))
    patch.setitem(ENCODER_CHANNELS, "resnet18", (64, 8, 16, 32, 64))


if __name__ == "__main__":
    if sys.platform != "win32":  # a rank that torchrun forked has inherited its handlers
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
    narrow_resnet18(pytest.MonkeyPatch())
    runpy.run_module(os.environ.get("NARROWED", "voc_seg"), run_name="__main__")
