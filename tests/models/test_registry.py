"""Networks from weights: those that fit are loaded exactly, others are refused with the reason."""

import pickle
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import resnet
from torchvision.models._api import WeightsEnum

from voc_seg.config import ModelConfig
from voc_seg.models.registry import build_model, require_classes, restore_model
from voc_seg.models.saved import FORMAT_VERSION
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def torchvision_state() -> dict[str, Tensor]:
    """A resnet18 as torchvision saves it, with running statistics that no fresh network has."""
    torch.manual_seed(7)
    state = resnet.resnet18(weights=None).state_dict()
    return {key: torch.rand_like(value) + 0.5 if "running" in key else value.clone() for key, value in state.items()}


def _config(weights: Path | str | None = None, **options: object) -> ModelConfig:
    return ModelConfig.model_validate({"width": 8, "weights": str(weights) if weights else None, **options})


def _refusal(weights: Path | str, **options: object) -> str:
    with pytest.raises(VocSegError) as caught:
        build_model(_config(weights, **options), 21)
    return str(caught.value)


class TestWeightsFromAFile:
    @pytest.mark.parametrize("with_fc", [True, False], ids=["with_fc", "without_fc"])
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_half_precision_state_dicts_fill_the_encoder(
        self, tmp_path: Path, torchvision_state: dict[str, Tensor], suffix: str, with_fc: bool
    ) -> None:
        """Kernels in half precision, vectors in full, as compact weight files have them."""
        saved = {
            key: value.half() if value.ndim > 1 else value
            for key, value in torchvision_state.items()
            if with_fc or not key.startswith("fc.")
        }
        path = tmp_path / f"resnet18{suffix}"
        if suffix == ".pth":
            torch.save(saved, path)
        else:
            save_file(saved, path)
        found = build_model(_config(path), 21).encoder.state_dict()
        assert set(found) == {key for key in torchvision_state if not key.startswith("fc.")}
        for key, value in found.items():
            assert torch.equal(value, saved[key].to(value.dtype)), key
        assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}

    def test_bfloat16_is_converted(self, tmp_path: Path, torchvision_state: dict[str, Tensor]) -> None:
        saved = {key: value.bfloat16() for key, value in torchvision_state.items()}
        torch.save(saved, tmp_path / "w.pth")
        model = build_model(_config(tmp_path / "w.pth"), 21)
        assert torch.equal(model.encoder.conv1.weight, saved["conv1.weight"].float())

    def test_the_batch_counter_may_be_missing(self, tmp_path: Path, torchvision_state: dict[str, Tensor]) -> None:
        """torchvision's first weight files have none."""
        old = {key: value for key, value in torchvision_state.items() if "num_batches" not in key}
        torch.save(old, tmp_path / "old.pth")
        model = build_model(_config(tmp_path / "old.pth"), 21)
        assert torch.equal(model.encoder.bn1.running_var, torchvision_state["bn1.running_var"])

    def test_weights_leave_the_decoder_as_the_seed_made_it(
        self, tmp_path: Path, torchvision_state: dict[str, Tensor]
    ) -> None:
        torch.save(torchvision_state, tmp_path / "w.pth")
        torch.manual_seed(3)
        fresh = build_model(_config(), 21).decoder.state_dict()
        torch.manual_seed(3)
        loaded = build_model(_config(tmp_path / "w.pth"), 21).decoder.state_dict()
        assert all(torch.equal(fresh[key], loaded[key]) for key in fresh)

    def test_the_network_is_channels_last(self) -> None:
        weight = build_model(_config(), 21).encoder.layer1[0].conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)


class TestFilesOfOthers:
    """Wrapped, with prefixes or under other names: loaded if they contain the whole encoder."""

    @pytest.mark.parametrize("prefix", ["module.", "encoder.", "backbone.", "module.encoder."])
    @pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
    def test_prefixes_and_wrappers(
        self, tmp_path: Path, torchvision_state: dict[str, Tensor], prefix: str, wrapper: str
    ) -> None:
        state = {prefix + key: value for key, value in torchvision_state.items()}
        torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pth")
        model = build_model(_config(tmp_path / "w.pth"), 21)
        assert torch.equal(model.encoder.bn1.running_var, torchvision_state["bn1.running_var"])

    def test_a_network_of_this_project_gives_its_encoder(self, tmp_path: Path) -> None:
        own = build_model(_config(), 3)
        torch.save({"format_version": FORMAT_VERSION, "model": own.state_dict(), "epoch": 1}, tmp_path / "best.pth")
        save_file({key: value.contiguous() for key, value in own.state_dict().items()}, tmp_path / "m.safetensors")
        for name in ("best.pth", "m.safetensors"):
            found = build_model(_config(tmp_path / name), 21).encoder
            assert torch.equal(found.conv1.weight, own.encoder.conv1.weight)
            assert "model.encoder resnet34" in _refusal(tmp_path / name, encoder="resnet34")

    def test_content_counts_not_the_ending(self, tmp_path: Path, torchvision_state: dict[str, Tensor]) -> None:
        for name in ("a.pth", "a.SAFETENSORS"):
            save_file(torchvision_state, tmp_path / name)
        torch.save(torchvision_state, tmp_path / "b.safetensors")
        for name in ("a.pth", "a.SAFETENSORS", "b.safetensors"):
            model = build_model(_config(tmp_path / name), 21)
            assert torch.equal(model.encoder.conv1.weight, torchvision_state["conv1.weight"])

    def test_the_home_folder(
        self, tmp_path: Path, torchvision_state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        torch.save(torchvision_state, tmp_path / "w.pth")
        build_model(_config("~/w.pth"), 21)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 1])
    def test_numbers_that_are_no_weights(
        self, tmp_path: Path, torchvision_state: dict[str, Tensor], value: float
    ) -> None:
        bad = torch.full_like(torchvision_state["conv1.weight"], value)
        torch.save(torchvision_state | {"conv1.weight": bad.int() if value == 1 else bad}, tmp_path / "w.pth")
        assert "conv1.weight " in _refusal(tmp_path / "w.pth")

    def test_a_pointer_of_git_lfs(self, tmp_path: Path) -> None:
        (tmp_path / "w.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        assert "git lfs pull" in _refusal(tmp_path / "w.pth")

    def test_nobody_is_told_to_switch_the_protection_off(self, tmp_path: Path) -> None:
        torch.save({"conv1.weight": _Trap(tmp_path / "sprung")}, tmp_path / "w.pth")
        assert "weights_only" not in _refusal(tmp_path / "w.pth")


class TestRefusals:
    @pytest.mark.parametrize("encoder", ["resnet34", "resnet50"])
    def test_another_architecture(self, tmp_path: Path, torchvision_state: dict[str, Tensor], encoder: str) -> None:
        torch.save(torchvision_state, tmp_path / "r18.pth")
        message = _refusal(tmp_path / "r18.pth", encoder=encoder)
        assert "r18.pth" in message
        assert f"model.encoder {encoder}" in message
        assert "tensors missing" in message

    def test_unknown_keys_are_named(self, tmp_path: Path, torchvision_state: dict[str, Tensor]) -> None:
        renamed = {f"backbone.{key}".replace("bn1", "norm"): value for key, value in torchvision_state.items()}
        torch.save(renamed, tmp_path / "renamed.pth")
        assert "unknown ['norm.weight'" in _refusal(tmp_path / "renamed.pth")

    def test_no_such_file(self, tmp_path: Path) -> None:
        message = _refusal(tmp_path / "nowhere.pth")
        assert str(tmp_path / "nowhere.pth") in message
        assert "model.weights" in message

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_truncated_file(
        self, tmp_path: Path, torchvision_state: dict[str, Tensor], suffix: str, share: float
    ) -> None:
        path = tmp_path / f"cut{suffix}"
        small = {key: value for key, value in torchvision_state.items() if key.startswith(("conv1", "bn1"))}
        if suffix == ".pth":
            torch.save(small, path)
        else:
            save_file(small, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert f"{path} cannot be read as a state dict" in _refusal(path)

    @pytest.mark.parametrize("content", [b"not a network", b"\x00" * 100, b"<html>404</html>", b"PK\x03\x04"])
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_file_of_something_else(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        (tmp_path / f"page{suffix}").write_bytes(content)
        assert "cannot be read as a state dict" in _refusal(tmp_path / f"page{suffix}")

    def test_a_hostile_pickle_is_not_run(self, tmp_path: Path) -> None:
        trap = tmp_path / "sprung"
        (tmp_path / "plain.pth").write_bytes(pickle.dumps({"conv1.weight": _Trap(trap)}, protocol=2))
        torch.save({"conv1.weight": _Trap(trap)}, tmp_path / "zipped.pth")
        for name in ("plain.pth", "zipped.pth"):
            assert "cannot be read as a state dict" in _refusal(tmp_path / name)
        assert not trap.exists()

    @pytest.mark.parametrize("content", [{"state_dict": {}, "epoch": 3}, [1, 2], torch.zeros(3)])
    def test_something_other_than_a_state_dict(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "other.pth")
        assert "no plain state dict of tensors" in _refusal(tmp_path / "other.pth")

    @pytest.mark.parametrize(
        "error", [URLError("no route to host"), RuntimeError("invalid hash value"), TimeoutError("timed out")]
    )
    def test_imagenet_weights_that_cannot_be_downloaded(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
        message = _refusal("imagenet")
        assert "https://download.pytorch.org/models/resnet18" in message
        assert "model.weights" in message


def test_a_download_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []

    def fail(*_: object, **__: object) -> None:
        timeouts.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    assert "Could not download" in _refusal("imagenet")
    assert timeouts == [20]
    assert socket.getdefaulttimeout() is None


def test_imagenet_weights_are_torchvisions_first_release_with_hash_check(
    monkeypatch: pytest.MonkeyPatch, torchvision_state: dict[str, Tensor]
) -> None:
    asked = {}

    def record(weights: WeightsEnum, *_: object, **options: object) -> dict[str, Tensor]:
        asked[str(weights)] = options
        return torchvision_state

    monkeypatch.setattr(WeightsEnum, "get_state_dict", record)
    model = build_model(_config("imagenet"), 21)
    assert list(asked) == ["ResNet18_Weights.IMAGENET1K_V1"]
    assert asked["ResNet18_Weights.IMAGENET1K_V1"]["check_hash"] is True
    assert torch.equal(model.encoder.conv1.weight, torchvision_state["conv1.weight"])


def test_a_saved_model_is_restored_without_its_weights_file() -> None:
    """``model.weights`` in the saved settings names the initial weights; that file may be gone."""
    torch.manual_seed(0)
    model = build_model(_config(skips=[1], context="none", output_stride=16), 4)
    saved = {
        "format_version": FORMAT_VERSION,
        "model": model.state_dict(),
        "model_config": _config("gone.pth", skips=[1], context="none", output_stride=16).model_dump(mode="json"),
        "class_names": ["a", "b", "c", "d"],
    }
    restored = restore_model(saved)
    assert not restored.training
    images = torch.randn(1, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(restored(images), model.eval()(images))


def test_a_network_of_another_version_is_refused() -> None:
    with pytest.raises(VocSegError, match=r"has format_version 0, this .* reads 1\. .*train again: kedro run"):
        restore_model({"format_version": 0})


class _Trap:
    """Unpickled by Python's own pickle, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_model_of_other_classes_is_refused() -> None:
    require_classes({"class_names": ["background", "cat"]}, ("background", "cat"))
    with pytest.raises(VocSegError, match=r"for the 2 classes background, cat; data\.classes are background, dog"):
        require_classes({"class_names": ["background", "cat"]}, ("background", "dog"))
