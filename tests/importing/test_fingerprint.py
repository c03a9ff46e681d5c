"""The settings that the import writes fit the data, are valid and agree with each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_seg.config import Parameters
from voc_seg.importing.fingerprint import plan_settings
from voc_seg.importing.inspect import PairFacts
from voc_seg.importing.layout import LabelledImage
from voc_seg.importing.settings_text import Setting, block_lines
from voc_seg.importing.splits import assign_splits

FOLDER = Path("/data")


def settings_yaml(settings: Sequence[Setting]) -> str:
    """Return settings as YAML: one block after the other, with the reasons as comments."""
    blocks = dict.fromkeys(one.key.partition(".")[0] for one in settings)
    return "\n".join(f"{block}:\n{block_lines(settings, block)}" for block in blocks)


def fact(number: int, height: int, width: int) -> PairFacts:
    source = LabelledImage(FOLDER / f"{number:05}.jpg", FOLDER / f"{number:05}.png")
    return PairFacts(f"{number:05}", source, size=(height, width))


def plan(
    count: int,
    size: tuple[int, int],
    object_size: float,
    names: Sequence[str] = ("background", "tree"),
    pretrained: bool = True,
) -> tuple[Setting, ...]:
    """The settings for equal images, each with an object of every class."""
    facts = [fact(number, *size) for number in range(count)]
    pixels = {one.image_id: dict.fromkeys(names, max(1, round(object_size**2))) for one in facts}
    splits, _ = assign_splits(facts, pixels, FOLDER, test=0.1 if count > 2 else 0.0)
    return plan_settings(facts, splits, pixels, names, pretrained=pretrained)


def values(settings: Sequence[Setting]) -> dict[str, Any]:
    return {one.key: one.value for one in settings}


def validated(settings: Sequence[Setting]) -> Parameters:
    return Parameters.of(yaml.safe_load(settings_yaml(settings)))


def minutes(settings: Sequence[Setting], train: int) -> float:
    """Time of training on two cores, from the measured time of a step."""
    found = values(settings)
    steps = found["training.epochs"] * math.ceil(train / found["training.batch_size"])
    return steps * (0.08 + 0.19 * (found["augmentation.crop_size"] / 224) ** 2) / 60


def test_photographs_as_in_voc() -> None:
    assert values(plan(200, (375, 500), 120)) == {
        "augmentation.crop_size": 224,
        "augmentation.scale": [0.8, 1.25],
        "augmentation.flip": 0.5,
        "evaluation.scale": 1.0,
        "inference.longer_side": 500,
        "model.weights": "imagenet",
        "training.batch_size": 4,
        "training.epochs": 68,
        "training.validate_every": 7,
        "training.optimizer.learning_rate": 0.006,
        "training.freeze_batch_norm": True,
        "training.optimizer.encoder_factor": 0.1,
        "training.checkpoint.every_epochs": 6,
    }


def test_twelve_megapixels_are_reduced() -> None:
    found = values(plan(200, (3000, 4000), 900))
    assert found["data.longer_side"] == found["inference.longer_side"] == 512
    assert (found["augmentation.crop_size"], found["evaluation.scale"]) == (224, 1.0)


def test_small_objects_keep_their_size() -> None:
    found = values(plan(200, (3000, 4000), 80))
    assert found["data.longer_side"] == found["inference.longer_side"] == 800
    assert found["augmentation.crop_size"] == 320
    # Even so, 12 megapixels are never packed at full size.
    assert values(plan(200, (3000, 4000), 5))["data.longer_side"] == 2048


def test_a_few_stray_pixels_do_not_count() -> None:
    facts = [fact(number, 3000, 4000) for number in range(100)]
    pixels = {one.image_id: {"background": 9, "tree": 800_000} for one in facts}
    pixels["00007"]["speck"] = 4
    splits = {one.image_id: "train" if index else "val" for index, one in enumerate(facts)}
    found = plan_settings(facts, splits, pixels, ("background", "tree", "speck"), pretrained=True)
    assert values(found)["data.longer_side"] == 512


def test_from_scratch_at_half_the_size() -> None:
    found = values(plan(200, (375, 500), 120, pretrained=False))
    assert (found["model.weights"], found["training.optimizer.learning_rate"]) == (None, 0.03)
    assert (found["evaluation.scale"], found["augmentation.crop_size"]) == (0.5, 128)
    assert not found.keys() & {"training.freeze_batch_norm", "training.optimizer.encoder_factor"}
    # Small objects are not reduced.
    assert values(plan(200, (375, 500), 16, pretrained=False))["evaluation.scale"] == 1.0


def test_small_images_are_enlarged() -> None:
    found = values(plan(200, (90, 120), 40))
    assert "data.longer_side" not in found
    assert (found["evaluation.scale"], found["inference.longer_side"]) == (2.0, 120)


@pytest.mark.parametrize(
    ("name", "flip"),
    [("left_arm", 0), ("Right lung", 0), ("arm-left", 0), ("eyeLeft", 0.5), ("bright", 0.5), ("cleft", 0.5)],
)
def test_sides_are_not_mirrored(name: str, flip: float) -> None:
    assert values(plan(20, (300, 400), 100, ("background", name)))["augmentation.flip"] == flip


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize(("count", "limit"), [(30, 8), (200, 25)])
@pytest.mark.parametrize("object_size", [10, 100, 1000])
def test_minutes_on_two_cores(pretrained: bool, count: int, limit: float, object_size: int) -> None:
    assert minutes(plan(count, (3000, 4000), object_size, pretrained=pretrained), round(0.7 * count)) < limit


def test_images_without_a_split_or_with_a_problem_do_not_count() -> None:
    facts = [*(fact(number, 300, 400) for number in range(20)), fact(20, 6000, 9000), fact(21, 0, 0)]
    facts[-1] = replace(facts[-1], problem="unreadable")
    splits = {one.image_id: "train" if index % 4 else "val" for index, one in enumerate(facts) if index != 20}
    found = plan_settings(facts, splits, {}, ("background", "tree"), pretrained=True)
    assert values(found)["inference.longer_side"] == 400
    assert "15 training images" in next(one.reason for one in found if one.key == "training.epochs")


@st.composite
def _data(draw: st.DrawFn) -> tuple[list[PairFacts], Mapping[str, Mapping[str, int]], list[str], bool]:
    sides = st.integers(1, 9000)
    count = draw(st.integers(2, 40))
    common = draw(st.tuples(sides, sides))
    sizes = draw(st.lists(st.one_of(st.just(common), st.tuples(sides, sides)), min_size=count, max_size=count))
    names = ["background", *draw(st.lists(st.sampled_from(["a", "b", "left"]), unique=True, min_size=1))]
    facts = [fact(number, *size) for number, size in enumerate(sizes)]
    part = st.sampled_from([0, 1e-6, 0.001, 0.1, 1.0])
    pixels = {
        one.image_id: {name: int(draw(part) * one.size[0] * one.size[1]) for name in names} for one in facts
    }  # fmt: skip
    return facts, pixels, names, draw(st.booleans())


@settings(max_examples=150, deadline=None)
@given(_data())
def test_settings_are_valid_and_agree(data: tuple) -> None:
    facts, pixels, names, pretrained = data
    splits, _ = assign_splits(facts, pixels, FOLDER)
    planned = plan_settings(facts, splits, pixels, names, pretrained=pretrained)
    assert planned == plan_settings(facts[::-1], dict(reversed(splits.items())), pixels, names, pretrained=pretrained)
    found, valid = values(planned), validated(planned)
    low, high = valid.augmentation.scale
    assert math.sqrt(low * high) == pytest.approx(valid.evaluation.scale, rel=0.01)
    assert valid.augmentation.crop_size % 32 == 0
    if stored := found.get("data.longer_side"):
        assert valid.inference.longer_side == stored <= 2048
    assert valid.training.validate_every <= valid.training.epochs
    for one in planned:
        assert one.reason
        assert len(settings_yaml([one]).splitlines()[-1]) <= 120


def test_text() -> None:
    some = [
        Setting("data.longer_side", 512, "large"),
        Setting("training.epochs", 20, "few images"),
        Setting("training.optimizer.learning_rate", 0.03, "from scratch"),
        Setting("training.optimizer.momentum", 0.9, "usual"),
        Setting("model.weights", None, "no network"),
        Setting("augmentation.scale", [0.8, 1.25], "a quarter"),
    ]
    assert block_lines(some, "training") == (
        "  epochs: 20               # few images\n"
        "  optimizer:\n"
        "    learning_rate: 0.03    # from scratch\n"
        "    momentum: 0.9          # usual\n"
    )
    assert block_lines(some, "evaluation") == ""
    assert settings_yaml(some).startswith("data:\n  longer_side: 512         # large\n\ntraining:\n")
    assert yaml.safe_load(settings_yaml(some)) == {
        "data": {"longer_side": 512},
        "training": {"epochs": 20, "optimizer": {"learning_rate": 0.03, "momentum": 0.9}},
        "model": {"weights": None},
        "augmentation": {"scale": [0.8, 1.25]},
    }
