"""Masks of images of any size: reduced, in tiles and in strips, with the same result as in one piece."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from voc_seg.config import EvaluationConfig, InferenceConfig, ModelConfig, Parameters
from voc_seg.engine import inference
from voc_seg.engine.inference import Segmenter
from voc_seg.engine.prediction import predict_all
from voc_seg.engine.preprocessing import Preprocessing, evaluation_differences, preprocessing_of
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.scores import best_class
from voc_seg.engine.training import fit
from voc_seg.models.registry import build_model, restore_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.scenes.sample import draw_scene, plan_split
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

CPU = Runtime(torch.device("cpu"), torch.float32)


def preprocessing(**changes: object) -> Preprocessing:
    plain = {"scales": (1.0,), "flip": False, "image_size": None, "longer_side": None, "tile": 1024}
    return Preprocessing(**plain | changes)


class RedOrNot(nn.Module):
    """Class 1 where the image is redder than the mean; records the input sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        return torch.stack([-images[:, 0], images[:, 0]], dim=1)


@pytest.fixture(scope="module")
def network() -> SegmentationNet:
    """Random weights: every class occurs somewhere, and each pixel depends on its surroundings."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(width=16), 21)
    with torch.no_grad():  # the classifier's start is so small that rounding would decide between the classes
        model.decoder.classify.weight.mul_(50)
    return model.eval()


@pytest.fixture(scope="module")
def trained(train_store: SampleStore, make_parameters: Callable[..., Parameters]) -> SegmentationNet:
    """A little training, so that predictions depend on the image more than on chance."""
    settings = make_parameters(
        model={"width": 16}, training={"epochs": 40, "batch_size": 4, "validate_every": 40,
                                       "optimizer": {"learning_rate": 0.05}},
    )  # fmt: skip
    reports = list(fit(train_store, train_store, CLASS_NAMES, settings))
    return restore_model(reports[-1].best_model)


def _image(height: int, width: int) -> np.ndarray:
    """Red in the lower right triangle."""
    image = np.zeros((height, width, 3), np.uint8)
    image[np.add.outer(np.arange(height) / height, np.arange(width) / width) > 1, 0] = 255
    return image


@pytest.mark.parametrize("size", [(40, 62), (62, 40), (1, 1), (1, 300), (33, 7)])
@pytest.mark.parametrize(
    "changes", [{}, {"scales": (0.5,)}, {"scales": (1.7,), "flip": True}, {"image_size": (20, 30)}]
)
def test_masks_are_those_of_evaluation(network: SegmentationNet, size: tuple[int, int], changes: dict) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    chosen = preprocessing(**changes)
    config = EvaluationConfig(scales=chosen.scales, flip=chosen.flip)
    sample = Sample("noise", image, np.zeros(size, np.uint8))
    (expected,) = predict_all(network, [sample], config, CPU, chosen.image_size)
    found = Segmenter(network, chosen, CPU, InferenceConfig()).predict(image).mask
    assert (found.shape, found.dtype) == (size, np.uint8)
    np.testing.assert_array_equal(found, expected.mask)


@pytest.mark.parametrize(
    ("changes", "shape", "size"),
    [
        ({}, (300, 400), (300, 400)),
        ({"longer_side": 200}, (300, 400), (150, 200)),
        ({"longer_side": 200, "scales": (0.5,)}, (400, 300), (100, 75)),
        ({"longer_side": 800}, (300, 400), (300, 400)),  # nothing is enlarged
        ({"longer_side": 200, "image_size": (90, 120), "scales": (0.5,)}, (3000, 4000), (45, 60)),
        ({"longer_side": 500}, (2, 4000), (1, 500)),
    ],
)
def test_what_the_network_is_given(changes: dict, shape: tuple[int, int], size: tuple[int, int]) -> None:
    model = RedOrNot()
    mask = Segmenter(model, preprocessing(**changes), CPU, InferenceConfig()).predict(_image(*shape)).mask
    assert (mask.shape, model.sizes) == (shape, [size])


def test_tiles_are_put_where_they_belong() -> None:
    model = RedOrNot()
    image = _image(300, 500)
    mask = Segmenter(model, preprocessing(tile=128), CPU, InferenceConfig()).predict(image).mask
    np.testing.assert_array_equal(mask, (image[..., 0] > 0).astype(np.uint8))
    assert model.sizes == [(128, 128)] * 15  # 3 x 5, overlapping by a quarter


def test_the_tiles_of_a_network_agree_with_the_whole(trained: SegmentationNet) -> None:
    # 125 by 94 of the network's pixels: two by one tiles, then two by two.
    image, _ = draw_scene(plan_split("train", 1, 0)[0])
    whole = Segmenter(trained, preprocessing(scales=(0.25,)), CPU, InferenceConfig()).predict(image).mask
    assert len(np.unique(whole)) > 1
    for tile in (96, 80):
        tiled = Segmenter(trained, preprocessing(scales=(0.25,), tile=tile), CPU, InferenceConfig()).predict(image).mask
        assert 0 < (whole != tiled).mean() < 0.05


def test_a_huge_picture_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # 21 classes at 4 bytes would be 84 bytes per pixel of the image, but only a tile or a strip is in memory at once.
    largest: list[int] = []

    def noted(scores: Tensor) -> Tensor:
        largest.append(scores[0, 0].numel())
        return best_class(scores)

    monkeypatch.setattr(inference, "best_class", noted)
    model = RedOrNot()
    Segmenter(model, preprocessing(longer_side=500), CPU, InferenceConfig()).predict(
        np.zeros((3000, 4000, 3), np.uint8)
    )
    Segmenter(model, preprocessing(scales=(0.5,), tile=256), CPU, InferenceConfig()).predict(
        np.zeros((3000, 4000, 3), np.uint8)
    )
    assert max(height * width for height, width in model.sizes) == 375 * 500
    assert max(largest) <= 2**20


def test_the_manner_is_that_of_the_models_validation() -> None:
    saved = {"config": {"evaluation": {"scale": 0.3, "flip": True}}, "image_size": [375, 500]}
    found = preprocessing_of(saved, InferenceConfig(tile=512))
    assert found == Preprocessing((0.3,), True, (375, 500), 500, 512)
    with pytest.raises(VocSegError, match=r"does not say with which evaluation.scale"):
        preprocessing_of({"image_size": None}, InferenceConfig())


def test_scales_of_the_evaluation_take_the_place_of_the_models_scale() -> None:
    saved = {"config": {"evaluation": {"scale": 0.3, "flip": True}}, "image_size": None}
    assert preprocessing_of(saved, InferenceConfig(), (0.2, 0.4)).scales == (0.2, 0.4)
    assert preprocessing_of(saved, InferenceConfig(), None).scales == (0.3,)


@pytest.mark.parametrize(
    ("evaluation", "inference", "words"),
    [
        ({}, {}, []),
        ({"scales": [0.5, 1.0]}, {}, []),
        ({"scales": [1.0, 1.5]}, {}, ["evaluation.scales is 1 1.5, but the model was validated at 0.8"]),
        ({"tile": 512}, {}, ["evaluation.tile is 512, but inference.tile 1024"]),
        ({"tile": 512}, {"tile": 512}, []),
    ],
)
def test_masks_that_differ_from_what_was_scored_are_warned_about(
    evaluation: dict, inference: dict, words: list[str]
) -> None:
    saved = {"config": {"evaluation": {"scale": 0.8, "flip": False}}}
    found = list(evaluation_differences(saved, EvaluationConfig(**evaluation), InferenceConfig(**inference)))
    assert len(found) == len(words)
    assert all(warning.startswith(start) for warning, start in zip(found, words))
    assert not list(evaluation_differences({}, EvaluationConfig(scales=[2.0]), InferenceConfig()))  # an old model


def test_exhausted_memory_is_answered_with_advice() -> None:
    class Greedy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(VocSegError, match=r"Out of memory. Lower inference.tile or inference.longer_side"):
        Segmenter(Greedy(), preprocessing(), CPU, InferenceConfig()).predict(_image(8, 8))
