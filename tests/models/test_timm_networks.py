"""Networks of timm by name: refusals with the reason, normalisation, weights."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from voc_seg.config import ModelConfig, Parameters
from voc_seg.engine.normalisation import with_statistics
from voc_seg.models import timm_networks
from voc_seg.models.registry import build_model, require_weights
from voc_seg.models.segmentation_net import bare_model
from voc_seg.samples.store import Origin, SampleStore
from voc_seg.system.errors import VocSegError

timm = pytest.importorskip("timm")

LITE0 = Path(__file__).parents[3] / "shared/weights/efficientnet_lite0_imagenet_timm.safetensors"


def _config(**options: Any) -> ModelConfig:
    return ModelConfig.model_validate({"width": 8, **options})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "timm:convnext_tin"}, "has no network convnext_tin. Did you mean timm:convnext_tiny"),
        ({"encoder": "timm:test_vit.in22k"}, "has no weights in22k of test_vit. Known: r160_in1k."),
        ({"encoder": "timm:test_convnext", "skips": [1, 3]}, "has no stage 1. Choose from: 2, 3, 4."),
        ({"encoder": "timm:test_coatnet"}, "it fails for an image of 32 x 32"),
        ({"encoder": "timm:test_vit_relpos"}, "it fails for an image of 32 x 32 (Input height (32) doesn't match"),
        ({"encoder": "timm:pit_ti_224"}, "its feature maps have strides 8, 16, 32; 4, 8, 16 and 32 are needed"),
        ({"encoder": "timm:vgg11", "output_stride": 16}, "cannot be built here with model.output_stride=16; set 32"),
        ({"encoder": "timm:test_vit4", "weights": "nowhere.pth"}, "model.weights: there is no file"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_run(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(VocSegError) as caught:
        require_weights(_config(**settings))
    assert message in str(caught.value)


@pytest.mark.parametrize("encoder", ["timm:test_resnet", "timm:test_convnext", "timm:test_vit"])
def test_the_output_stride(encoder: str) -> None:
    config = _config(encoder=encoder, output_stride=16)
    require_weights(config)
    network = bare_model(config, 2)
    assert network.encoder.strides[-2:] == (16, 16)
    assert network.eval()(torch.zeros(1, 3, 40, 40)).shape == (1, 2, 40, 40)


@pytest.mark.parametrize(
    "encoder", ["timm:test_vit", "timm:test_vit3", "timm:swin_tiny_patch4_window7_224", "timm:test_resnet"]
)
def test_a_rank_without_a_crop_has_gradients_of_zero(encoder: str) -> None:
    """With several ranks the last batch of an epoch may be smaller than their number."""
    network = bare_model(_config(encoder=encoder), 2).train()
    logits = network(torch.zeros(0, 3, 64, 64))
    assert logits.shape == (0, 2, 64, 64)
    logits.sum().backward()
    used = [parameter for parameter in network.encoder.parameters() if parameter.grad is not None]
    assert used and not any(parameter.grad.any() for parameter in used)
    whole = bare_model(_config(encoder=encoder), 2).train()
    whole(torch.rand(2, 3, 64, 64)).sum().backward()
    assert len(used) == sum(parameter.grad is not None for parameter in whole.encoder.parameters())


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_networks, "find_spec", lambda name: None)
    with pytest.raises(VocSegError, match=r"needs the package timm.*pip install 'voc_seg\[timm\]'"):
        bare_model(_config(encoder="timm:test_vit"), 2)


def test_images_are_normalised_as_the_encoder_expects(train_store: SampleStore) -> None:
    def mean(origin: Origin = train_store.origin, **blocks: Any) -> tuple[float, ...]:
        return with_statistics(Parameters.model_validate(blocks), origin).data.model_input.mean

    assert mean() == mean(model={"encoder": "timm:test_efficientnet"}) == (0.485, 0.456, 0.406)
    half = {"encoder": "timm:test_vit"}
    assert mean(model=half) == (0.5, 0.5, 0.5)
    assert mean(model=half, data={"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}) == (0.1, 0.2, 0.3)
    grey = Origin("own", mean=(0.25,), std=(0.5,))
    assert mean(grey, model=half, data={"channels": 1}) == (0.25,)


def test_pretrained_weights_fill_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    source = timm.create_model("test_efficientnet")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **_: source if pretrained else build(name))
    build = timm.models.create_model
    for weights in ("pretrained", "imagenet"):
        found = build_model(_config(encoder="timm:test_efficientnet", weights=weights), 2).encoder.state_dict()
        assert all(torch.equal(value, source.state_dict()[key]) for key, value in found.items())


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError("Name or service not known"), "Could not download the pretrained weights of test_vit from https://hu"),
        (type("GatedRepoError", (OSError,), {})("401"), "only for people who have accepted their licence"),
    ],
)
def test_a_download_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, advice: str
) -> None:
    hub = logging.getLogger("huggingface_hub")

    def fail(*_: Any, **__: Any) -> None:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    level = hub.level
    with pytest.raises(VocSegError) as caught:
        timm_networks.download("test_vit")
    assert "Retrying" not in caplog.text and hub.level == level
    assert advice in str(caught.value)
    assert "https://huggingface.co/timm/test_vit.r160_in1k" in str(caught.value)


def test_a_file_of_timms_weights(tmp_path: Path) -> None:
    """With the classifier, in half precision; from RGB to two channels."""
    torch.manual_seed(3)
    state = {key: value.half() for key, value in timm.create_model("test_convnext").state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    config = _config(encoder="timm:test_convnext", weights=str(tmp_path / "w.safetensors"))
    require_weights(config)
    found = build_model(config, 2).encoder.state_dict()
    assert all(torch.equal(value, state[key].float()) for key, value in found.items())
    with pytest.raises(VocSegError, match="does not fit"):
        require_weights(_config(encoder="timm:test_resnet", weights=str(tmp_path / "w.safetensors")))


@pytest.mark.skipif(not LITE0.exists(), reason="the weights are not there")
def test_real_weights_of_lite0() -> None:
    config = _config(encoder="timm:tf_efficientnet_lite0", weights=str(LITE0))
    require_weights(config)
    encoder = build_model(config, 2).encoder
    assert {layer.eps for layer in encoder.modules() if hasattr(layer, "eps")} == {1e-3}
    assert timm_networks.statistics(config) == ((0.5,) * 3, (0.5,) * 3)
