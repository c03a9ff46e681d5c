"""The drawing of the network says what is built."""

import re

import pytest

from voc_seg.config import ModelConfig
from voc_seg.models.architecture import draw_network
from voc_seg.models.encoder import count_parameters
from voc_seg.models.registry import bare_model


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(skips=(1,), context="none"),
        ModelConfig(encoder="resnet50", skips=(3, 4), width=256),
        ModelConfig(output_stride=16, skips=(1, 4)),
    ],
    ids=["default", "plain", "resnet50", "dilated"],
)
def test_every_part_has_its_box_and_its_parameters(config: ModelConfig) -> None:
    drawing = draw_network(config, 21)
    boxes = dict(re.findall(r'^(\w+)\["(.*)"\]$', drawing, re.MULTILINE))
    arrows = re.findall(r"^(\w+) -->(?:\|1x1\|)? (\w+)$", drawing, re.MULTILINE)
    assert {name for arrow in arrows for name in arrow} == set(boxes)
    assert [name for name in boxes if name.startswith("stage")] == [f"stage{number}" for number in range(1, 6)]
    skips = {source for source, target in arrows if source.startswith("stage") and not target.startswith("stage")}
    assert skips == {f"stage{stage}" for stage in config.skips} | {"stage5"}
    millions = sum(float(size) for size in re.findall(r"([\d.]+) M parameters", drawing))
    assert millions == pytest.approx(count_parameters(bare_model(config, 21)) / 1e6, abs=0.06)


def test_the_default_network_in_words() -> None:
    drawing = draw_network(ModelConfig(), 21)
    assert 'stage5["stage 5: residual blocks 4<br/>512 channels, stride 32<br/>8.39 M parameters"]' in drawing
    assert 'fuse["3x3 convolution<br/>64 channels, stride 4<br/>' in drawing
    assert drawing.startswith("flowchart TB\n")
