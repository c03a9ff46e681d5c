"""Networks of other channels than RGB: first filters by hand numbers, the record in saved models, old models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voc_seg.config import DataConfig, InferenceConfig, ModelConfig, ModelInput, RuntimeConfig
from voc_seg.config.model_input import MEAN, RGB_INPUT, STD
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.encoder import widen
from voc_seg.models.exchange import model_metadata, read_safetensors, to_safetensors
from voc_seg.models.registry import build_model, require_trained_for, restore_model
from voc_seg.models.saved import FORMAT_VERSION, require_best_model
from voc_seg.models.segmentation_net import input_of
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")

FOUR = ModelInput((0.1, 0.2, 0.3, 0.4), (0.5, 0.25, 0.125, 1.5), (0.0, 4095.0))
CONFIG = ModelConfig(width=8)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        # The mean of 1, 2 and 6 is 3.
        (1, [9]),
        (2, [4.5, 4.5]),
        (4, [0.75, 1.5, 4.5, 2.25]),
        (6, [0.5, 1, 3, 1.5, 1.5, 1.5]),
    ],
)
def test_first_filters_are_widened(channels: int, expected: list[float]) -> None:
    filters = torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1).repeat(2, 1, 7, 7)
    found = widen(filters, channels)
    assert found.shape == (2, channels, 7, 7)
    assert (found == torch.tensor(expected).reshape(1, -1, 1, 1)).all()
    assert found.sum() == filters.sum()  # so an image with equal channels gives the same features


def test_grey_by_one_channel_gives_the_features_of_grey_as_rgb() -> None:
    filters, grey = torch.randn(4, 3, 7, 7), torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(
        torch.conv2d(grey, widen(filters, 1)), torch.conv2d(grey.repeat(1, 3, 1, 1), filters), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_weights_of_rgb_start_a_network_of_other_channels(tmp_path: Path, channels: int) -> None:
    state = build_model(CONFIG, 3).encoder.state_dict()
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "w.pth")
    model_input = ModelInput((0.5,) * channels, (0.5,) * channels)
    config = CONFIG.model_copy(update={"weights": str(tmp_path / "w.pth")})
    found = build_model(config, 3, model_input).encoder.state_dict()
    expected = {key: value.half().float() for key, value in state.items() if value.is_floating_point()}
    expected["conv1.weight"] = widen(expected["conv1.weight"], channels)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_weights_of_as_many_channels_are_taken_as_they_are(tmp_path: Path) -> None:
    state = build_model(CONFIG, 3, FOUR).encoder.state_dict()
    torch.save(state, tmp_path / "w.pth")
    config = CONFIG.model_copy(update={"weights": str(tmp_path / "w.pth")})
    assert torch.equal(build_model(config, 3, FOUR).encoder.conv1.weight, state["conv1.weight"])
    with pytest.raises(VocSegError, match=r"1 of another shape \['conv1.weight'\]"):
        build_model(config, 3)


def saved_model(model_input: ModelInput, **data: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "format_version": FORMAT_VERSION,
        "model": build_model(CONFIG, 3, model_input).state_dict(),
        "model_config": CONFIG.model_dump(mode="json"),
        "class_names": ["background", "cat", "dog"],
        "config": {
            "evaluation": {"scale": 1.0, "flip": False},
            "data": {"source": "own", **model_input.record, **data},
        },
        "image_size": None,
        "source": "own",
        "epoch": 2,
        "val_miou": 0.5,
    }


def test_a_saved_model_knows_its_input(tmp_path: Path) -> None:
    saved = saved_model(FOUR)
    require_best_model(saved, "best_model.pth")
    torch.save(saved, tmp_path / "m.pth")
    (tmp_path / "m.safetensors").write_bytes(to_safetensors(saved, model_metadata(saved)))
    for read in (
        torch.load(tmp_path / "m.pth", weights_only=True),
        read_safetensors(tmp_path / "m.safetensors"),
    ):
        assert ModelInput.of(read) == FOUR
        model = restore_model(read)
        assert input_of(model) == FOUR
        assert model(torch.zeros(1, 4, 32, 32)).shape == (1, 3, 32, 32)


def test_inference_normalises_as_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = saved_model(FOUR)
    seen = []
    forward = torch.nn.Module.__call__
    segmenter = load_segmenter(saved, InferenceConfig(), choose_runtime(RuntimeConfig(device="cpu", precision="fp32")))

    def spy(module: torch.nn.Module, *given: Any) -> Any:
        if type(module).__name__ == "SegmentationNet":
            seen.append(given[0].clone())
        return forward(module, *given)

    monkeypatch.setattr(torch.nn.Module, "__call__", spy)
    segmenter(np.full((8, 8, 4), 51, np.uint8))
    # (0.2 - mean) / std, by hand
    expected = torch.tensor([0.2, 0.0, -0.8, -0.2 / 1.5])
    torch.testing.assert_close(seen[0][0, :, 3, 3], expected, rtol=1e-5, atol=1e-6)


def test_models_of_earlier_versions_are_rgb() -> None:
    saved = saved_model(RGB_INPUT)
    for config in ({}, {"data": {}}, {"data": {"longer_side": None}}, None):
        old = {key: value for key, value in saved.items() if key != "config"} | ({"config": config} if config else {})
        assert ModelInput.of(old) == RGB_INPUT == ModelInput(MEAN, STD)
        assert input_of(restore_model(old)) == RGB_INPUT
        require_trained_for(old, DataConfig(classes=tuple(old["class_names"])))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"channels": 0}, "config.data.channels is 0; it must be a number of channels"),
        ({"channels": True}, "config.data.channels is True"),
        ({"channels": 10**9}, "config.data.channels is 1000000000"),
        ({"mean": [0.5, 2, 0.5, 0.5]}, "config.data.mean is "),
        ({"std": [1, 1, 1, 0]}, "config.data.std is "),
        ({"range": [5, 5]}, "config.data.range is "),
        ({"mean": [0.5] * 3}, "config.data has 3 means and 4 deviations for 4 channels"),
        ({"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}, r"conv1.weight is \(64, 4, 7, 7\) and should be"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        require_best_model(saved_model(FOUR, **data), "best_model.pth")


def test_images_read_in_another_way_are_refused() -> None:
    saved = saved_model(FOUR)
    classes = tuple(saved["class_names"])
    require_trained_for(saved, DataConfig(classes=classes, channels=4, range=(0, 4095)))
    for other in ({}, {"channels": 4}, {"channels": 4, "range": (0, 1023)}):
        with pytest.raises(VocSegError, match=r"trained with data.channels=4, data.range=\[0.0, 4095.0\]; this run"):
            require_trained_for(saved, DataConfig(classes=classes, **other))
