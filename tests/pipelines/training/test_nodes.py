"""Warnings about classes and settings before training begins."""

from types import SimpleNamespace

import pandas as pd
import pytest

from voc_seg.config import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    InferenceConfig,
    ModelConfig,
    RuntimeConfig,
    TrainingConfig,
)
from voc_seg.engine.run import EpochReport
from voc_seg.pipelines.training import nodes
from voc_seg.pipelines.training.nodes import check_classes, evaluation_scale_warning, recipe_hint
from voc_seg.system.errors import VocSegError

NAMES = ("background", "cat", "dog")


def index(*pixels: int) -> pd.DataFrame:
    return pd.DataFrame([pixels], columns=list(NAMES)).assign(rejected="")


def test_classes_without_a_pixel_are_warned_of(caplog):
    check_classes({"train": index(9, 1, 0), "val": index(9, 0, 0)}, NAMES)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.messages[0].startswith("train: 1 of 3 classes have no pixel in any usable image: dog.")
    assert caplog.messages[1].startswith("val: 2 of 3 classes")


def test_background_alone_is_refused():
    with pytest.raises(VocSegError, match="every declared class but background is absent"):
        check_classes({"train": index(9, 0, 0), "val": index(9, 1, 1)}, NAMES)


@pytest.mark.parametrize("table", [pd.DataFrame(), index(9, 0, 0).drop(columns="dog")])
def test_an_index_that_is_not_there_or_of_other_classes_is_ignored(table, caplog):
    check_classes({"train": table, "val": table}, NAMES)
    assert caplog.messages == []


def test_the_indices_of_the_samples_are_looked_at():
    data = DataConfig(classes=list(NAMES))
    settings = (
        data,
        AugmentationConfig(),
        ModelConfig(),
        TrainingConfig(),
        EvaluationConfig(),
        InferenceConfig(),
        RuntimeConfig(),
    )
    samples = SimpleNamespace(require_reading=lambda reading: None, read_index=lambda: index(9, 0, 0))
    with pytest.raises(VocSegError, match="every declared class but background is absent"):
        next(nodes.train(samples, samples, None, None, 0, *settings))


def test_epochs_that_are_not_the_best_leave_the_best_model_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty dict does, so nothing may be added to it."""
    reports = [EpochReport({}, {"epoch": 1}, []), EpochReport({}, {}, [])]
    monkeypatch.setattr(nodes, "fit", lambda *_: reports)
    monkeypatch.setattr(nodes, "checkpoint_to_resume", lambda *_: None)
    configs = (DataConfig, AugmentationConfig, ModelConfig, TrainingConfig, EvaluationConfig, InferenceConfig)
    samples = SimpleNamespace(
        require_reading=lambda reading: None, read_index=None, origin=SimpleNamespace(source="sample")
    )
    first, second = nodes.train(samples, samples, None, None, 0, *(config() for config in configs), RuntimeConfig())
    assert first[0]["epoch"] == 1 and "class_colours" in first[0]
    assert second[0] == {}


@pytest.mark.parametrize(
    ("source", "weights", "crop_size", "warned"),
    [("own", None, 96, True), ("own", "imagenet", 96, False), ("own", None, 128, False), ("sample", None, 96, False)],
)
def test_own_data_with_the_settings_of_the_sample(source, weights, crop_size, warned):
    hint = recipe_hint(source, AugmentationConfig(crop_size=crop_size), ModelConfig(weights=weights))
    assert bool(hint) is warned
    assert not warned or "crops of 96 pixels, as suits the drawn sample" in hint


@pytest.mark.parametrize(
    ("augmentation", "scale", "warned"),
    [
        ({"scale": [0.9, 1.1]}, 1.0, False),
        ({"scale": [0.9, 1.1]}, 0.9, False),
        ({"scale": [0.9, 1.1]}, 0.3, True),
        ({"scale": [0.25, 0.4]}, 1.0, True),
        ({"scale": [0.9, 1.1], "image_size": [64, 64]}, 0.3, False),
    ],
)
def test_validation_at_another_scale_than_training_is_warned_of(augmentation: dict, scale: float, warned: bool) -> None:
    warning = evaluation_scale_warning(AugmentationConfig(**augmentation), EvaluationConfig(scale=scale))
    assert bool(warning) is warned
    assert not warned or f"evaluation.scale is {scale:g}" in warning


def test_scales_that_training_never_shows_are_named() -> None:
    augmentation = AugmentationConfig(scale=(0.5, 1.2))
    assert not evaluation_scale_warning(augmentation, EvaluationConfig(scale=0.8, scales=(0.6, 0.8, 1.0)))
    warning = evaluation_scale_warning(augmentation, EvaluationConfig(scale=0.8, scales=(0.4, 0.8, 1.5)))
    assert warning.startswith("evaluation.scales has 0.4 and 1.5, but crops are cut at augmentation.scale 0.5 to 1.2")
