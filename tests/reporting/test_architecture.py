"""The diagram of the network shows what is built."""

import pytest
from torch import nn

from voc_seg.config import ModelConfig
from voc_seg.models import segmentation_net
from voc_seg.models.decoders import DECODERS
from voc_seg.models.encoder import Encoder, count_parameters
from voc_seg.models.segmentation_net import bare_model
from voc_seg.reporting.architecture import Box, draw_network, network_boxes, plot_network

CONFIGS = {
    "default": ModelConfig(),
    "plain": ModelConfig(skips=(1,), context="none"),
    "resnet50": ModelConfig(encoder="resnet50", skips=(3, 4), width=256),
    "dilated": ModelConfig(output_stride=16, skips=(1, 4)),
    "two skips at one stride": ModelConfig(encoder="resnet50", output_stride=8, skips=(3, 4), auxiliary=0.4),
    "aspp": ModelConfig(encoder="resnet50", decoder="aspp", output_stride=16, width=256),
    "aspp, auxiliary": ModelConfig(decoder="aspp", output_stride=8, auxiliary=0.4),
    "linear": ModelConfig(decoder="linear", auxiliary=0.4),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_parts_are_the_whole_network(config: ModelConfig) -> None:
    model = bare_model(config, 21)
    parts = network_boxes(model, config)
    assert sum(part.parameters or 0 for part in parts.values()) == count_parameters(model)
    assert len({(part.column, part.row) for part in parts.values()}) == len(parts)  # boxes do not overlap


def test_the_default_network_in_numbers() -> None:
    config = CONFIGS["default"]
    parts = network_boxes(bare_model(config, 21), config)
    assert parts["stage5"] == Box("stage 5", "512 x H/32 x W/32", 0, 5, 8_393_728, ("stage4",))
    assert parts["decoder4"] == Box(
        "transposed conv. + skip", "128 x H/4 x W/4", 1, 2, 270_592, ("decoder3",), ("stage2",)
    )
    assert parts["decoder5"].output == "21 x H/4 x W/4"


class _BlocksEncoder(Encoder):
    """Four maps and any number of blocks, as of a vision transformer."""

    first_stage, multiple, strides, channels = 2, 32, (4, 8, 16, 32), (4, 6, 8, 12)

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(2, 3) for _ in range(blocks))

    def stages(self) -> list[list[nn.Module]]:
        return [[block] for block in self.blocks]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("blocks", [4, 5, 13])
def test_any_encoder_is_drawn(monkeypatch: pytest.MonkeyPatch, decoder: str, blocks: int) -> None:
    """Parameters of a stem count with the first map, those of blocks that are no stages in a box of their own."""
    monkeypatch.setattr(segmentation_net, "build_encoder", lambda *_: _BlocksEncoder(blocks))
    config = ModelConfig(decoder=decoder, auxiliary=0.4)
    model = bare_model(config, 21)
    boxes = network_boxes(model, config)
    assert sum(box.parameters or 0 for box in boxes.values()) == count_parameters(model)
    assert ("encoder" in boxes) == (blocks == 13)
    assert {"stage2", "stage5"} <= boxes.keys() and "stage1" not in boxes
    assert len({(box.column, box.row) for box in boxes.values()}) == len(boxes)
    draw_network(model, config).draw_without_rendering()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_text_stays_in_its_box_and_every_skip_has_its_arrow(config: ModelConfig) -> None:
    figure = plot_network(config, 21)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches]
    for text in axes.texts:
        if text.get_text() and text.get_text() != "1x1":
            extent = text.get_window_extent()
            assert any(box.x0 < extent.x0 and extent.x1 < box.x1 for box in boxes), text.get_text()
    joined = {"transposed": len(config.skips), "aspp": 1, "linear": 0}[config.decoder]
    assert sum(text.get_text() == "1x1" for text in axes.texts) == joined
