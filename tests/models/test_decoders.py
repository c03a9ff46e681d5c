"""Decoders match their formulas and the libraries that have them; settings that do nothing are named."""

import logging

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.segmentation.fcn import FCNHead

from voc_seg.config import ModelConfig
from voc_seg.models.aspp import AsppDecoder, AtrousPyramid
from voc_seg.models.auxiliary import AuxiliaryHead
from voc_seg.models.decoder import TransposedDecoder
from voc_seg.models.encoder import Encoder
from voc_seg.models.linear import LinearDecoder
from voc_seg.models.registry import build_model
from voc_seg.models.segmentation_net import bare_model
from voc_seg.system.errors import VocSegError

CHANNELS, SIDE = (4, 6, 8, 12, 16), 64


def _encoder(strides: tuple[int, ...], first_stage: int = 1) -> Encoder:
    encoder = Encoder()
    encoder.strides, encoder.channels = strides, CHANNELS[: len(strides)]
    encoder.first_stage, encoder.multiple = first_stage, 32
    return encoder


def _features(encoder: Encoder) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, channels, SIDE // stride, SIDE // stride, generator=generator)
        for channels, stride in zip(encoder.channels, encoder.strides)
    ]


@torch.no_grad()
def _shake(module: nn.Module) -> None:
    """Give batch norm statistics and values that are not those of its start."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)


class TestAspp:
    @pytest.mark.parametrize("stride", [16, 8])
    def test_with_their_weights_the_result_is_that_of_segmentation_models(self, stride: int) -> None:
        """Theirs has batch norm after the mean, folded into ours, and one of the two last convolutions earlier."""
        theirs = pytest.importorskip("segmentation_models_pytorch.decoders.deeplabv3.decoder")
        encoder = _encoder((2, 4, 8, 16, 16) if stride == 16 else (2, 4, 8, 8, 8))
        ours = AsppDecoder(ModelConfig(width=8, decoder="aspp"), encoder, 3).eval()
        assert ours.rates == ((6, 12, 18) if stride == 16 else (12, 24, 36))
        other = theirs.DeepLabV3PlusDecoder([3, *CHANNELS], 5, 8, ours.rates, stride, True, 0.0).eval()
        _shake(other)
        aspp, separable = other.aspp[0], other.aspp[1:]
        with torch.no_grad():
            _, convolution, norm, _ = aspp.convs[-1]
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            ours.context.pooled.weight.copy_(convolution.weight * scale[:, None, None, None])
            ours.context.pooled.bias.copy_(norm.bias - norm.running_mean * scale)
        pairs = [
            *zip(ours.context.branches, aspp.convs), (ours.context.project, aspp.project),
            (ours.reduce, other.block1), (ours.fuse[0], other.block2), (ours.fuse[1], separable),
        ]  # fmt: skip
        for mine, yours in pairs:
            values = [value for key, value in yours.state_dict().items()]
            mine.load_state_dict(dict(zip(mine.state_dict(), values, strict=True)))
        features = _features(encoder)
        with torch.inference_mode():
            torch.testing.assert_close(ours.context(features[-1]), aspp(features[-1]))
            fine = other.block1(features[1])
            enlarged = functional.interpolate(aspp(features[-1]), fine.shape[-2:], mode="bilinear")
            expected = ours.classify(separable(other.block2(torch.cat([enlarged, fine], 1))))
            torch.testing.assert_close(ours(features), expected)

    def test_at_stride_32_the_rates_are_halved(self) -> None:
        assert AsppDecoder(ModelConfig(), _encoder((2, 4, 8, 16, 32)), 3).rates == (3, 6, 9)

    def test_a_batch_of_one_with_a_single_position_trains(self) -> None:
        pyramid = AtrousPyramid(4, 8, (1,)).train()
        assert pyramid.pooled(torch.ones(1, 4, 1, 1)).shape == (1, 8, 1, 1)
        assert pyramid(torch.randn(1, 4, 2, 1)).isfinite().all()


class TestLinear:
    @pytest.mark.parametrize("strides", [(2, 4, 8, 16, 32), (2, 4, 8, 8, 8), (16, 16, 16)])
    def test_it_is_one_convolution_on_the_enlarged_and_concatenated_maps(self, strides: tuple[int, ...]) -> None:
        encoder = _encoder(strides)
        decoder = LinearDecoder(ModelConfig(dropout=0.0), encoder, 3).train()
        features = _features(encoder)
        used = [maps for maps, stride in zip(features, strides) if stride >= 8]
        normalised = [functional.batch_norm(maps, None, None, training=True) for maps in used]
        enlarged = [functional.interpolate(maps, used[0].shape[-2:], mode="bilinear") for maps in normalised]
        torch.testing.assert_close(decoder(features), decoder.classify(torch.cat(enlarged, 1)), rtol=1e-4, atol=1e-5)


class TestTransposed:
    def test_both_stages_of_one_stride_are_added(self) -> None:
        encoder = _encoder((2, 4, 8, 8, 8))
        decoder = TransposedDecoder(ModelConfig(width=8, skips=(3, 4)), encoder, 3).eval()
        features = _features(encoder)
        assert not decoder.upsample
        with torch.inference_mode():
            maps = decoder.context(features[4]) + decoder.skips["3"](features[2]) + decoder.skips["4"](features[3])
            assert torch.equal(decoder(features), decoder.classify(decoder.fuse(maps)))

    def test_stages_are_numbered_from_the_encoders_first(self) -> None:
        encoder = _encoder((4, 8, 16, 32), first_stage=2)
        decoder = TransposedDecoder(ModelConfig(width=8), encoder, 3).eval()
        assert decoder(_features(encoder)).shape == (2, 3, SIDE // 4, SIDE // 4)
        with pytest.raises(VocSegError, match=r"model\.skips \[1, 2\]: resnet18 has no stage 1\. Choose from: 2, 3, 4"):
            TransposedDecoder(ModelConfig(skips=(1, 2)), encoder, 3)


class TestAuxiliary:
    def test_the_head_is_torchvisions(self) -> None:
        encoder = _encoder((2, 4, 8, 16, 32))
        encoder.channels = (4, 6, 8, 64, 16)
        ours, theirs = AuxiliaryHead(ModelConfig(), encoder, 3).eval(), FCNHead(64, 3).eval()
        _shake(theirs)
        ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
        features = _features(encoder)
        with torch.inference_mode():
            torch.testing.assert_close(ours(features), theirs(features[3]))

    def test_it_is_there_in_training_only(self) -> None:
        network = bare_model(ModelConfig(width=8, auxiliary=0.4), 3)
        images = torch.randn(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
        assert [logits.shape for logits in network.train()(images)] == [(2, 3, 40, 50)] * 2
        with torch.inference_mode():
            assert network.eval()(images).shape == (2, 3, 40, 50)

    def test_the_other_weights_start_as_without_it(self) -> None:
        states = []
        for weight in (0.0, 0.4):
            torch.manual_seed(0)
            states.append(bare_model(ModelConfig(width=8, auxiliary=weight), 3).state_dict())
        plain, more = states
        assert all(torch.equal(value, more[key]) for key, value in plain.items())
        assert {key.partition(".")[0] for key in more.keys() - plain.keys()} == {"auxiliary"}


def test_settings_that_the_decoder_does_not_use_are_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    build_model(ModelConfig(decoder="linear", width=64, context="none"), 3)
    assert "Without effect with model.decoder=linear: model.width, model.context" in caplog.text
    caplog.clear()
    build_model(ModelConfig(decoder="aspp", width=64), 3)
    assert "aspp decoder (width 64)" in caplog.text
    assert "Without effect" not in caplog.text
