"""Where a training starts: from a model of this project by class name, or from an encoder of anybody's file."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from voc_seg.config import ModelConfig, ModelInput
from voc_seg.config.model_input import RGB_INPUT
from voc_seg.models.encoder import widen
from voc_seg.models.exchange import model_metadata, to_safetensors
from voc_seg.models.foreign_weights import find_encoder
from voc_seg.models.registry import build_model, require_weights
from voc_seg.models.saved import FORMAT_VERSION
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.models.weights import flatten
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")

NAMES = ("background", "cat", "dog")


@pytest.fixture(scope="module")
def trained() -> SegmentationNet:
    """A network with values and statistics that no fresh one has."""
    torch.manual_seed(7)
    model = build_model(ModelConfig(width=8), 3)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand_like(value))
    return model.eval()


def _saved(model: SegmentationNet, config: ModelConfig | None = None, **more: Any) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "model": {key: value.clone() for key, value in model.state_dict().items()},
        "model_config": (config or ModelConfig(width=8)).model_dump(mode="json"),
        "class_names": list(NAMES),
        "config": {"data": {"source": "own", "name": "pets", **model.model_input.record}},
        "image_size": None,
        "epoch": 4,
        "val_miou": 0.5,
        **more,
    }


def _start(
    path: Path, saved: Any, names: tuple[str, ...] = NAMES, model_input: ModelInput = RGB_INPUT, **options: Any
) -> SegmentationNet:
    torch.save(saved, path)
    config = ModelConfig.model_validate({"width": 8, "weights": str(path), **options})
    require_weights(config, model_input.channels)
    return build_model(config, len(names), model_input, names).eval()


def _refusal(path: Path, saved: Any, **options: Any) -> str:
    with pytest.raises(VocSegError) as caught:
        _start(path, saved, **options)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def _table(caplog: pytest.LogCaptureFixture) -> list[list[str]]:
    """The cells of the logged table, without its first line, the file."""
    found = [record.getMessage() for record in caplog.records if "not taken" in record.getMessage()]
    return [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in found[-1].splitlines()[1:]]


class TestAModelOfThisProject:
    @pytest.mark.parametrize("kind", ["best model", "checkpoint", "safetensors"])
    def test_the_first_step_has_its_logits(
        self, tmp_path: Path, trained: SegmentationNet, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        saved, path = _saved(trained), tmp_path / "w"
        if kind == "safetensors":
            path.write_bytes(to_safetensors(saved, model_metadata(saved, mean=(0.5,))))
            model = build_model(ModelConfig(width=8, weights=str(path)), 3, RGB_INPUT, NAMES).eval()
        else:
            more = {"rng": {}, "ema": {}, "optimizer": {}, "history": []} if kind == "checkpoint" else {}
            model = _start(path, saved | more)
        images = torch.randn(2, 3, 33, 40)
        with torch.inference_mode():
            assert torch.equal(model(images), trained(images))
        origin = (
            f"model.weights {path}: a {'checkpoint' if kind == 'checkpoint' else 'model'} of voc_seg, trained on pets"
        )
        assert any(record.getMessage().startswith(origin) for record in caplog.records)
        assert _table(caplog) == [
            ["part", "taken", "not taken", "why"],
            ["encoder", f"{len(trained.encoder.state_dict())} tensors", "-"],
            ["decoder", f"{len(trained.decoder.state_dict()) - 2} tensors", "-"],
            ["decoder.classify", "3 classes", "-", "background, cat, dog"],
        ]

    def test_a_checkpoint_gives_its_moving_average(self, tmp_path: Path, trained: SegmentationNet) -> None:
        """The network that was validated, as in ``best_model.pth``."""
        average = AveragedModel(trained, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
        average.update_parameters(trained)
        behind = build_model(ModelConfig(width=8), 3)
        average.update_parameters(behind)
        model = _start(tmp_path / "w", _saved(behind, ema=average.state_dict(), rng={}))
        for key, value in average.module.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key
        lacking = {key: value for key, value in average.state_dict().items() if "conv1" not in key}
        assert "missing (encoder.conv1.weight)" in _refusal(tmp_path / "w", _saved(behind, ema=lacking, rng={}))

    def test_rows_follow_the_class_names(
        self, tmp_path: Path, trained: SegmentationNet, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        torch.manual_seed(3)
        fresh = build_model(ModelConfig(width=8), 4).decoder.classify
        torch.manual_seed(3)
        path = tmp_path / "w"
        torch.save(_saved(trained), path)
        names = ("background", "dog", "cow", "cat")
        found = build_model(ModelConfig(width=8, weights=str(path)), 4, RGB_INPUT, names).decoder.classify
        own = trained.decoder.classify
        for kept, new in ((own.weight, found.weight), (own.bias, found.bias)):
            assert torch.equal(new[[0, 1, 3]], kept[[0, 2, 1]])
        assert torch.equal(found.weight[2], fresh.weight[2])
        assert torch.equal(found.bias[2], fresh.bias[2])
        assert _table(caplog)[3:] == [
            ["decoder.classify", "3 classes", "-", "background, dog, cat"],
            ["decoder.classify", "-", "1 class", "missing in the file, start fresh: cow"],
        ]

    def test_names_that_differ_in_spelling_only_are_pointed_out(
        self, tmp_path: Path, trained: SegmentationNet, caplog: pytest.LogCaptureFixture
    ) -> None:
        _start(tmp_path / "w", _saved(trained), ("background", "Dog", "sea", "c_a_t"))
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [text.partition(",")[0] for text in warned] == [
            "model.weights: Dog starts fresh", "model.weights: c_a_t starts fresh"
        ]  # fmt: skip
        assert "name it dog in data.classes" in warned[0]

    def test_classes_that_are_gone_and_no_common_one(
        self, tmp_path: Path, trained: SegmentationNet, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        model = _start(tmp_path / "w", _saved(trained), ("sky", "sea"))
        assert torch.equal(model.decoder.fuse[0].weight, trained.decoder.fuse[0].weight)
        assert _table(caplog)[3:] == [
            ["decoder.classify", "-", "2 classes", "missing in the file, start fresh: sky, sea"],
            ["decoder.classify", "-", "3 classes", "not in data.classes: background, cat, dog"],
        ]

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"width": 16}, "starts fresh: model.width 8 in the file, 16 here"),
            ({"skips": [3, 4]}, "starts fresh: model.skips (2, 3, 4) in the file, (3, 4) here"),
            # Of the same shapes, but each upsampling has another stride.
            ({"output_stride": 16, "skips": [3, 4]}, "starts fresh: model.skips (2, 3, 4) in the file, (3, 4) here; "
             "model.output_stride 32 in the file, 16 here"),
        ],
    )  # fmt: skip
    def test_another_decoder_starts_fresh(
        self,
        tmp_path: Path,
        trained: SegmentationNet,
        options: dict[str, Any],
        reason: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        model = _start(tmp_path / "w", _saved(trained), **options)
        for key, value in trained.encoder.state_dict().items():
            assert torch.equal(model.encoder.state_dict()[key], value), key
        assert not torch.equal(model.decoder.classify.bias, trained.decoder.classify.bias)
        rows = _table(caplog)
        assert [row[0] for row in rows[1:]] == ["encoder", "decoder"]
        assert rows[2][-1] == reason

    def test_dropout_has_no_weights(self, tmp_path: Path, trained: SegmentationNet) -> None:
        """``sanity`` trains without."""
        model = _start(tmp_path / "w", _saved(trained), dropout=0.0)
        assert torch.equal(model.decoder.classify.weight, trained.decoder.classify.weight)

    def test_another_encoder_is_refused(self, tmp_path: Path, trained: SegmentationNet) -> None:
        message = _refusal(tmp_path / "w", _saved(trained), encoder="resnet34")
        assert (
            "is a model with model.encoder=resnet18, and this run has model.encoder=resnet34. Set model.enc" in message
        )
        message = _refusal(tmp_path / "w", _saved(trained), stride_in_1x1=True)
        assert message.endswith("Set model.stride_in_1x1=false, or use other weights.")

    def test_damaged_values_are_refused_and_nothing_is_taken(self, tmp_path: Path, trained: SegmentationNet) -> None:
        saved = _saved(trained)
        saved["model"]["decoder.fuse.0.weight"][0] = torch.nan
        assert "decoder.fuse.0.weight holds NaN" in _refusal(tmp_path / "w", saved)
        assert "format_version 0" in _refusal(tmp_path / "w", _saved(trained, format_version=0))
        assert "class_names is 'cat'" in _refusal(tmp_path / "w", _saved(trained, class_names="cat"))
        assert "model_config.width is -1" in _refusal(tmp_path / "w", _saved(trained, model_config={"width": -1}))
        two = _saved(trained, class_names=["a", "b"])
        assert "decoder.classify.weight is (3, 4, 1, 1) and should be (2, 4, 1, 1)" in _refusal(tmp_path / "w", two)

    def test_another_normalisation_is_warned_about(
        self, tmp_path: Path, trained: SegmentationNet, caplog: pytest.LogCaptureFixture
    ) -> None:
        saved = _saved(trained)
        _start(tmp_path / "w", saved)
        assert not [record for record in caplog.records if record.levelno == logging.WARNING]
        saved["config"]["data"] |= {"mean": [0.25, 0.5, 0.125], "std": [0.5] * 3, "range": [0.0, 4095.0]}
        _start(tmp_path / "w", saved)
        found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(found) == 2
        assert found[0].endswith("learns faster with its own: data.mean=0.25 0.5 0.125,data.std=0.5 0.5 0.5")
        assert found[1].endswith("data.range=0 4095")

    def test_other_channels(self, tmp_path: Path, trained: SegmentationNet, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        four = ModelInput((0.5,) * 4, (0.5,) * 4)
        model = _start(tmp_path / "w", _saved(trained), model_input=four)
        assert torch.equal(model.encoder.conv1.weight, widen(trained.encoder.conv1.weight, 4))
        assert torch.equal(model.decoder.classify.weight, trained.decoder.classify.weight)
        assert _table(caplog)[1][-1] == "first filters of RGB adapted to the channels"
        assert "is a model with data.channels=4, and this run has data.channels=3" in _refusal(
            tmp_path / "w", _saved(model)
        )


Foreign = Callable[[Mapping[str, Tensor]], Any]


def _with(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


HEAD = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}

FOREIGN: dict[str, tuple[Foreign, str, dict[str, int]]] = {
    "torchvision": (lambda s: {**s, **_with("fc.", HEAD)}, "", {"fc": 2}),
    "DDP": (lambda s: _with("module.", s), "module.", {}),
    "torch.compile of parts": (lambda s: {key.replace("layer1.", "layer1._orig_mod."): s[key] for key in s}, "", {}),
    "DINO": (
        lambda s: {"teacher": {**_with("backbone.", s), **_with("head.mlp.", HEAD)}, "epoch": 100, "args": [1]},
        "teacher.backbone.",
        {"teacher.head": 2},
    ),
    "mmsegmentation": (
        lambda s: {
            "meta": {"CLASSES": ["a"]},
            "state_dict": {**_with("backbone.", s), **_with("decode_head.conv_seg.", HEAD)},
            "optimizer": {"state": {0: HEAD}, "exp_avg": dict(s)},
        },
        "state_dict.backbone.",
        {"state_dict.decode_head": 2},
    ),
    "Lightning": (
        lambda s: {"state_dict": {**_with("model.encoder.", s), **_with("model.decoder.", HEAD)}, "callbacks": {}},
        "state_dict.model.encoder.",
        {"state_dict.model.decoder": 2},
    ),
    "torchvision's detection": (
        lambda s: {
            **{key: value for key, value in _with("backbone.body.", s).items() if "num_batches" not in key},
            **_with("backbone.fpn.", HEAD),
            **_with("rpn.head.", HEAD),
            **_with("roi_heads.box_head.fc6.", HEAD),
        },
        "backbone.body.",
        {"backbone.fpn": 2, "rpn": 2, "roi_heads": 2},
    ),
    "a module saved under two names": (lambda s: {**_with("body.", s), **_with("net.", s)}, "body.", {"net": 126}),
}


class TestFilesOfOthers:
    @pytest.mark.parametrize("case", FOREIGN)
    def test_the_encoder_is_found(
        self, tmp_path: Path, trained: SegmentationNet, case: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        make, prefix, unused = FOREIGN[case]
        state = trained.encoder.state_dict()
        model = _start(tmp_path / "w", make(state))
        counters = "detection" not in case
        for key, value in model.encoder.state_dict().items():
            if counters or not key.endswith("num_batches_tracked"):
                assert torch.equal(value, state[key]), key
        rows = _table(caplog)
        number = sum(counters or not key.endswith("num_batches_tracked") for key in state)
        assert rows[1][:3] == ["encoder", f"{number} tensors", "-"]
        assert rows[1][3:] == ([f"from {prefix}*"] if prefix else [])
        assert rows[2] == [
            "decoder",
            "-",
            f"{len(trained.decoder.state_dict())} tensors",
            "missing in the file, starts fresh",
        ]
        assert {row[0]: int(row[2].split()[0]) for row in rows[3:]} == unused

    def test_of_two_encoders_none_is_chosen(self, tmp_path: Path, trained: SegmentationNet) -> None:
        state = trained.encoder.state_dict()
        other = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
        for content in ({**_with("rgb.", state), **_with("depth.", other)}, {"rgb": state, "depth": other}):
            message = _refusal(tmp_path / "w", content)
            assert "holds 2 encoders that fit, under 'depth.', 'rgb.'. Save the state_dict() of one" in message

    @pytest.mark.parametrize(
        "names", [("student", "teacher"), ("state_dict", "state_dict_ema"), ("model", "ema_model")]
    )
    def test_the_moving_average_is_preferred(
        self, tmp_path: Path, trained: SegmentationNet, names: tuple[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        state = trained.encoder.state_dict()
        other = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
        model = _start(tmp_path / "w", {names[0]: other, names[1]: state})
        assert torch.equal(model.encoder.conv1.weight, trained.encoder.conv1.weight)
        found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert all(f"taking '{names[1]}.', the averaged network" in message for message in found)
        assert found

    def test_a_larger_network_that_contains_the_encoder_is_refused(
        self, tmp_path: Path, trained: SegmentationNet
    ) -> None:
        """More blocks of a stage, more layers in a block, a bias: each is another network, not a head."""
        state = trained.encoder.state_dict()
        for more in ("layer1.2.conv1.weight", "layer1.0.se.fc.weight", "conv1.bias"):
            message = _refusal(tmp_path / "w", {**_with("net.", state), f"net.{more}": torch.ones(1)})
            assert f"0 tensors missing [], 0 of another shape [], 1 unknown ['{more}']" in message

    def test_what_is_missing_or_of_another_shape_is_named(self, tmp_path: Path, trained: SegmentationNet) -> None:
        state = dict(trained.encoder.state_dict())
        weight = state.pop("layer4.0.conv1.weight")
        assert "1 tensors missing ['layer4.0.conv1.weight']" in _refusal(tmp_path / "w", {"net": state})
        state["layer4.0.conv1.weight"] = weight[:1]
        message = _refusal(tmp_path / "w", {"net": state})
        assert "1 of another shape ['layer4.0.conv1.weight']" in message
        assert f"is (1, {weight.shape[1]}, 3, 3) in the file and {tuple(weight.shape)} in the encoder" in message

    def test_dictionaries_that_contain_themselves_end(self) -> None:
        content: dict[str, Any] = {"a": torch.ones(1)}
        content["self"] = content
        assert "self.a" in flatten(content)

    def test_safetensors_of_others_may_have_metadata(self, tmp_path: Path, trained: SegmentationNet) -> None:
        path = tmp_path / "w.safetensors"
        state = {key: value.contiguous() for key, value in trained.encoder.state_dict().items()}
        save_file(state, path, {"format": "pt", "model_config": "{}"})
        model = build_model(ModelConfig(width=8, weights=str(path)), 3)
        assert torch.equal(model.encoder.conv1.weight, trained.encoder.conv1.weight)


@pytest.mark.parametrize(
    "name", ["convnext_atto", "efficientnet_lite0", "mobilenetv3_small_050", "resnet10t", "vit_tiny_patch16_224"]
)
def test_files_of_timm_fit_its_feature_extractors(name: str) -> None:
    """Whose keys differ from those of the full network: ``stages_0`` for ``stages.0``, or ``model.`` before each."""
    timm = pytest.importorskip("timm")
    full = timm.create_model(name).state_dict()
    encoder = timm.create_model(name, features_only=True).state_dict()
    found = find_encoder(flatten({"state_dict": full}), encoder, 3, ModelConfig())
    assert found.tensors.keys() == encoder.keys()
    assert found.prefix == "state_dict."
    for key, value in found.tensors.items():
        assert value.shape == encoder[key].shape, key
