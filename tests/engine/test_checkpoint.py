"""Checkpoints: plain content, everything is restored, and other settings are refused."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from voc_seg.config import OptimizerConfig, Parameters
from voc_seg.engine.checkpoint import RunState, export_best_model, load_state, require_same_run, save_state
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.resuming import data_fingerprint, run_fingerprint
from voc_seg.engine.training import UNSCALED
from voc_seg.models.registry import build_model, restore_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.arrow_file import Origin
from voc_seg.system.errors import VocSegError

DATA = {"source": "sample", "images": 4}
NAMES = ("background", "thing", "stuff")
ROW = {"epoch": 2, "train_loss": 0.5, "val_miou": None, "is_best": False}

Make = Callable[..., Parameters]


pytestmark = pytest.mark.usefixtures("narrow_encoder")


def _parts(parameters: Parameters) -> tuple[SegmentationNet, Any, dict]:
    """A fresh network, its optimiser and the description of its run."""
    model = build_model(parameters.model, len(NAMES))
    return model, build_optimizer(model, parameters.training.optimizer), run_fingerprint(NAMES, parameters, DATA)


def _reloaded(state: dict[str, Any]) -> dict[str, Any]:
    """The state, written to a file and read back as the catalog does."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.fixture(scope="module")
def run(parameters: Parameters) -> tuple[SegmentationNet, Any, dict, dict]:
    """A network after one step with momentum, and its checkpoint read back."""
    torch.manual_seed(1)
    model, optimizer, about = _parts(parameters)
    model(torch.randn(2, 3, 64, 64)).mean().backward()
    optimizer.step()
    state = RunState(epoch=2, step=4, best_epoch=1, best_miou=0.25, history=[ROW, ROW])
    return model, optimizer, about, _reloaded(save_state(model, None, optimizer, UNSCALED, state, about))


def _types(value: Any) -> set[type]:
    if isinstance(value, dict):
        return {type(value)}.union(*(_types(item) for pair in value.items() for item in pair))
    if isinstance(value, list | tuple):
        return {type(value)}.union(*(_types(item) for item in value))
    return {type(value)}


def test_a_checkpoint_holds_plain_values_only(run: tuple) -> None:
    allowed = {dict, list, str, int, float, bool, type(None), Tensor}
    assert {kind for kind in _types(run[-1]) if not issubclass(kind, tuple(allowed))} == set()


def test_it_says_what_the_design_promises(run: tuple) -> None:
    checkpoint = run[-1]
    assert set(checkpoint) >= {
        "format_version", "model", "optimizer", "step", "epoch", "position", "best_miou", "rng", "config",
        "model_config", "history", "class_names",
    }  # fmt: skip
    assert checkpoint["class_names"] == list(NAMES)
    assert checkpoint["config"]["training"]["optimizer"]["learning_rate"] == 0.01


def test_restoring_brings_back_weights_momentum_counters_and_random_state(run: tuple, parameters: Parameters) -> None:
    old_model, old_optimizer, _, checkpoint = run
    torch.manual_seed(99)
    model = restore_model(checkpoint)
    optimizer = build_optimizer(model, parameters.training.optimizer)
    state = load_state(checkpoint, None, optimizer, UNSCALED)
    assert state == RunState(epoch=2, step=4, best_epoch=1, best_miou=0.25, history=[ROW, ROW])
    for key, value in old_model.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    for old, new in zip(old_model.parameters(), model.parameters()):
        momentum = old_optimizer.state[old]["momentum_buffer"]
        assert torch.equal(optimizer.state[new]["momentum_buffer"], momentum)
    assert torch.equal(torch.get_rng_state(), checkpoint["rng"]["torch"])


def test_settings_added_since_count_as_their_defaults(run: tuple, parameters: Parameters) -> None:
    checkpoint = copy.deepcopy(run[-1])
    training, about = checkpoint["config"]["training"], run[2]
    for key in ("minutes", "ema_warmup"):
        del training[key]
    for key in ("name", "layer_decay"):
        del training["optimizer"][key]
    del checkpoint["plan"]
    require_same_run(checkpoint, about)
    other = copy.deepcopy(about)
    other["config"]["training"]["optimizer"]["name"] = "adamw"
    with pytest.raises(VocSegError, match=r"training\.optimizer\.name: sgd in the checkpoint, adamw now"):
        require_same_run(checkpoint, other)
    optimizer = build_optimizer(restore_model(checkpoint), parameters.training.optimizer)
    assert load_state(checkpoint, None, optimizer, UNSCALED).step == 4


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_adamw_continues_on_a_device_with_another_kernel(parameters: Parameters, before: bool, after: bool) -> None:
    """A checkpoint of a GPU, whose optimiser is fused, on a CPU, and the other way round."""
    config = OptimizerConfig(name="adamw", learning_rate=0.01)
    found = []
    for kernels in ((before, after), (after, after)):
        torch.manual_seed(0)
        model = build_model(parameters.model, len(NAMES))
        optimizer = build_optimizer(model, config, fused=kernels[0])
        for _ in kernels:
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, 0.5)
            optimizer.step()
            about = {"class_names": [], "model_config": {}, "config": {}}
            saved = save_state(model, None, optimizer, UNSCALED, RunState(), about)
            optimizer = build_optimizer(model, config, fused=kernels[1])
            load_state(saved, None, optimizer, UNSCALED)
            assert {bool(group["fused"]) for group in optimizer.param_groups} == {kernels[1]}
        assert {float(state["step"]) for state in optimizer.state.values()} == {2.0}
        found.append(model.decoder.classify.weight.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("key", "blocks"),
    [
        ("seed: 0 in the checkpoint, 5 now", {"seed": 5}),
        ("augmentation.crop_size: 64 in the checkpoint, 96 now", {"augmentation": {"crop_size": 96}}),
        ("augmentation.scale", {"augmentation": {"scale": [0.5, 1.2]}}),
        ("augmentation.image_size", {"augmentation": {"image_size": [64, 64]}}),
        ("training.batch_size", {"training": {"batch_size": 4}}),
        ("training.optimizer.learning_rate", {"training": {"optimizer": {"learning_rate": 0.1}}}),
        ("training.loss.dice: 0.0 in the checkpoint, 0.5 now", {"training": {"loss": {"dice": 0.5}}}),
        (
            "training.loss.class_weights: None in the checkpoint, balanced",
            {"training": {"loss": {"class_weights": "balanced"}}},
        ),
        ("training.schedule.name", {"training": {"schedule": {"name": "cosine"}}}),
        ("model.dropout", {"model": {"dropout": 0.5}}),
        ("model.width: 8 in the checkpoint, 16 now", {"model": {"width": 16}}),
        ("evaluation.flip: False in the checkpoint, True now", {"evaluation": {"flip": True}}),
        ("model.skips", {"model": {"skips": [1]}}),
    ],
)
def test_other_settings_are_refused_by_name(
    run: tuple, make_parameters: Make, key: str, blocks: dict[str, Any]
) -> None:
    about = run_fingerprint(NAMES, make_parameters(**blocks), DATA)
    with pytest.raises(VocSegError, match="made with other settings") as caught:
        require_same_run(run[-1], about)
    assert key in str(caught.value)
    assert str(caught.value).count(" in the checkpoint, ") == 1


@pytest.mark.parametrize(
    "blocks",
    [
        {"training": {"epochs": 30}},
        {"training": {"resume": True, "early_stopping": 3, "compile": True}},
        {"training": {"checkpoint": {"every_epochs": 5, "keep_last": None}}},
        {"model": {"weights": "imagenet"}},
        {"evaluation": {"pictures": 2}, "sanity": {"epochs": 3}, "runtime": {"workers": 2}},
    ],
)
def test_settings_that_do_not_change_the_recipe_may_change(
    run: tuple, make_parameters: Make, blocks: dict[str, Any]
) -> None:
    require_same_run(run[-1], run_fingerprint(NAMES, make_parameters(**blocks), DATA))


def test_a_setting_that_earlier_versions_did_not_have_was_the_default(run: tuple, make_parameters: Make) -> None:
    config = run[-1]["config"]
    training = {key: value for key, value in config["training"].items() if key != "loss"}
    earlier = {**run[-1], "config": {**config, "training": training}}
    require_same_run(earlier, run[2])
    about = run_fingerprint(NAMES, make_parameters(training={"loss": {"focal": 1}}), DATA)
    with pytest.raises(VocSegError, match=r"training\.loss\.focal: 0\.0 in the checkpoint, 1\.0 now"):
        require_same_run(earlier, about)


def test_a_setting_that_an_earlier_version_did_not_have_counts_as_its_default(
    run: tuple, parameters: Parameters, make_parameters: Make
) -> None:
    older = {key: value for key, value in run[-1]["model_config"].items() if key not in ("decoder", "auxiliary")}
    checkpoint = {**run[-1], "model_config": older}
    require_same_run(checkpoint, run_fingerprint(NAMES, parameters, DATA))
    changed = run_fingerprint(NAMES, make_parameters(model={"decoder": "linear"}), DATA)
    with pytest.raises(VocSegError, match=r"model\.decoder: transposed in the checkpoint, linear now"):
        require_same_run(checkpoint, changed)


def test_restoring_leaves_the_checkpoint_as_it_was(run: tuple, parameters: Parameters) -> None:
    checkpoint = run[-1]
    load_state(checkpoint, None, build_optimizer(run[0], parameters.training.optimizer), UNSCALED).history.append(ROW)
    assert checkpoint["history"] == [ROW, ROW]


def test_another_format_is_refused(run: tuple) -> None:
    with pytest.raises(VocSegError, match="has format 0, this version reads 2"):
        require_same_run({**run[-1], "checkpoint_version": 0}, run[2])


@pytest.mark.parametrize("key", ["config", "optimizer", "rng", "position", "history"])
def test_a_checkpoint_without_all_its_parts_is_refused(run: tuple, key: str) -> None:
    partial = {name: value for name, value in run[-1].items() if name != key}
    with pytest.raises(VocSegError, match=f"The newest checkpoint lacks {key}"):
        require_same_run(partial, run[2])


@pytest.mark.parametrize(
    ("key", "value"),
    [("epoch", "2"), ("epoch", -1), ("step", True), ("history", {}), ("config", [1]), ("best_miou", None), ("rng", 0)],
)
def test_a_checkpoint_with_parts_of_another_type_is_refused(run: tuple, key: str, value: Any) -> None:
    with pytest.raises(VocSegError, match=f"The newest checkpoint has .* as {key}, which"):
        require_same_run({**run[-1], key: value}, run[2])


@pytest.mark.parametrize("part", [{"optimizer": {"state": {}}}, {"rng": {}}, {"rng": {"torch": torch.zeros(3)}}])
def test_an_optimiser_or_generator_that_does_not_fit_is_refused(run: tuple, part: dict[str, Any]) -> None:
    with pytest.raises(VocSegError, match=r"The newest checkpoint cannot be resumed from: .*Move it away"):
        load_state({**run[-1], **part}, None, run[1], UNSCALED)


@pytest.mark.parametrize("names", [("background", "thing"), ("background", "stuff", "thing")])
def test_other_classes_are_refused(run: tuple, parameters: Parameters, names: tuple[str, ...]) -> None:
    with pytest.raises(VocSegError, match="class"):
        require_same_run(run[-1], run_fingerprint(names, parameters, DATA))


@pytest.mark.parametrize("data", [{"source": "voc2012"}, {"images": 5}])
def test_other_data_are_refused(run: tuple, parameters: Parameters, data: dict[str, str | int]) -> None:
    with pytest.raises(VocSegError, match=f"data.{next(iter(data))}"):
        require_same_run(run[-1], run_fingerprint(NAMES, parameters, {**DATA, **data}))


def test_another_stored_size_is_refused_by_name(run: tuple, make_parameters: Make) -> None:
    about = run_fingerprint(NAMES, make_parameters(data={"longer_side": 96}), DATA)
    with pytest.raises(VocSegError, match=r"data\.longer_side: None in the checkpoint, 96 now"):
        require_same_run(run[-1], about)
    earlier = {**run[-1], "config": run[-1]["config"] | {"data": DATA}}  # an earlier version without this key
    require_same_run(earlier, about)


def test_settings_that_earlier_versions_did_not_have_count_as_off(run: tuple, make_parameters: Make) -> None:
    config = run[-1]["config"]
    new = ("strength", "max_class_share", "rare_crops", "copy_paste")
    old = {key: value for key, value in config["augmentation"].items() if key not in new}
    earlier = {**run[-1], "config": config | {"augmentation": old}}
    require_same_run(earlier, run_fingerprint(NAMES, make_parameters(), DATA))
    about = run_fingerprint(NAMES, make_parameters(augmentation={"strength": "light"}), DATA)
    with pytest.raises(VocSegError, match=r"augmentation\.strength: none in the checkpoint, light now"):
        require_same_run(earlier, about)


def test_a_folder_may_be_renamed(run: tuple, parameters: Parameters) -> None:
    require_same_run(run[-1], run_fingerprint(NAMES, parameters, DATA | {"name": "my_data"}))


class TestChangedContent:
    """Images or masks have changed under the same ids."""

    @staticmethod
    def _go_on(run: tuple, parameters: Parameters, old: dict[str, str], new: dict[str, str]) -> None:
        checkpoint = {**run[-1], "config": {**run[-1]["config"], "data": DATA | old}}
        require_same_run(checkpoint, run_fingerprint(NAMES, parameters, DATA | new))

    @pytest.mark.parametrize(
        ("key", "old", "message"),
        [
            ("content", "samples:a", "images or masks of train have changed"),
            ("val_content", "samples:a", "images or masks of val have changed"),
            ("val_content", "files:a", "files .* of val have changed"),
        ],
    )
    def test_is_refused_with_the_split(
        self, run: tuple, parameters: Parameters, key: str, old: str, message: str
    ) -> None:
        with pytest.raises(VocSegError, match=f"{message}.*training.accept_changed_data=true"):
            self._go_on(run, parameters, {key: old}, {key: old + "b"})

    def test_may_be_accepted(self, run: tuple, make_parameters: Make, caplog: pytest.LogCaptureFixture) -> None:
        parameters = make_parameters(training={"resume": True, "accept_changed_data": True})
        self._go_on(run, parameters, {"content": "samples:a"}, {"content": "samples:b"})
        assert "Resuming with changed data" in caplog.text

    @pytest.mark.parametrize("old", [{}, {"content": "files:a", "val_content": "files:b"}])
    def test_what_cannot_be_compared_is_said(
        self, run: tuple, parameters: Parameters, caplog: pytest.LogCaptureFixture, old: dict[str, str]
    ) -> None:
        self._go_on(run, parameters, old, {"content": "samples:a", "val_content": "samples:b"})
        assert "images and masks of train and val are those of the checkpoint: one side has no" in caplog.text

    def test_the_same_content_is_passed_without_a_word(
        self, run: tuple, parameters: Parameters, caplog: pytest.LogCaptureFixture
    ) -> None:
        same = {"content": "samples:a", "val_content": "files:b"}
        self._go_on(run, parameters, same, same)
        assert not caplog.text


class _Store:
    """The part of a sample store that a run fingerprint needs."""

    ids = ("a", "b")

    def __init__(self, content: str, fingerprint: str) -> None:
        self.origin, self.content = Origin(fingerprint=fingerprint), content

    def __len__(self) -> int:
        return len(self.ids)


def test_data_are_described_by_their_content_before_their_files() -> None:
    packed, dated, unknown = (_Store(*texts) for texts in (("c0ffee", "x"), ("", "x"), ("", "")))
    about = data_fingerprint(packed, dated)
    assert about["content"] == "samples:c0ffee"
    assert about["val_content"].startswith("files:")
    assert about["val_content"] != data_fingerprint(packed, _Store("", "y"))["val_content"]
    assert data_fingerprint(unknown, packed)["content"] == ""


class TestModelOnly:
    def test_it_holds_what_is_needed_to_use_the_network(self, run: tuple) -> None:
        saved = _reloaded(export_best_model(run[0], run[2], epoch=3, miou=0.5))
        assert "optimizer" not in saved
        assert (saved["epoch"], saved["val_miou"], saved["image_size"]) == (3, 0.5, None)
        images = torch.randn(1, 3, 32, 40)
        with torch.inference_mode():
            assert torch.equal(restore_model(saved)(images), run[0].eval()(images))

    def test_it_is_a_copy_that_later_steps_leave_alone(self, parameters: Parameters) -> None:
        model, _, about = _parts(parameters)
        saved = export_best_model(model, about, epoch=1, miou=0.1)
        before = saved["model"]["encoder.conv1.weight"].clone()
        with torch.no_grad():
            model.encoder.conv1.weight.add_(1)
        assert torch.equal(saved["model"]["encoder.conv1.weight"], before)

    def test_an_auxiliary_head_stays_in_the_checkpoint(self, make_parameters: Make) -> None:
        parameters = make_parameters(model={"auxiliary": 0.4})
        model, optimizer, about = _parts(parameters)
        checkpoint = _reloaded(save_state(model, None, optimizer, UNSCALED, RunState(), about))
        assert restore_model(checkpoint).auxiliary is not None
        saved = _reloaded(export_best_model(model, about, epoch=1, miou=0.1))
        assert not [key for key in saved["model"] if key.startswith("auxiliary")]
        assert saved["model_config"]["auxiliary"] == 0.4  # reports and comparisons show it
        restored = restore_model(saved)
        assert restored.auxiliary is None
        images = torch.randn(1, 3, 32, 40)
        with torch.inference_mode():
            assert torch.equal(restored(images), model.eval()(images))
