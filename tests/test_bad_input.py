"""Mistakes of users and their messages: each names what is wrong, the value and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from click import ClickException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError

from voc_seg.config import ModelConfig, Parameters
from voc_seg.datasets import CheckpointsDataset, CSVDataset, MasksDataset, ModelDataset, SampleStoreDataset
from voc_seg.datasets.model_file import read_state, write_state
from voc_seg.engine.training import fit
from voc_seg.models.registry import build_model, restore_model
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "block unknown": ({"trainin": {"epochs": 2}}, "trainin: unknown key; known here: augmentation, comparison, data"),
    "key unknown": ({"training": {"epoch": 2}}, "training.epoch: unknown key; known here: accept_changed_data, acc"),
    "key misspelt": ({"training": {"epoch": 2}}, "validate_every; did you mean epochs?"),
    "key misspelt deeper": ({"training": {"optimizer": {"learning_rte": 2}}}, "; did you mean learning_rate?"),
    "key in a list": ({"data": {"classes": [{"nam": "a"}, "b"]}}, "data.classes.0.nam: unknown key; known here: colou"),
    "block is a number": ({"training": 5}, "training = 5: Input should be a valid dictionary"),
    "seed below zero": ({"seed": -1}, "seed = -1: Input should be greater than or equal to 0"),
    "seed a word": ({"seed": "random"}, "seed = 'random': Input should be a valid integer"),
    "no epochs": ({"training": {"epochs": 0}}, "training.epochs = 0: Input should be greater than 0"),
    "half an epoch": ({"training": {"epochs": 2.5}}, "training.epochs = 2.5: Input should be a valid integer"),
    "no batch": (
        {"training": {"batch_size": 0}},
        "training.batch_size = 0: Input should be 'auto' or greater than or equal to 1",
    ),
    "rate below zero": ({"training": {"optimizer": {"learning_rate": -1}}}, "training.optimizer.learning_rate = -1"),
    "rate a word": ({"training": {"optimizer": {"learning_rate": "fast"}}}, "learning_rate = 'fast': Input should be"),
    "momentum of 1": ({"training": {"optimizer": {"momentum": 1}}}, "training.optimizer.momentum = 1: Input should be"),
    "schedule unknown": (
        {"training": {"schedule": {"name": "step"}}},
        "training.schedule.name = 'step': Input should be 'constant', 'poly' or 'cosine'",
    ),
    "warm-up without end": (
        {"training": {"epochs": 3, "schedule": {"warmup_epochs": 3}}},
        "schedule.warmup_epochs 3 must be less than epochs 3",
    ),
    "average of nothing": ({"training": {"ema_decay": 1}}, "training.ema_decay = 1: Input should be less than 1"),
    "frozen backwards": (
        {"training": {"frozen_stages": -1}},
        "training.frozen_stages = -1: Input should be 'all' or greater",
    ),
    "keep none": ({"training": {"checkpoint": {"keep_last": 0}}}, "training.checkpoint.keep_last = 0: Input should be"),
    "every no minutes": ({"training": {"checkpoint": {"every_minutes": 0}}}, "training.checkpoint.every_minutes = 0"),
    "resume maybe": ({"training": {"resume": "maybe"}}, "training.resume = 'maybe': Input should be a valid boolean"),
    "encoder unknown": (
        {"model": {"encoder": "resnet101"}},
        "model.encoder = 'resnet101': it must be resnet18, resnet34, resnet50 or timm:NAME; did you mean",
    ),
    "skip unknown": ({"model": {"skips": [2, 5]}}, "model.skips.1 = 5: Input should be less than or equal to 4"),
    "no skip": ({"model": {"skips": []}}, "model.skips = []: Tuple should have at least 1 item"),
    "skip twice": ({"model": {"skips": [2, 2]}}, "skips [2, 2] contains a stage twice"),
    "width odd": ({"model": {"width": 30}}, "model.width = 30: Input should be a multiple of 4"),
    "stride 4": ({"model": {"output_stride": 4}}, "model.output_stride = 4: Input should be 8, 16 or 32"),
    "dropout above 1": ({"model": {"dropout": 1.5}}, "model.dropout = 1.5: Input should be less than or equal to 1"),
    "crop too small": ({"augmentation": {"crop_size": 32}}, "augmentation.crop_size = 32: Input should be greater"),
    "crop too large": ({"augmentation": {"crop_size": 9999}}, "augmentation.crop_size = 9999: Input should be less"),
    "scale upside down": ({"augmentation": {"scale": [2, 1]}}, "scale [2.0, 1.0] must be [low, high] with 0.05 <= low"),
    "colours changed twice": (
        {"augmentation": {"colour_jitter": 0.2, "strength": "light"}},
        "colour_jitter is 0.2 and strength is light: both change colours. Set colour_jitter to 0 or strength to none",
    ),
    "monitored score unknown": (
        {"training": {"monitor": "mIoU"}},
        "  training.monitor = 'mIoU': write miou, boundary_iou, or class: and the name of a class, as in class:cat",
    ),
    "monitored class unknown": (
        {"training": {"monitor": "class:cta"}},
        "  training.monitor is class:cta, but there is no class cta. Did you mean class:cat?",
    ),
    "weights of other classes": (
        {"training": {"loss": {"class_weights": [1, 2]}}},
        "  training.loss.class_weights has 2 of 21 numbers",
    ),
    "stages that are not there": (
        {"training": {"frozen_stages": 6}},
        "  training.frozen_stages is 6, but resnet18 has 5 stages",
    ),
    "a mean without the weights": (
        {"training": {"select": "ema"}},
        "  training: select",
    ),
    "scale of one": ({"augmentation": {"scale": 0.5}}, "augmentation.scale = [0.5]: it must have 2 values, not 1"),
    "image size of one": ({"augmentation": {"image_size": 64}}, "image_size = [64]: it must have 2 values, not 1"),
    "range of none": ({"data": {"range": []}}, "data.range = []: it must have 2 values, not 0"),
    "scales of nothing": ({"evaluation": {"scales": 0}}, "evaluation.scales.0 = 0: Input should be greater than 0"),
    "image size of none": ({"augmentation": {"image_size": [0, 5]}}, "augmentation.image_size.0 = 0: Input should be"),
    "one class": ({"data": {"classes": ["background"]}}, "number of classes: 1; a mask can hold 2 to 255"),
    "a class twice": ({"data": {"classes": ["a", "b", "a"]}}, "two classes have the name a"),
    "a class that YAML misread": ({"data": {"classes": ["a", False]}}, "YAML reads this name as False: put it in"),
    "split unknown": ({"evaluation": {"split": "validation"}}, "evaluation.split = 'validation': Input should be"),
    "pass beyond 1": ({"sanity": {"pass_miou": 90}}, "sanity.pass_miou = 90: Input should be less than or equal to 1"),
    "pictures a number": (
        {"inference": {"images": 7}},
        "inference.images = 7: YAML does not read this as",
    ),
    "tile too small": ({"inference": {"tile": 8}}, "inference.tile = 8: Input should be greater than or equal to 128"),
    "pictures reduced to nothing": ({"inference": {"longer_side": 0}}, "inference.longer_side = 0: Input should be gr"),
    "device unknown": ({"runtime": {"device": "gpu"}}, "runtime.device = 'gpu': it must be auto"),
    "precision unknown": ({"runtime": {"precision": "fp8"}}, "runtime.precision = 'fp8': Input should be 'auto'"),
    "epochs true": (
        {"training": {"epochs": True}},
        "epochs = True: true and false are not numbers",
    ),
    "scale of true": ({"augmentation": {"scale": [0.5, True]}}, "true and false are not numbers"),
    "seed true": ({"seed": True}, "seed = True: true and false are not numbers"),
    "seed too large": ({"seed": 2**63}, "Input should be less than or equal to 9223372036854775807"),
    "warm-up of nan": ({"training": {"schedule": {"warmup_epochs": float("nan")}}}, "Input should be a finite number"),
    "rate infinite": ({"training": {"checkpoint": {"every_minutes": float("inf")}}}, "Input should be a finite number"),
    "workers below zero": (
        {"runtime": {"workers": -1}},
        "runtime.workers = -1: Input should be 'auto' or greater than or equal to 0",
    ),
}


@pytest.fixture(scope="module")
def project(make_project: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(project: Path, case: str) -> None:
    settings, message = SETTINGS[case]
    bootstrap_project(project)
    with (
        KedroSession.create(project, runtime_params=settings) as session,
        pytest.raises(ClickException, match="Settings are wrong; nothing has run") as caught,
    ):
        session.load_context()
    assert message in str(caught.value)


def _touch(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


def _network(classes: int = 21, **config: Any) -> dict[str, Any]:
    settings = {"width": 8, **config}
    return {
        "format_version": 1,
        "model": build_model(ModelConfig(**settings), classes).state_dict(),
        "model_config": settings,
        "class_names": list(CLASS_NAMES),
    }


class Hostile:
    """An object that would end the process if Python's pickle loaded it."""

    def __reduce__(self) -> tuple:
        return exit, (1,)


def _weights(path: Path) -> None:
    build_model(ModelConfig(width=8, weights=str(path)), 21)


def _resnet(**changes: Any) -> dict[str, torch.Tensor]:
    state = build_model(ModelConfig(width=8), 21).encoder.state_dict()
    return {key: value for key, value in (state | changes).items() if value is not None}


def _of_other_columns(path: Path) -> SampleStore:
    table = pa.table({"id": ["a"], "picture": [b"x"]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return SampleStore(path)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "network empty": (lambda p: read_state(_touch(p / "a.pth")), "a.pth cannot be read as a saved network (it is em"),
    "network of text": (lambda p: read_state(_touch(p / "a.pth", b"hello")), "a.pth cannot be read as a saved network"),
    "network hostile": (lambda p: read_state(_saved(p / "a.pth", Hostile())), "a.pth cannot be read as a saved"),
    "network a list": (lambda p: read_state(_saved(p / "a.pth", [1])), "a.pth does not say which network its weights"),
    "network from elsewhere": (lambda p: restore_model({"state_dict": {}}), "The saved network has no format_version:"),
    "network of another encoder": (
        lambda p: restore_model(_network(encoder="resnet34") | {"model_config": {"width": 8}}),
        "(encoder resnet18, 21 classes): of the tensors, 96 unknown (encoder.layer1.2.conv1.weight). They are those of",
    ),
    "network of 20 classes": (
        lambda p: restore_model(_network(classes=20)),
        "decoder.classify.weight is (20, 4, 1, 1) and should be (21, 4, 1, 1).",
    ),
    "network without weights": (
        lambda p: restore_model({key: value for key, value in _network().items() if key != "model"}),
        "The saved network lacks model: this project did not write it. Restore the file",
    ),
    "network of odd settings": (
        lambda p: restore_model(_network() | {"model_config": {"encoder": "vgg"}}),
        "model_config.encoder is 'vgg': it must be resnet18, resnet34, resnet50 or timm:NAME; did you",
    ),
    "weights nowhere": (lambda p: _weights(p / "w.pth"), "model.weights: there is no file"),
    "weights a folder": (_weights, "model.weights: there is no file"),
    "weights of text": (lambda p: _weights(_touch(p / "w.pth", b"hello")), "w.pth cannot be read as a state dict"),
    "weights hostile": (lambda p: _weights(_saved(p / "w.pth", Hostile())), "w.pth cannot be read as a state dict"),
    "safetensors of text": (
        lambda p: _weights(_touch(p / "w.safetensors", b"hello there")),
        "w.safetensors cannot be read as a state dict (",
    ),
    "weights a list": (lambda p: _weights(_saved(p / "w.pth", [1])), "w.pth holds no plain state dict of tensors"),
    "weights by number": (
        lambda p: _weights(_saved(p / "w.pth", {1: torch.zeros(1)})), "w.pth holds no plain state dict of tensors"
    ),
    "weights of another encoder": (
        lambda p: _weights(_saved(p / "w.pth", build_model(ModelConfig(encoder="resnet50"), 21).encoder.state_dict())),
        "does not fit model.encoder resnet18",
    ),
    "weights with one missing": (
        lambda p: _weights(_saved(p / "w.pth", _resnet(**{"conv1.weight": None}))),
        "1 tensors missing ['conv1.weight']",
    ),
    "samples nowhere": (lambda p: SampleStore(p / "a.arrow"), "No sample store at"),
    "samples of text": (lambda p: SampleStore(_touch(p / "a.arrow", b"hello")), "a.arrow is not a complete sample"),
    "samples of other columns": (lambda p: _of_other_columns(p / "a.arrow"), "its columns are id, picture"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path: Path, case: str) -> None:
    use, message = FILES[case]
    with pytest.raises(VocSegError) as caught:
        use(tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "weights_only=False" not in str(caught.value)  # torch's own advice


def _device(device: str) -> dict[str, Any]:
    return {"runtime": {"device": device}}


ENVIRONMENT: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "no CUDA": (["training"], _device("cuda"), "runtime.device is cuda, but torch"),
    "too few GPUs": (["training"], _device("cuda:7"), "runtime.device is cuda:7, but torch"),
    "no MPS": (["sanity"], _device("mps"), "runtime.device is mps, but torch"),
    "weights nowhere": (["training"], {"model": {"weights": "nowhere.pth"}}, "model.weights: there is no file"),
    "no such pipeline": (
        ["trainig"],
        {},
        "There are: calibration, comparison, data_processing, ensemble, evaluation, export, folds, inference, "
        "label_review, lr_finder, sanity, training",
    ),
}


@pytest.mark.parametrize("case", ENVIRONMENT)
def test_environment(project: Path, run_kedro: Callable, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names, settings, message = ENVIRONMENT[case]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for split in ("train", "val"):  # everything else that the run needs exists
        _touch(project / f"data/05_model_input/{split}_samples.arrow")
    with pytest.raises(ClickException) as caught:
        run_kedro(project, *names, **settings)
    assert message in str(caught.value)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a network": lambda folder: ModelDataset(filepath=str(folder / "a.pth")).save({"model": {}}),
    "a checkpoint": lambda folder: CheckpointsDataset(filepath=str(folder)).save({"epoch": 1, "position": 0}),
    "a table": lambda folder: CSVDataset(filepath=str(folder / "a.csv")).save(__import__("pandas").DataFrame()),
    "masks": lambda folder: MasksDataset(filepath=str(folder / "masks")).save({}),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_folder_that_cannot_be_written_to(tmp_path: Path, what: str) -> None:
    _touch(tmp_path / "out")  # a file where the folder should be: refused to root as well
    with pytest.raises(DatasetError, match=r"Could not write .*is untouched") as caught:
        WRITERS[what](tmp_path / "out")
    assert isinstance(caught.value.__cause__, VocSegError)


def test_samples_that_vanish_before_workers_open_them(
    tmp_path: Path, val_store: SampleStore, scene_samples: list, make_parameters: Callable[..., Parameters]
) -> None:
    write_store(tmp_path / "train.arrow", scene_samples[:2])
    store = SampleStore(tmp_path / "train.arrow")
    store.path.unlink()
    with pytest.raises(VocSegError, match=r"^No sample store at .*train\.arrow\. Make it with: kedro run") as caught:
        next(fit(store, val_store, CLASS_NAMES, make_parameters(runtime={"workers": 1})))
    assert "Traceback" not in str(caught.value)


def test_samples_of_another_source(tmp_path: Path) -> None:
    write_store(tmp_path / "a.arrow", [])
    with pytest.raises(DatasetError, match=r"holds samples of '', but this run is about 'voc2012'"):
        SampleStoreDataset(filepath=str(tmp_path / "a.arrow"), source="voc2012").load()


def test_a_network_survives_what_a_file_can_hold(tmp_path: Path) -> None:
    write_state(tmp_path / "a.pth", _network())
    assert json.dumps(read_state(tmp_path / "a.pth")["class_names"]) == json.dumps(CLASS_NAMES)
