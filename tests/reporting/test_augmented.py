"""The figure of augmented samples shows the first crops of a training; the report shows those of the scored model."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_seg.config import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    Parameters,
    TrainingConfig,
)
from voc_seg.pipelines.training.nodes import draw_augmented
from voc_seg.reporting.augmented import crops_of_model, first_crops
from voc_seg.reporting.overlays import overlay
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import VOC_CLASSES

CONFIG = AugmentationConfig(crop_size=64, scale=(0.2, 0.4), strength="strong", copy_paste=0.5)


def test_they_are_the_first_that_training_sees(train_store: SampleStore) -> None:
    crops = first_crops(train_store, CONFIG, 3, count=4)
    batch = next(training_batches(train_store, CONFIG, 4, 3, range(1)))
    assert [crop.id for crop in crops] == list(batch.ids)
    for crop, image, target in zip(crops, batch.images, batch.targets):
        np.testing.assert_array_equal(crop.image, image.permute(1, 2, 0))
        np.testing.assert_array_equal(crop.mask, target)


def _drawn(train_store: SampleStore, training: TrainingConfig) -> Any:
    settings = DataConfig(), CONFIG, ModelConfig(), training, EvaluationConfig(scale=0.5)
    return draw_augmented(train_store, 3, *settings)


def test_with_stored_features_the_figure_shows_only_what_acts_on_them(train_store: SampleStore) -> None:
    figure = _drawn(train_store, TrainingConfig(frozen_stages="all"))
    acting = AugmentationConfig(crop_size=64, scale=(0.5, 0.5))
    assert CONFIG.of_features(0.5) == acting
    crop = first_crops(train_store, acting, 3)[0]
    assert (np.asarray(figure.axes[0].images[0].get_array()) == overlay(crop.image, crop.mask)).all()
    assert "Crops like the windows of the stored features" in [text.get_text() for text in figure.texts]


def test_resuming_draws_nothing(train_store: SampleStore) -> None:
    assert _drawn(train_store, TrainingConfig(resume=True)) == []


def test_the_figure_shows_them_and_names_the_options_in_use(train_store: SampleStore) -> None:
    figure = _drawn(train_store, TrainingConfig())
    crops = first_crops(train_store, CONFIG, 3)
    assert len(figure.axes) == len(crops) == min(12, len(train_store))
    assert (np.asarray(figure.axes[0].images[0].get_array()) == overlay(crops[0].image, crops[0].mask)).all()
    texts = [text.get_text() for text in figure.texts]
    assert "The first crops of epoch 1, strength strong, copy_paste 0.5" in texts


def _trained(content: str) -> dict[str, Any]:
    config = Parameters(augmentation=CONFIG, seed=3).model_dump(mode="json") | {"data": {"content": content}}
    return {"config": config}


def test_the_report_shows_those_of_the_model(train_store: SampleStore) -> None:
    shown = crops_of_model(_trained(f"samples:{train_store.content}"), train_store, VOC_CLASSES)
    assert [one["id"] for one in shown] == [crop.id for crop in first_crops(train_store, CONFIG, 3)]
    head, _, content = shown[0]["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (64, 64)


@pytest.mark.parametrize("model", [{}, _trained("samples:other"), _trained("")])
def test_a_model_of_other_samples_has_none(train_store: SampleStore, model: dict[str, Any]) -> None:
    assert crops_of_model(model, train_store, VOC_CLASSES) == []
    assert crops_of_model(_trained(f"samples:{train_store.content}"), None, VOC_CLASSES) == []


def test_a_model_trained_on_stored_features_has_none(train_store: SampleStore) -> None:
    model = _trained(f"samples:{train_store.content}")
    model["config"]["training"]["frozen_stages"] = "all"
    assert crops_of_model(model, train_store, VOC_CLASSES) == []
