"""The diagram of the network shows what is built."""

import pytest

from voc_seg.config import ModelConfig
from voc_seg.models.encoder import count_parameters
from voc_seg.models.segmentation_net import bare_model
from voc_seg.reporting.architecture import Box, network_boxes, plot_network

CONFIGS = {
    "default": ModelConfig(),
    "plain": ModelConfig(skips=(1,), context="none"),
    "resnet50": ModelConfig(encoder="resnet50", skips=(3, 4), width=256),
    "dilated": ModelConfig(output_stride=16, skips=(1, 4)),
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
    assert parts["stage5"] == Box("5: residual blocks 4", "512 x H/32 x W/32", 0, 5, 8_393_728)
    assert (parts["up3"].name, parts["up3"].output, parts["up3"].row) == (
        "transposed conv. + skip", "128 x H/4 x W/4", 2,
    )  # fmt: skip
    assert parts["classify"].output == "21 x H/4 x W/4"


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
    assert sum(text.get_text() == "1x1" for text in axes.texts) == len(config.skips)
