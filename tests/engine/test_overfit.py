"""The sanity check passes if the network learns and fails with advice if it does not."""

from collections.abc import Callable

import numpy as np
import pytest

from voc_seg.config import Parameters, SanityConfig
from voc_seg.engine.overfit import choose_sample, failure_advice, overfit, overfit_size
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system import progress
from voc_seg.system.errors import VocSegError

NAMES = ("background", "square")

Make = Callable[..., Parameters]


@pytest.fixture(scope="module")
def square() -> Sample:
    """A bright square on dark ground, void around it."""
    image, mask = np.full((64, 64, 3), 40, np.uint8), np.zeros((64, 64), np.uint8)
    mask[14:50, 14:50] = 255
    mask[16:48, 16:48] = 1
    image[16:48, 16:48] = (220, 180, 60)
    return Sample("square", image, mask)


def test_a_simple_image_is_learnt(square: Sample, make_parameters: Make) -> None:
    parameters = make_parameters(model={"width": 16}, sanity={"epochs": 40})
    result = overfit(square, NAMES, parameters)
    assert result.metrics["miou"] >= 0.9
    assert result.metrics["passed"] is True
    assert result.history[-1]["loss"] < 0.2 * result.history[0]["loss"]
    labelled = square.mask != 255
    assert (result.prediction == square.mask)[labelled].mean() == pytest.approx(result.metrics["pixel_accuracy"])


def test_too_few_epochs_fail(scene_samples: list[Sample], make_parameters: Make) -> None:
    result = overfit(scene_samples[4], tuple(map(str, range(21))), make_parameters(sanity={"epochs": 2}))
    assert result.metrics["passed"] is False
    assert result.metrics["image_id"] == scene_samples[4].id
    assert set(result.metrics) >= {"epochs", "final_loss", "miou", "pixel_accuracy", "passed"}
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert result.metrics["final_loss"] == result.history[-1]["loss"]
    assert result.prediction.shape == scene_samples[4].mask.shape, "portrait, at its own size"


def test_the_same_seed_gives_the_same_check(square: Sample, make_parameters: Make) -> None:
    parameters = make_parameters(sanity={"epochs": 2})
    first, again = (overfit(square, NAMES, parameters) for _ in range(2))
    assert first.history == again.history
    np.testing.assert_array_equal(first.prediction, again.prediction)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((375, 500), (168, 224)),  # as ever
        ((64, 64), (64, 64)),
        ((28, 28), (64, 64)),
        ((1, 1), (64, 64)),
        ((3, 3000), (64, 224)),
        ((3000, 1), (224, 64)),
        ((100, 40), (100, 64)),
    ],
)
def test_the_size_at_which_an_image_is_learnt(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert overfit_size(*shape, 224) == size


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 900), (900, 1), (28, 28)])
def test_an_image_of_any_size_can_be_checked(shape: tuple[int, int], make_parameters: Make) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2] = 1
    sample = Sample("small", np.zeros((*shape, 3), np.uint8), mask)
    result = overfit(sample, NAMES, make_parameters(sanity={"epochs": 1, "longer_side": 64}))
    assert result.prediction.shape == shape
    assert np.isfinite(result.metrics["miou"])


def test_a_tiny_image_is_learnt(make_parameters: Make) -> None:
    mask = np.zeros((2, 2), np.uint8)
    mask[:, 1] = 1
    tiny = Sample("tiny", np.repeat(200 * mask[..., None], 3, axis=2), mask)
    assert overfit(tiny, NAMES, make_parameters(model={"width": 16}, sanity={"epochs": 40})).metrics["passed"]


def test_an_image_of_void_is_refused(make_parameters: Make) -> None:
    void = Sample("nothing", np.zeros((40, 40, 3), np.uint8), np.full((40, 40), 255, np.uint8))
    with pytest.raises(VocSegError, match="every pixel of nothing is void"):
        overfit(void, NAMES, make_parameters())


@pytest.mark.parametrize("shape", [(12, 1000), (1000, 12)])
def test_images_far_larger_than_the_check_sees_can_be_checked(shape: tuple[int, int], make_parameters: Make) -> None:
    """More than ten times ``sanity.longer_side``, as photographs of twelve megapixels are."""
    mask = np.zeros(shape, np.uint8)
    mask[:6, :6] = 1
    long = Sample("long", np.zeros((*shape, 3), np.uint8), mask)
    parameters = make_parameters(sanity={"epochs": 1, "longer_side": 64})
    assert overfit(long, NAMES, parameters).prediction.shape == shape


def test_advice_names_the_settings_to_change() -> None:
    metrics = {"epochs": 60, "image_id": "2007_000032", "miou": 0.4567, "final_loss": 1.5}
    text = failure_advice(metrics, SanityConfig(epochs=60, learning_rate=0.05, pass_miou=0.9))
    for part in ("2007_000032", "0.457", "sanity.pass_miou=0.9", "sanity.epochs=120", "sanity.learning_rate=0.01"):
        assert part in text
    for key in ("sanity.epochs", "sanity.learning_rate", "sanity.image"):
        assert key in text


class TestChooseSample:
    def test_by_position(self, train_store: SampleStore) -> None:
        assert choose_sample(train_store, 2).id == train_store[2].id
        assert choose_sample(train_store, 0).id == train_store[0].id

    def test_by_id(self, train_store: SampleStore) -> None:
        assert choose_sample(train_store, train_store[3].id).id == train_store[3].id

    def test_by_default_the_first_with_two_classes(self, scene_samples: list[Sample]) -> None:
        image = scene_samples[0].image
        one_class = np.full(image.shape[:2], 255, np.uint8)
        one_class[0] = 3
        samples = [Sample("void and one class", image, one_class), scene_samples[1], scene_samples[2]]
        assert choose_sample(samples, None).id == scene_samples[1].id

    @pytest.mark.parametrize("position", [4, -1])
    def test_a_position_that_is_not_there(self, train_store: SampleStore, position: int) -> None:
        with pytest.raises(VocSegError, match=f"sanity.image is {position}.*positions 0 to 3.*needs quotes"):
            choose_sample(train_store, position)

    def test_an_id_that_is_not_there(self, train_store: SampleStore) -> None:
        with pytest.raises(VocSegError, match="4 images of the training split hold no image 'cat'"):
            choose_sample(train_store, "cat")

    def test_no_image_with_two_classes(self, scene_samples: list[Sample]) -> None:
        image = scene_samples[0].image
        with pytest.raises(VocSegError, match="no image with two classes"):
            choose_sample([Sample("plain", image, np.zeros(image.shape[:2], np.uint8))], None)

    def test_an_id_of_voc_that_yaml_reads_as_a_number(self, scene_samples: list[Sample]) -> None:
        """YAML and ``--params`` read 2007_000032 as the integer 2007000032."""
        voc = Sample("2007_000032", scene_samples[0].image, scene_samples[0].mask)
        image = SanityConfig.model_validate({"image": 2007000032}).image
        assert choose_sample([scene_samples[1], voc], image).id == "2007_000032"


def test_the_default_image_has_no_specks() -> None:
    def sample(name: str, things: int) -> Sample:
        mask = np.zeros((10, 10), np.uint8)
        mask.flat[:things] = 7
        return Sample(name, np.zeros((10, 10, 3), np.uint8), mask)

    assert choose_sample([sample("empty", 0), sample("speck", 3), sample("large", 30)], None).id == "large"
    assert choose_sample([sample("empty", 0), sample("speck", 3)], None).id == "speck"


def test_slow_steps_are_logged_where_there_is_no_bar(
    square: Sample, make_parameters: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = make_parameters(sanity={"epochs": 2})
    with caplog.at_level("INFO"):
        overfit(square, NAMES, parameters)
        assert "overfitting" not in caplog.text
        monkeypatch.setattr(progress, "FIRST_LOG_SECONDS", 0)
        overfit(square, NAMES, parameters)
    assert "overfitting: 1 of 2 steps" in caplog.messages
