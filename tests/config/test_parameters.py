"""Settings: the defaults are valid, unknown keys are refused, values have limits, blocks are immutable."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from voc_seg.config import DataConfig, ModelInput, Parameters
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOC_CLASSES


def _nested(key: str, value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for the dotted key ``a.b``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _blocks(block: BaseModel) -> list[BaseModel]:
    nested = [value for value in dict(block).values() if isinstance(value, BaseModel)]
    return [block] + [inner for value in nested for inner in _blocks(value)]


def test_defaults_pass_their_own_validation() -> None:
    assert Parameters.model_validate(Parameters().model_dump()) == Parameters()


def test_yaml_values_survive_a_round_trip_through_json() -> None:
    given = Parameters.model_validate(
        {"augmentation": {"image_size": [375, 500], "scale": [0.5, 1]}, "model": {"skips": [1]}}
    )
    assert given.augmentation.image_size == (375, 500)
    assert Parameters.model_validate(given.model_dump(mode="json")) == given


@pytest.mark.parametrize(
    "key",
    [
        "sede",
        "augmentation.crop",
        "model.encodr",
        "training.epoch",
        "training.optimizer.lr",
        "training.schedule.warmup",
        "training.checkpoint.every",
        "sanity.miou",
        "evaluation.scal",
        "runtime.dtype",
    ],
)
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted") as caught:
        Parameters.model_validate(_nested(key, 1))
    assert caught.value.errors()[0]["loc"] == tuple(key.split("."))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("augmentation.crop_size", 31),
        ("augmentation.scale", [1.2, 0.8]),
        ("augmentation.scale", [0.0, 1.0]),
        ("augmentation.scale", [1.0, float("nan")]),
        ("augmentation.flip", 1.5),
        ("augmentation.image_size", [0, 500]),
        ("augmentation.image_size", [375]),
        ("augmentation.colour_jitter", -0.1),
        ("model.encoder", "resnet101"),
        ("model.skips", []),
        ("model.skips", [5]),
        ("model.skips", [2, 2]),
        ("model.width", 10),
        ("model.width", 4),
        ("model.context", "wide"),
        ("model.output_stride", 4),
        ("model.dropout", 1.1),
        ("training.epochs", 0),
        ("training.batch_size", 0),
        ("training.accumulation", 0),
        ("training.validate_every", 0),
        ("training.early_stopping", 0),
        ("training.ema_warmup", True),
        ("training.frozen_stages", 6),
        ("training.loss.class_weights", [1, 2]),
        ("training.optimizer.learning_rate", 0.0),
        ("training.optimizer.learning_rate", float("nan")),
        ("training.optimizer.encoder_factor", -0.1),
        ("training.optimizer.momentum", 1.0),
        ("training.schedule.name", "step"),
        ("training.schedule.warmup_epochs", -1),
        ("training.loss.cross_entropy", -1),
        ("training.loss.class_weights", "rare"),
        ("training.loss.class_weights", [1, -1]),
        ("training.loss.class_weights", [0, 0]),
        ("training.loss.class_weights", [True, 1]),
        ("training.loss.class_weights", "1 nan"),
        ("training.loss.class_weights", []),
        ("training.loss.label_smoothing", 1),
        ("training.loss.ohem", 0),
        ("training.loss.ohem", 1),
        ("training.loss.dice", float("inf")),
        ("training.loss", {"cross_entropy": 0}),
        ("training.loss", {"cross_entropy": 0, "dice": 1, "ohem": 0.5}),
        ("training.checkpoint.every_epochs", 0),
        ("training.checkpoint.keep_last", 0),
        ("sanity.pass_miou", 1.01),
        ("evaluation.split", "dev"),
        ("evaluation.scale", 0.0),
        ("evaluation.scales", ""),
        ("evaluation.scales", "0.5 5"),
        ("evaluation.scales", [True]),
        ("evaluation.tile", 64),
        ("runtime.device", "gpu"),
        ("runtime.precision", "fp8"),
        ("runtime.workers", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Parameters.model_validate(_nested(key, value))
    location = ".".join(str(part) for part in caught.value.errors()[0]["loc"])
    named = location.startswith(key) or key.rsplit(".", 1)[-1] in caught.value.errors()[0]["msg"]
    assert named, str(caught.value)


def test_every_block_is_frozen() -> None:
    for block in _blocks(Parameters()):
        name = next(iter(type(block).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(block, name, getattr(block, name))


def test_every_field_but_the_self_explaining_ones_is_described() -> None:
    bare = {
        f"{type(block).__name__}.{name}"
        for block in _blocks(Parameters())
        for name, field in type(block).model_fields.items()
        if not field.description and not isinstance(getattr(block, name), BaseModel)
    }
    assert bare <= {
        "OptimizerConfig.momentum",
        "OptimizerConfig.weight_decay",
        "SanityConfig.learning_rate",
    }


class TestClasses:
    """data.classes."""

    @staticmethod
    def given(classes: Any) -> Parameters:
        return Parameters.model_validate({"data": {"classes": classes}})

    def test_none_is_voc(self) -> None:
        assert Parameters().data.class_table is VOC_CLASSES

    def test_names_and_colours(self) -> None:
        table = self.given(["background", {"name": "crack", "colour": [255, 0, 0]}]).data.class_table
        assert table.names == ("background", "crack")
        assert table.colours == ((0, 0, 0), (255, 0, 0))
        assert table.palette()[[0, 1, 255]].tolist() == [[0, 0, 0], [255, 0, 0], [224, 224, 192]]

    def test_names_from_the_command_line(self) -> None:
        assert self.given("background crack").data.class_table.names == ("background", "crack")

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            (["background"], "number of classes: 1; a mask can hold 2 to 255"),
            ([f"c{number}" for number in range(256)], "number of classes: 256"),
            (["background", "cat", "cat"], "two classes have the name cat"),
            (["background", ""], "at least 1 character"),
            (["background", {"name": "cat", "color": [1, 2, 3]}], "Extra inputs are not permitted"),
            (["background", {"name": "cat", "colour": [1, 2, 300]}], "less than or equal to 255"),
            (
                ["background", {"name": "cat", "colour": [0, 0, 0]}],
                r"background and cat have the same colour",
            ),
            (
                ["background", {"name": "cat", "colour": [224, 224, 192]}],
                "void and cat have the same",
            ),
            (["background", "void"], "void cannot be a class name"),
            (["background", "truth"], "truth cannot be a class name"),
            (["background", False], "YAML reads this name as False: put it in quotes"),
            (["background", ["cat"]], "valid dictionary"),
        ],
    )
    def test_wrong_ones(self, classes: Any, message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            self.given(classes)

    def test_as_many_as_a_mask_can_tell_apart(self) -> None:
        table = self.given([f"c{number}" for number in range(255)]).data.class_table
        assert len(set(table.colours)) == 255


class TestValues:
    NAMES = ("background", "cat", "dog")

    def meaning(self, values):
        classes = DataConfig.model_validate({"classes": list(self.NAMES), "values": values}).class_table
        return {value: meaning for value, meaning in enumerate(classes.meaning().tolist()) if meaning >= 0}

    @pytest.mark.parametrize(
        ("values", "meaning"),
        [
            (None, {0: 0, 1: 1, 2: 2, 255: 255}),
            ({255: "cat"}, {0: 0, 2: 2, 255: 1}),
            ({"255": "cat"}, {0: 0, 2: 2, 255: 1}),  # --params data.values.255=cat
            ({255: "void", "255": "cat"}, {0: 0, 2: 2, 255: 1}),  # the same, over a file
            ({15: 1, 4: "void"}, {0: 0, 2: 2, 4: 255, 15: 1, 255: 255}),
            ({"cat": [1, 7], "void": "4 255"}, {0: 0, 1: 1, 2: 2, 4: 255, 7: 1, 255: 255}),
            ({"dog": 9}, {0: 0, 1: 1, 9: 2, 255: 255}),
        ],
    )
    def test_both_spellings(self, values, meaning):
        assert self.meaning(values) == meaning

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({256: "cat"}, "256 is not a mask value"),
            ({-1: "cat"}, "-1 is not a mask value"),
            ({"cat": [1.5]}, "1.5 is not a mask value"),
            ({True: "cat"}, "True is not a mask value"),
            ({"cat": ["a"]}, "'a' is not a mask value"),
            ({3: "cow"}, "mask value 3 means 'cow', which is not a class; known: void, background, cat, dog"),
            ({"cow": 3}, "mask value 3 means 'cow', which is not a class"),
            ({3: 7}, "mask value 3 means 7, which is not a class"),
            ({3: None}, "mask value 3 means None"),
            ({3: ["cat"]}, r"mask value 3 means \['cat'\]"),
            ({3: "cat", "dog": [3]}, "mask value 3 means both cat and dog"),
            ([1, 2], "dictionary"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, values, message):
        with pytest.raises(ValidationError, match=message):
            self.meaning(values)

    def test_a_number_that_is_also_a_name_has_to_be_quoted(self):
        named = {"classes": ["background", "2", "1"], "values": {3: 1}}
        with pytest.raises(ValidationError, match="1 is ambiguous, an index or the class 1"):
            DataConfig.model_validate(named)
        classes = DataConfig.model_validate(named | {"values": {3: "1"}}).class_table
        assert classes.values == ((3, 2),)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channels": 0}, "greater than or equal to 1"),
        ({"channels": True}, "true and false are not numbers"),
        ({"range": [5, 5]}, r"range \[5.0, 5.0\] must be \[low, high\] with low < high"),
        ({"mean": [0.5, 0.5, 0.5]}, "mean and std belong together"),
        ({"channels": 4, "mean": [0.5] * 3, "std": [0.5] * 3}, "mean has 3 values, but channels is 4"),
        ({"mean": [0.5] * 3, "std": [0.5, 0, 0.5]}, "greater than 0"),
        ({"mean": [0.5, 2, 0.5], "std": [0.5] * 3}, "less than or equal to 1"),
    ],
)
def test_channels_that_do_not_agree_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(given)


def test_the_input_of_the_network_has_set_default_or_measured_statistics() -> None:
    measured = ((0.1,) * 4, (0.2,) * 4)
    assert DataConfig().with_statistics(measured).model_input == ModelInput()
    given = DataConfig.model_validate(
        {"mean": "0.1 0.2 0.3", "std": "1 2 3", "range": "0 4095"}
    )  # as --params has them
    assert given.with_statistics(measured).model_input == ModelInput((0.1, 0.2, 0.3), (1, 2, 3), (0, 4095))
    four = DataConfig(channels=4)
    assert four.with_statistics(measured).model_input == ModelInput(*measured)
    with pytest.raises(VocSegError, match=r"mean and std of the 4 channels of train are not known\. Measure them with"):
        _ = four.with_statistics(((), ())).model_input
