"""An ensemble's probabilities are the mean of its members', also as files; members that do not fit are refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from voc_seg.config import ModelConfig, Parameters
from voc_seg.models.ensemble import Ensemble, join_models
from voc_seg.models.exchange import model_digest, model_metadata, read_safetensors, to_safetensors
from voc_seg.models.members import is_chosen_on_val
from voc_seg.models.onnx_export import largest_difference, missing_packages, to_onnx
from voc_seg.models.own_weights import take_own
from voc_seg.models.registry import restore_model
from voc_seg.models.saved import FORMAT_VERSION, require_best_model
from voc_seg.models.segmentation_net import bare_model, inference_weights
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")
NAMES = ["background", "cat", "dog"]
CONFIG = ModelConfig(encoder="resnet18", width=8)


def saved_model(seed: int, fold: str | None = None, **more: Any) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = bare_model(CONFIG, len(NAMES)).eval()
    with torch.no_grad():  # of a trained network, logits are far from 0
        model.decoder.classify.weight.mul_(30)
    training = Parameters().training.model_dump(mode="json") | {"fold": fold}
    data = {"source": "sample", "images": 6, "val_images": 3, "ids": "a", "val_ids": f"v{seed}"}
    return {
        "format_version": FORMAT_VERSION,
        "model": inference_weights(model),
        "model_config": CONFIG.model_dump(mode="json"),
        "class_names": NAMES,
        "config": {"seed": 0, "training": training, "evaluation": {"scale": 0.5, "flip": False}, "data": data},
        "precision": "fp32",
        "image_size": None,
        "source": "sample",
        "epoch": 1 + seed,
        "val_miou": 0.1 * (1 + seed),
        "val_loss": 1.0,
    } | more


@pytest.fixture(scope="module")
def members() -> dict[str, dict[str, Any]]:
    return {f"fold-{number + 1}": saved_model(number, f"{number + 1}/3") for number in range(3)}


@torch.inference_mode()
def test_probabilities_are_the_mean_of_the_members(members: dict[str, dict[str, Any]]) -> None:
    joined = restore_model(join_models(members))
    assert isinstance(joined, Ensemble) and not joined.training
    images = torch.randn(2, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    single = [restore_model(one)(images).softmax(1) for one in members.values()]
    assert (single[0] - single[1]).abs().max() > 0.1
    found = joined(images)
    torch.testing.assert_close(found.exp(), torch.stack(single).mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.softmax(1), torch.stack(single).mean(0), rtol=0, atol=1e-6)


@torch.inference_mode()
def test_certain_networks_do_not_make_the_loss_infinite(members: dict[str, dict[str, Any]]) -> None:
    ensemble = copy.deepcopy(restore_model(join_models(members)))
    for member in ensemble.members:
        member.decoder.classify.weight.mul_(1e4)
    assert ensemble(torch.randn(1, 3, 64, 64)).isfinite().all()


def test_the_saved_ensemble_says_what_it_is(members: dict[str, dict[str, Any]]) -> None:
    joined = join_models(members)
    require_best_model(joined, "ensemble.pth")
    assert (joined["epoch"], joined["val_miou"]) == (3, pytest.approx(0.2))
    assert joined["config"]["training"]["fold"] is None
    assert joined["config"]["data"] == {"source": "sample", "images": 9, "val_images": 9}
    assert [(one["run"], one["fold"]) for one in joined["members"]] == [(f"fold-{n}", f"{n}/3") for n in (1, 2, 3)]
    assert joined["members"][1]["model_digest"] == model_digest(members["fold-2"])
    assert model_digest(joined) != model_digest(join_models({"a": saved_model(0), "b": saved_model(1)}))


@pytest.mark.parametrize("order", [("last", "best"), ("best", "last")])
def test_val_has_chosen_an_ensemble_if_it_has_chosen_a_member(order: tuple[str, ...]) -> None:
    saved = {f"{number}": saved_model(number) for number in range(2)}
    for one, select in zip(saved.values(), order):
        one["config"]["training"]["select"] = select
    assert is_chosen_on_val(join_models(saved))
    for one in saved.values():
        one["config"]["training"]["select"] = "last"
    assert not is_chosen_on_val(join_models(saved))


def test_an_exported_file_holds_the_same_ensemble(members: dict[str, dict[str, Any]], tmp_path: Any) -> None:
    joined = join_models(members)
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_safetensors(joined, model_metadata(joined)))
    found = read_safetensors(path)
    assert found["members"] == joined["members"] and model_digest(found) == model_digest(joined)
    images = torch.randn(1, 3, 33, 40)
    torch.testing.assert_close(restore_model(found)(images), restore_model(joined)(images))


@pytest.mark.skipif(bool(missing_packages()), reason="the extra onnx is not installed")
def test_onnx_equals_the_ensemble(members: dict[str, dict[str, Any]]) -> None:
    ensemble = restore_model(join_models(members))
    exported = to_onnx(ensemble, {})  # compares logits at several sizes
    assert largest_difference(ensemble, exported.content) < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one | {"class_names": ["background", "cat", "cow"]}, "classes: background, cat, dog in a, "),
        (lambda one: one | {"image_size": [64, 64]}, r"augmentation.image_size: None in a, \[64, 64\] in b"),
        (lambda one: one | {"config": one["config"] | {"evaluation": {"scale": 1.0, "flip": False}}},
         "evaluation.scale: 0.5 in a, 1.0 in b"),
        (lambda one: one | {"config": one["config"] | {"data": one["config"]["data"] | {"source": "voc2012"}}},
         "data.source: sample in a, voc2012 in b"),
        (lambda one: join_models({"x": one, "y": saved_model(2)}), "b is an ensemble itself"),
        (lambda one: one | {"epoch": -1}, "best_model of b: epoch is -1"),
    ],
)  # fmt: skip
def test_members_that_do_not_fit_are_refused(change: Callable[[dict], dict], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        join_models({"a": saved_model(0), "b": change(saved_model(1))})


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (
            ["1/3", "3/3"],
            r"lacks fold 2/3: its runs are r0 1/3, r1 3/3\. Train what is missing with: kedro sweep",
        ),
        (["1/2", "2/2", "2/2"], "An ensemble of 2 folds has each of them once"),
        (["1/2", "2/2", None], "r2 no fold"),
        ([None], "needs at least two runs"),
    ],
)
def test_an_ensemble_of_folds_has_all_of_them(folds: list[str | None], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        join_models({f"r{number}": saved_model(number, fold) for number, fold in enumerate(folds)})


def test_folds_of_two_divisions_are_refused(members: dict[str, dict[str, Any]]) -> None:
    other = members["fold-2"] | {"config": members["fold-2"]["config"] | {"seed": 1}}
    with pytest.raises(VocSegError, match="one division of train, but seeds are fold-1 0, fold-2 1, fold-3 0"):
        join_models(members | {"fold-2": other})


def test_a_damaged_ensemble_is_refused(members: dict[str, dict[str, Any]]) -> None:
    joined = join_models(members)
    lost = {key: value for key, value in joined["model"].items() if key != "members.2.decoder.classify.bias"}
    with pytest.raises(VocSegError, match=r"1 missing \(decoder\.classify\.bias\)"):
        require_best_model(joined | {"model": lost}, "ensemble.pth")
    with pytest.raises(VocSegError, match="members is 3; it must be a list of facts"):
        require_best_model(joined | {"members": 3}, "ensemble.pth")
    with pytest.raises(VocSegError, match="unknown"):
        require_best_model({key: value for key, value in joined.items() if key != "members"}, "ensemble.pth")


def test_training_does_not_start_from_an_ensemble(members: dict[str, dict[str, Any]]) -> None:
    config = CONFIG.model_copy(update={"weights": "ensemble.pth"})
    with pytest.raises(VocSegError, match=r"is an ensemble of 3 models.*one of its runs: fold-1, fold-2, fold-3"):
        take_own(join_models(members), bare_model(CONFIG, 3), config, NAMES)
