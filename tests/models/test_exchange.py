"""safetensors files restore a network to the bit, with everything needed to use it."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from voc_seg.config import ModelConfig
from voc_seg.models.exchange import model_metadata, read_safetensors, read_saved, take_model, to_safetensors
from voc_seg.models.registry import build_model, restore_model
from voc_seg.models.saved import FORMAT_VERSION
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def saved() -> dict:
    torch.manual_seed(0)
    config = ModelConfig(width=8)
    return {
        "format_version": FORMAT_VERSION,
        "model": build_model(config, 3).state_dict(),
        "model_config": config.model_dump(mode="json"),
        "class_names": ["background", "chaise longue", "größe"],
        "config": {"evaluation": {"scale": 0.3, "flip": True}},
        "image_size": None,
        "source": "sample",
        "epoch": 18,
        "val_miou": 0.1 + 0.2,
    }


@pytest.fixture
def path(saved: dict, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_safetensors(saved, model_metadata(saved, mean=(0.5, 0.25))))
    return path


def test_everything_comes_back(path: Path, saved: dict) -> None:
    found = read_safetensors(path)
    assert found["mean"] == [0.5, 0.25]
    assert {key: found[key] for key in saved if key != "model"} == {
        key: value for key, value in saved.items() if key != "model"
    }
    assert found["model"].keys() == saved["model"].keys()
    assert all(torch.equal(found["model"][name], value) for name, value in saved["model"].items())


def test_the_network_is_restored_whole(path: Path, saved: dict) -> None:
    images = torch.randn(1, 3, 33, 47, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = (restore_model(state)(images) for state in (saved, read_safetensors(str(path))))
    assert found.shape == (1, 3, 33, 47)
    assert torch.equal(found, expected)


def test_files_that_hold_no_network_are_named(path: Path, saved: dict, tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match=r"There is no file .*nowhere\.safetensors.*--pipelines export"):
        read_safetensors(tmp_path / "nowhere.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VocSegError, match=r"cut\.safetensors cannot be read as an exported network"):
        read_safetensors(cut)
    cut.write_bytes(to_safetensors(saved, {"model_config": "{"}))
    with pytest.raises(VocSegError, match=r"cut\.safetensors cannot be read .* \(its metadata is not JSON"):
        read_safetensors(cut)
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(VocSegError, match=r"does not say which network .* go into model\.weights"):
        read_safetensors(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("old", "new"), [("[0.5, 0.25]", "[0.7, 0.25]"), (": 0.3", ": 1.3"), ("background", "backgrounb")]
)
def test_changed_metadata_is_noticed(old: str, new: str, path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    assert old.encode() in content
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(content.replace(old.encode(), new.encode(), 1))
    with pytest.raises(VocSegError, match=r"changed\.safetensors is damaged: its metadata has changed"):
        read_saved(changed)


@pytest.mark.parametrize("position", range(20, 400, 10))
def test_a_damaged_directory_of_a_zip_file_is_said(position: int, saved: dict, tmp_path: Path) -> None:
    file = tmp_path / "best_model.pth"
    torch.save(saved, file)
    content = bytearray(file.read_bytes())
    content[-position] ^= 0x40
    file.write_bytes(content)
    with suppress(VocSegError):  # a change of a date does no harm
        read_saved(file)


def test_a_file_of_another_user_is_not_called_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # root may read every file
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(VocSegError, match=r"may not be read by this user \(Permission denied\)"):
        read_saved(path)


def test_as_initial_weights_it_gives_its_encoder(path: Path) -> None:
    model = build_model(ModelConfig(width=8, weights=str(path)), 3)
    saved = read_safetensors(path)["model"]
    for name, value in model.encoder.state_dict().items():
        torch.testing.assert_close(value, saved[f"encoder.{name}"], msg=name)


def test_changed_weights_are_noticed(saved: dict, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = take_model(saved)
    content = bytearray(to_safetensors(whole, model_metadata(whole)))
    path.write_bytes(content)
    assert read_safetensors(path)["model_digest"] == whole["model_digest"]
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(VocSegError, match=r"model\.safetensors is damaged: .* kedro run --pipelines export"):
        read_safetensors(path)
