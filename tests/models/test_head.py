"""The decoder on stored maps is the network, whichever maps it uses."""

import pytest
import torch

from voc_seg.config import ModelConfig
from voc_seg.models.head import Head, used_maps
from voc_seg.models.segmentation_net import SegmentationNet

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.mark.parametrize(("skips", "used"), [((2, 3, 4), [1, 2, 3, 4]), ((4,), [3, 4]), ((1, 3), [0, 2, 4])], ids=str)
@pytest.mark.parametrize("output_stride", [16, 32])
def test_a_head_gives_the_networks_logits(skips: tuple[int, ...], used: list[int], output_stride: int) -> None:
    torch.manual_seed(0)
    model = SegmentationNet(ModelConfig(skips=skips, width=8, output_stride=output_stride), 5).eval()
    assert used_maps(model) == used
    images = torch.randn(2, 3, 50, 70)
    with torch.no_grad():
        features = model.encoder(model.pad(images))
        logits = Head(model, used)([features[level] for level in used])
        assert logits.shape == (2, 5, 64, 96)
        torch.testing.assert_close(logits[..., :50, :70], model(images))


def test_looking_for_used_maps_leaves_the_network_and_the_random_numbers_alone() -> None:
    model = SegmentationNet(ModelConfig(width=8), 5).train()
    before, generator = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    used_maps(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert model.decoder.training and all(parameter.grad is None for parameter in model.parameters())
