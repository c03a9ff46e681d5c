"""Every network passes the same checks; its parts match their formulas."""

from functools import lru_cache
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet

from voc_seg.config import AugmentationConfig, ModelConfig
from voc_seg.config.network import RESNETS
from voc_seg.engine.losses import with_auxiliary
from voc_seg.models import encoders
from voc_seg.models.decoder import Upsample
from voc_seg.models.decoders import DECODERS
from voc_seg.models.encoder import ENCODER_CHANNELS, ResNetEncoder, count_parameters
from voc_seg.models.segmentation_net import SegmentationNet

CLASSES = 5
ENCODERS = tuple(ENCODER_CHANNELS)
STRIDES = get_args(ModelConfig.model_fields["output_stride"].annotation)
CONTEXTS = get_args(ModelConfig.model_fields["context"].annotation)
SKIPS = ((1,), (2, 3, 4), (1, 2, 3, 4))
HEADS: dict[str, dict[str, Any]] = {
    **{
        f"skips{''.join(map(str, skips))}-{context}": {"skips": skips, "context": context}
        for skips, context in product(SKIPS, CONTEXTS)
    },
    "aspp": {"decoder": "aspp"},
    "linear-auxiliary": {"decoder": "linear", "auxiliary": 0.4},
}


def _build(encoder: str = "resnet18", **options: object) -> SegmentationNet:
    torch.manual_seed(0)
    options = {"width": 8, "classes": CLASSES, **options}
    classes = options.pop("classes")
    config = ModelConfig.model_validate({"encoder": encoder, **options})
    return SegmentationNet(config, classes).to(memory_format=torch.channels_last)


def _images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=1)  # they come in order, and six take 700 MB with their gradients
def _shared_encoder(*arguments: object) -> ResNetEncoder:
    return ResNetEncoder(*arguments)


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> SegmentationNet:
    """Initialising encoders takes most of the time, so networks with the same one share it."""
    encoder, output_stride, head = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "ResNetEncoder", _shared_encoder)
        return _build(encoder, output_stride=output_stride, **HEADS[head])


def test_settings_and_networks_name_the_same_encoders_and_decoders() -> None:
    assert set(RESNETS) == set(ENCODERS)
    assert set(get_args(ModelConfig.model_fields["decoder"].annotation)) == set(DECODERS)


@pytest.mark.parametrize(
    "network",
    list(product(ENCODERS, STRIDES, HEADS)),
    indirect=True,
    ids=lambda p: f"{p[0]}-os{p[1]}-{p[2]}",
)
class TestEveryNetwork:
    def test_logits_have_the_size_of_the_image(self, network: SegmentationNet) -> None:
        with torch.inference_mode():
            assert network.eval()(_images(1, 3, 45, 61)).shape == (1, CLASSES, 45, 61)

    def test_gradients_reach_every_parameter(self, network: SegmentationNet) -> None:
        """With a batch of one 64-pixel crop: the last batch of an epoch may be that small."""
        network.train().zero_grad(set_to_none=True)
        outputs = network(_images(1, 3, 64, 64))
        targets = torch.randint(0, CLASSES, (1, 64, 64))
        loss = with_auxiliary(functional.cross_entropy, 0.4 if network.auxiliary else 0.0)
        loss(outputs, targets).backward()
        assert [name for name, p in network.named_parameters() if p.grad is None] == []
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
        # Biases of pooled branches may start behind a closed ReLU; kernels must feel the loss.
        kernels = {name: p for name, p in network.named_parameters() if p.ndim == 4 and ".pooled." not in name}
        assert [name for name, kernel in kernels.items() if not kernel.grad.any()] == []

    def test_evaluation_is_deterministic(self, network: SegmentationNet) -> None:
        images = _images(1, 3, 32, 32)
        with torch.inference_mode():
            network.eval()
            assert torch.equal(network(images), network(images))


@pytest.mark.parametrize("decoder", DECODERS)
def test_any_size_goes_in_and_comes_out(decoder: str) -> None:
    network = _build(decoder=decoder).eval()
    with torch.inference_mode():
        for height, width in ((281, 375), (1, 1), (32, 33), (7, 130)):
            assert network(_images(1, 3, height, width)).shape == (1, CLASSES, height, width)


@pytest.mark.parametrize("decoder", DECODERS)
def test_channels_last_gives_the_logits_of_the_plain_layout_in_its_own(decoder: str) -> None:
    images = _images(2, 3, 64, 96)
    network = _build(decoder=decoder).eval()
    with torch.inference_mode():
        logits = network(images.to(memory_format=torch.channels_last))
        plain = network.to(memory_format=torch.contiguous_format)(images)
    assert logits.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-4)


def test_a_single_crop_of_the_smallest_size_trains() -> None:
    """The last batch of an epoch may have one crop, and batch norm needs more than one value a channel."""
    bounds = AugmentationConfig.model_fields["crop_size"].metadata
    smallest = max(bound.ge for bound in bounds if hasattr(bound, "ge"))
    for decoder in DECODERS:
        for logits in _build(decoder=decoder, auxiliary=0.4).train()(_images(1, 3, smallest, smallest)):
            assert logits.shape == (1, CLASSES, smallest, smallest) and logits.isfinite().all()


def test_padding_to_the_stride_is_cropped_off_at_the_far_side() -> None:
    """An image padded with the mean colour is the same image in the same position."""
    network = _build().eval()
    image = _images(1, 3, 40, 50)
    framed = functional.pad(image, (0, 14, 0, 24))  # (64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), network(framed)[..., :40, :50])


@pytest.mark.parametrize("decoder", DECODERS)
def test_dropout_works_in_training_only(decoder: str) -> None:
    network = _build(decoder=decoder, dropout=0.5)
    images = _images(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network.train()(images), network(images))
        assert torch.equal(network.eval()(images), network(images))


def test_images_of_a_batch_do_not_mix_in_evaluation() -> None:
    network = _build().eval()
    images = _images(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[1:], network(images[1:]), rtol=1e-4, atol=1e-5)


class TestEncoder:
    @pytest.mark.parametrize("name", ENCODERS)
    def test_features_lead_to_torchvisions_own_logits(self, name: str) -> None:
        torch.manual_seed(0)
        theirs = getattr(resnet, name)(weights=None).eval()
        ours = ResNetEncoder(name).eval()
        ours.load_state_dict(theirs.state_dict(), strict=False)
        images = _images(2, 3, 64, 64)
        with torch.inference_mode():
            features = ours(images)
            found = theirs.fc(theirs.avgpool(features[-1]).flatten(1))
            torch.testing.assert_close(found, theirs(images))
            stem = theirs.relu(theirs.bn1(theirs.conv1(images)))
            torch.testing.assert_close(features[0], stem)
            torch.testing.assert_close(features[2], theirs.layer2(theirs.layer1(theirs.maxpool(stem))))

    @pytest.mark.parametrize("output_stride", STRIDES)
    @pytest.mark.parametrize("name", ENCODERS)
    def test_shapes_are_those_announced(self, name: str, output_stride: int) -> None:
        encoder = ResNetEncoder(name, output_stride).eval()
        with torch.inference_mode():
            features = encoder(_images(1, 3, 64, 96))
        assert [tuple(feature.shape[1:]) for feature in features] == [
            (channels, 64 // stride, 96 // stride) for channels, stride in zip(encoder.channels, encoder.strides)
        ]
        assert encoder.strides[-1] == output_stride

    @pytest.mark.parametrize("output_stride", [16, 8])
    @pytest.mark.parametrize("stride_in_1x1", [False, True])
    @pytest.mark.parametrize("name", ["resnet18", "resnet50"])
    def test_dilation_computes_the_strided_network_in_between(
        self, name: str, stride_in_1x1: bool, output_stride: int
    ) -> None:
        """Chen et al. 2017: every second (or fourth) position of a dilated stage is what the strided one computes."""
        strided = ResNetEncoder(name, 32, stride_in_1x1).eval()
        dilated = ResNetEncoder(name, output_stride, stride_in_1x1).eval()
        dilated.load_state_dict(strided.state_dict())
        images = _images(1, 3, 128, 128)
        with torch.inference_mode():
            for found, expected, stride in zip(dilated(images), strided(images), (2, 4, 8, 16, 32)):
                every = max(1, stride // output_stride)
                torch.testing.assert_close(found[..., ::every, ::every], expected, rtol=1e-3, atol=1e-3)

    def test_stride_in_1x1_moves_the_stride_of_bottlenecks_only(self) -> None:
        moved = ResNetEncoder("resnet50", stride_in_1x1=True)
        for stage in (moved.layer2, moved.layer3, moved.layer4):
            assert (stage[0].conv1.stride, stage[0].conv2.stride) == ((2, 2), (1, 1))
        assert moved.layer1[0].conv1.stride == (1, 1)
        basic = ResNetEncoder("resnet18", stride_in_1x1=True)
        assert basic.layer2[0].conv1.stride == (2, 2)


class TestUpsample:
    def test_starts_as_bilinear_interpolation(self) -> None:
        maps = _images(2, 3, 7, 9)
        with torch.no_grad():
            found = Upsample(3)(maps)
        expected = functional.interpolate(maps, scale_factor=2, mode="bilinear")
        assert found.shape == expected.shape
        # At the rim a transposed convolution fades towards zero.
        torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])

    def test_learns(self) -> None:
        assert Upsample(3).weight.requires_grad

    def test_every_channel_has_the_bilinear_kernel_and_no_other(self) -> None:
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        expected = torch.zeros(3, 3, 4, 4)
        expected[range(3), range(3)] = line[:, None] * line
        torch.testing.assert_close(Upsample(3).weight.detach(), expected)


def test_parameters_are_counted_once_and_frozen_ones_not() -> None:
    layer = nn.Linear(3, 2)  # 6 weights, 2 biases
    assert count_parameters(layer) == 8
    layer.bias.requires_grad = False
    assert count_parameters(layer) == 6
