"""Confidence, uncertainty and features of an image: by hand, in tiles, and without any effect on the mask."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import InferenceConfig, ModelConfig
from voc_seg.engine import inference
from voc_seg.engine.confidence import as_bytes, confidence_of, uncertainty_of
from voc_seg.engine.inference import Segmenter, load_segmenter
from voc_seg.engine.preprocessing import Preprocessing
from voc_seg.engine.runtime import Runtime
from voc_seg.models.registry import build_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.batches import normalise
from voc_seg.voc.classes import CLASS_NAMES

CPU = Runtime(torch.device("cpu"), torch.float32)
WHOLE = Preprocessing((1.0,), False, None, None, 1024)
ALL = InferenceConfig(confidence=True, label_next=3)


def scores_of(*probabilities: float) -> Tensor:
    """Logits of one pixel, up to a constant."""
    return torch.tensor(probabilities).log().add(3.0)[None, :, None, None]


@pytest.mark.parametrize(
    ("probabilities", "confidence", "uncertainty"),
    [
        ((0.7, 0.2, 0.1), 0.7, 0.5),
        ((0.1, 0.45, 0.45), 0.45, 1.0),
        ((0.25, 0.25, 0.25, 0.25), 0.25, 1.0),
        ((1e-30, 1.0), 1.0, 0.0),
    ],
)
def test_by_hand(probabilities: tuple[float, ...], confidence: float, uncertainty: float) -> None:
    scores = scores_of(*probabilities)
    assert confidence_of(scores).shape == uncertainty_of(scores).shape == (1, 1, 1)
    assert confidence_of(scores).item() == pytest.approx(confidence, abs=1e-6)
    assert uncertainty_of(scores).item() == pytest.approx(uncertainty, abs=1e-6)


def test_scores_of_several_scales_are_logarithms_of_sums() -> None:
    first, second = torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])
    scores = torch.logaddexp(first.log(), second.log())[None, :, None, None]
    assert confidence_of(scores).item() == pytest.approx(0.7)


def test_the_byte_is_rounded() -> None:
    assert as_bytes(torch.tensor([0.0, 0.5 / 255 - 1e-4, 0.5 / 255 + 1e-4, 1.0])).tolist() == [0, 0, 1, 255]


class Stripes(nn.Module):
    """Logits that only depend on the red of the pixel: 0 (half) to 4 (0.982) for the second of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        self.encoder([images])
        red = functional.relu(images[:, :1])
        return torch.cat([torch.zeros_like(red), red], 1)


def test_unsure_pixels_become_void_and_others_stay() -> None:
    image = np.zeros((4, 256, 3), np.uint8)
    image[..., 0] = np.arange(256)
    model = Stripes().eval()
    plain = Segmenter(model, WHOLE, CPU, InferenceConfig()).predict(image)
    assert (plain.confidence, plain.uncertainty, plain.feature) == (None, None, None)
    for least in (0.0, 0.5, 0.8, 1.0):
        found = Segmenter(model, WHOLE, CPU, InferenceConfig(confidence=True, min_confidence=least)).predict(image)
        mean, deviation = 0.485, 0.229  # of ImageNet
        red = np.maximum(0, (np.arange(256) / 255 - mean) / deviation)
        expected = 1 / (1 + np.exp(-red))
        assert np.abs(found.confidence[0] / 255 - expected).max() <= 0.5 / 255 + 1e-5
        near = np.abs(expected - least) < 1e-6
        unsure = expected < least
        assert ((found.mask[0] == 255) == unsure)[~near].all()
        assert (found.mask[0] == plain.mask[0])[~unsure & ~near].all()
        assert (found.mask == found.mask[:1]).all()


@pytest.fixture(scope="module")
def network() -> SegmentationNet:
    torch.manual_seed(0)
    model = build_model(ModelConfig(width=16), 21)
    with torch.no_grad():
        model.decoder.classify.weight.mul_(50)
    return model.eval()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (130, 200, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "preprocessing",
    [WHOLE, Preprocessing((0.5, 0.75), True, None, None, 1024), Preprocessing((1.0,), False, None, None, 128)],
)
def test_the_mask_is_the_same_to_the_pixel(
    network: SegmentationNet, image: np.ndarray, preprocessing: Preprocessing
) -> None:
    mask = Segmenter(network, preprocessing, CPU, InferenceConfig()).predict(image).mask
    found = Segmenter(network, preprocessing, CPU, ALL).predict(image)
    assert np.array_equal(found.mask, mask)
    assert found.confidence.shape == found.uncertainty.shape == mask.shape
    assert found.feature.shape == (512,) and found.feature.dtype == np.float32
    # Of p1 + p2 <= 1 follows that the margin is at least 2 p1 - 1.
    assert (found.uncertainty.astype(int) <= 2 * (255 - found.confidence.astype(int)) + 2).all()
    assert not network.encoder._forward_hooks


def test_the_feature_is_the_mean_of_the_last_map(network: SegmentationNet, image: np.ndarray) -> None:
    found = Segmenter(network, WHOLE, CPU, ALL).predict(image)
    with torch.inference_mode():
        inputs = normalise(torch.from_numpy(image[None]).permute(0, 3, 1, 2), network.model_input)
        expected = network.encoder(network.pad(inputs))[-1].mean((0, 2, 3))
    assert found.feature == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)


def test_nothing_is_computed_that_is_not_asked_for(
    network: SegmentationNet, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Segmenter(network, WHOLE, CPU, InferenceConfig()).predict(image).mask
    for name in ("confidence_of", "uncertainty_of"):
        monkeypatch.setattr(inference, name, lambda scores: pytest.fail("not asked for"))
    assert np.array_equal(Segmenter(network, WHOLE, CPU, ALL)(image), expected)


def test_the_hook_is_removed_after_an_error(image: np.ndarray) -> None:
    class Failing(Stripes):
        def forward(self, images: Tensor) -> Tensor:
            raise ValueError(images.shape)

    model = Failing()
    with pytest.raises(ValueError, match="Size"):
        Segmenter(model, WHOLE, CPU, ALL).predict(image)
    assert not model.encoder._forward_hooks


def test_the_temperature_of_the_model_scales_confidence_and_leaves_the_mask() -> None:
    image = np.zeros((4, 256, 3), np.uint8)
    image[..., 0] = np.arange(256)
    model = Stripes().eval()
    plain = Segmenter(model, WHOLE, CPU, ALL).predict(image)
    flat = Segmenter(model, WHOLE, CPU, ALL, temperature=2.0).predict(image)
    assert np.array_equal(flat.mask, plain.mask)
    logits = np.maximum(0, (np.arange(256) / 255 - 0.485) / 0.229)
    expected = 1 / (1 + np.exp(-logits / 2))
    assert np.abs(flat.confidence[0] / 255 - expected).max() <= 0.5 / 255 + 1e-5
    assert np.abs(flat.uncertainty[0] / 255 - 2 * (1 - expected)).max() <= 0.5 / 255 + 1e-5


def test_the_temperature_is_read_from_the_model(network: SegmentationNet) -> None:
    settings = ModelConfig(width=16)
    saved = {
        "model": network.state_dict(), "model_config": settings.model_dump(mode="json"),
        "class_names": list(CLASS_NAMES),
        "config": {"evaluation": {"scale": 1.0, "flip": False}}, "image_size": None, "format_version": 1,
    }  # fmt: skip
    assert load_segmenter(saved, ALL, CPU).temperature == 1.0
    assert load_segmenter(saved | {"temperature": 1.7}, ALL, CPU).temperature == 1.7
