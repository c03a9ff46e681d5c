"""Foreign files as best_model.pth are refused with file, field, value and the next step, before a run."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet

from voc_seg.config import ModelConfig
from voc_seg.datasets import ModelDataset
from voc_seg.datasets.model_file import read_state
from voc_seg.models.exchange import model_metadata, to_safetensors
from voc_seg.models.registry import build_model, require_classes
from voc_seg.models.saved import FORMAT_VERSION, require_best_model
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    config = ModelConfig(width=8)
    return {
        "format_version": FORMAT_VERSION,
        "model": build_model(config, 3).state_dict(),
        "model_config": config.model_dump(mode="json"),
        "class_names": ["background", "cat", "dog"],
        "config": {"evaluation": {"scale": 1.0, "flip": False}, "training": {"epochs": 3}, "data": {"source": "own"}},
        "image_size": None,
        "source": "own",
        "precision": "fp32",
        "epoch": 2,
        "val_miou": 0.5,
    }


def _with_tensor(saved: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return saved | {"model": saved["model"] | {key: value}}


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "image size absurd": (
        lambda s: s | {"image_size": [10**9, 10**9]},
        "image_size is [1000000000, 1000000000]; it mus",
    ),
    "image size of words": (
        lambda s: s | {"image_size": ["a", "b"]},
        "image_size is ['a', 'b']; it must be null, or he",
    ),
    "image size of one": (lambda s: s | {"image_size": 224}, "image_size is 224"),
    "image size zero": (lambda s: s | {"image_size": [0, 5]}, "image_size is [0, 5]"),
    "classes twice": (
        lambda s: s | {"class_names": ["a", "b", "b"]},
        "class_names is ['a', 'b', 'b']; it must be a list",
    ),
    "classes numbers": (lambda s: s | {"class_names": [0, 1, 2]}, "class_names is [0, 1, 2]"),
    "classes a text": (lambda s: s | {"class_names": "abc"}, "class_names is 'abc'"),
    "classes none": (lambda s: s | {"class_names": None}, "class_names is None"),
    "score of nan": (lambda s: s | {"val_miou": float("nan")}, "val_miou is nan; it must be a number from 0 to 1"),
    "score of words": (lambda s: s | {"val_miou": "0.5"}, "val_miou is '0.5'"),
    "score of a tensor": (lambda s: s | {"val_miou": torch.tensor(0.5)}, "val_miou is a tensor of shape ()"),
    "epoch half": (lambda s: s | {"epoch": 2.5}, "epoch is 2.5; it must be a whole number"),
    "epoch true": (lambda s: s | {"epoch": True}, "epoch is True"),
    "encoder unknown": (
        lambda s: s | {"model_config": s["model_config"] | {"encoder": "vgg"}},
        "model_config.encoder is",
    ),
    "width absurd": (
        lambda s: s | {"model_config": s["model_config"] | {"width": 10**9}},
        "model_config.width is 1000",
    ),
    "settings a list": (lambda s: s | {"config": [1]}, "config is [1]; it must be the settings of the training"),
    "scale absurd": (
        lambda s: s | {"config": {"evaluation": {"scale": 1e9}}},
        "config.evaluation.scale is 1000000000.0",
    ),
    "names of numbers": (lambda s: s | {3: "x"}, "has keys that are not text"),
    "version a list": (
        lambda s: s | {"format_version": [1]},
        "has format_version [1], this version of voc_seg reads 1",
    ),
    "no epoch": (
        lambda s: {k: v for k, v in s.items() if k != "epoch"},
        "lacks epoch: this project did not write it",
    ),
    "a checkpoint": (
        lambda s: (
            {k: v for k, v in s.items() if k not in ("image_size", "val_miou")} | {"optimizer": {}, "history": []}
        ),
        "is a checkpoint, not a best model: it lacks image_size, val_miou.",
    ),
    "weights a list": (lambda s: s | {"model": [1]}, "model is [1]; it must be a dictionary of tensors by name"),
    "weights of words": (
        lambda s: _with_tensor(s, "encoder.conv1.weight", "x"),
        "model has 'x' as 'encoder.conv1.weight'",
    ),
    "weights nan": (
        lambda s: _with_tensor(s, "encoder.bn1.bias", torch.full((64,), torch.nan)),
        "encoder.bn1.bias holds NaN or inf",
    ),
    "weights integer": (
        lambda s: _with_tensor(s, "encoder.bn1.bias", torch.ones(64, dtype=torch.int64)),
        "encoder.bn1.bias is of torch.int",
    ),
    "variance negative": (
        lambda s: _with_tensor(s, "encoder.bn1.running_var", -torch.ones(64)),
        "running_var holds negative variances",
    ),
    "weights of no values": (
        lambda s: _with_tensor(s, "encoder.bn1.bias", torch.ones(64, device="meta")),
        "bias is not a plain tensor with",
    ),
    "weights that are few": (
        lambda s: _with_tensor(s, "encoder.bn1.bias", torch.ones(1).expand(64)),
        "the file does not hold all",
    ),
    "another shape": (
        lambda s: _with_tensor(s, "encoder.bn1.bias", torch.ones(65)),
        "encoder.bn1.bias is (65,) and should be (64,).",
    ),
    "one missing": (
        lambda s: s | {"model": {k: v for k, v in s["model"].items() if k != "encoder.bn1.bias"}},
        "1 missing (encoder.bn1.bias)",
    ),
    "prefixes": (
        lambda s: s | {"model": {f"module.{k}": v for k, v in s["model"].items()}},
        "unknown (module.encoder.conv1.weight)",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_best_model_that_cannot_be_used(saved: dict[str, Any], tmp_path: Path, case: str) -> None:
    spoil, message = FAULTS[case]
    path = tmp_path / "best_model.pth"
    torch.save(spoil(saved), path)
    with pytest.raises(VocSegError) as caught:
        ModelDataset(filepath=str(path)).load_checked()
    said = str(caught.value)
    assert said.startswith(str(path))
    assert message in said
    assert "train" in said
    assert len(said) < 600


def test_what_this_project_writes_is_taken(saved: dict[str, Any], tmp_path: Path) -> None:
    require_best_model(saved | {"of a later version": torch.ones(3)}, "best_model.pth")
    earlier = {key: value for key, value in saved.items() if key not in ("config", "source", "precision")}
    require_best_model(earlier | {"image_size": [64, 96]}, "best_model.pth")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        of = {key: value.to(dtype) if value.is_floating_point() else value for key, value in saved["model"].items()}
        require_best_model(saved | {"model": of}, "best_model.pth")
    # model.safetensors under the name of best_model.pth: the content counts.
    path = tmp_path / "best_model.pth"
    path.write_bytes(to_safetensors(saved, model_metadata(saved)))
    assert ModelDataset(filepath=str(path)).load_checked()["epoch"] == 2


@pytest.mark.parametrize("names", [None, 3, [1, 2], ["a", "a"]])
def test_classes_that_are_none_are_refused_before_they_are_compared(names: Any) -> None:
    with pytest.raises(VocSegError, match="class_names is"):
        require_classes({"class_names": names}, ("a", "b"))


def test_a_value_that_other_files_cannot_hold_is_named(saved: dict[str, Any]) -> None:
    with pytest.raises(VocSegError, match="has a Tensor as more, which cannot be written as JSON"):
        model_metadata(saved | {"more": torch.ones(2)})


def _jit(path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")


def _cut(path: Path) -> None:
    torch.save({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-50])


def _damaged(path: Path) -> None:
    torch.save({"a": torch.full((100,), 3.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(3.0).tobytes() * 10) + 5] ^= 255
    path.write_bytes(bytes(content))


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda p: p.touch(), "it is empty"),
    "a folder": (lambda p: p.mkdir(), "it is not a regular file"),
    "nowhere": (lambda p: None, "it does not exist"),
    "Git LFS": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "HTML": (lambda p: p.write_text("\n<!DOCTYPE html>"), "it is a web page"),
    "ONNX": (lambda p: p.write_bytes(b"\x08\x0a\x12\x07pytorch"), "it is an ONNX model"),
    "HDF5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "it is an HDF5 file"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08"), "unpack it first"),
    "text": (lambda p: p.write_bytes(b"hello"), "written by neither torch.save nor safetensors"),
    "a zip": (_zip, "not one written by torch.save"),
    "cut short": (_cut, "it is cut short"),
    "TorchScript": (_jit, "it is a TorchScript archive"),
    "a whole network": (
        lambda p: torch.save(nn.Linear(2, 2), p),
        "it holds a Python object, torch.nn.modules.linear.Linear",
    ),
    "of numpy": (lambda p: torch.save({"a": np.float64(3)}, p), "it holds a Python object, numpy."),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", FILES)
def test_a_file_of_another_kind_is_named(tmp_path: Path, case: str) -> None:
    make, message = FILES[case]
    path = tmp_path / "model.pth"
    make(path)
    readers: list[Callable[[], Any]] = [lambda: read_state(path)]
    if path.is_file():
        readers.append(lambda: build_model(ModelConfig(width=8, weights=str(path)), 2))
    for read in readers:
        with pytest.raises(VocSegError) as caught:
            read()
        assert f"{path} cannot be read as" in str(caught.value)
        assert message in str(caught.value)
        assert "weights_only" not in str(caught.value)
        assert "add_safe_globals" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bit_that_has_changed_on_the_disk_is_noticed(tmp_path: Path) -> None:
    """torch.load does not verify checksums."""
    _damaged(tmp_path / "best_model.pth")
    assert not torch.load(tmp_path / "best_model.pth")["a"].eq(3).all()
    with pytest.raises(VocSegError, match=r"best_model\.pth cannot be read .*the checksum of .* is wrong"):
        read_state(tmp_path / "best_model.pth")


class TestStartingWeights:
    @pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.encoder."])
    def test_prefixes_of_compiled_networks(self, tmp_path: Path, prefix: str) -> None:
        state = resnet.resnet18(weights=None).state_dict()
        save_file({prefix + key: value for key, value in state.items()}, tmp_path / "w.pth")
        found = build_model(ModelConfig(width=8, weights=str(tmp_path / "w.pth")), 2).encoder
        assert torch.equal(found.conv1.weight, state["conv1.weight"])

    @pytest.mark.parametrize("saved_as", ["best", "plain"])
    def test_the_encoder_they_are_of_is_named(self, tmp_path: Path, saved_as: str) -> None:
        model = build_model(ModelConfig(width=8, encoder="resnet34"), 2)
        state = {"model": model.state_dict()} if saved_as == "best" else model.encoder.state_dict()
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(VocSegError, match=r"tensors are those of resnet34: set model\.encoder=resnet34"):
            build_model(ModelConfig(width=8, weights=str(tmp_path / "w.pth")), 2)

    def test_one_that_there_is_not_is_named_too(self, tmp_path: Path) -> None:
        keys = {f"layer{s}.{b}.conv3.weight": torch.ones(1) for s, n in enumerate((3, 4, 23, 3), 1) for b in range(n)}
        torch.save({"conv1.weight": torch.ones(1), **keys}, tmp_path / "w.pth")
        with pytest.raises(VocSegError, match=r"those of resnet101; model\.encoder can be resnet18, resnet34"):
            build_model(ModelConfig(width=8, weights=str(tmp_path / "w.pth")), 2)

    def test_of_two_encoders_none_is_chosen_in_silence(self, tmp_path: Path) -> None:
        both = {
            f"{part}.{key}": value
            for part in ("depth", "rgb")
            for key, value in resnet.resnet18(weights=None).state_dict().items()
        }
        torch.save(both, tmp_path / "w.pth")
        with pytest.raises(VocSegError, match=r"holds 2 encoders that fit, under 'depth\.', 'rgb\.'"):
            build_model(ModelConfig(width=8, weights=str(tmp_path / "w.pth")), 2)
