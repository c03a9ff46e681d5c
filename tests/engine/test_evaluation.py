"""Evaluation: predictions at native size, counts of every labelled pixel, sums over a split."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import EvaluationConfig, ModelConfig
from voc_seg.engine import prediction as predicting
from voc_seg.engine import scores as scoring
from voc_seg.engine.evaluation import Score, accumulate, evaluate
from voc_seg.engine.prediction import (
    Prediction,
    _group_by_size,
    predict_all,
)
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.scores import network_input, network_logits, network_size, upsample_in_strips
from voc_seg.metrics.confusion import confusion_matrix, mean_iou
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.errors import VocSegError

CPU = Runtime(torch.device("cpu"), torch.float32)
PLAIN = EvaluationConfig()


pytestmark = pytest.mark.usefixtures("narrow_encoder")


class RedOrNot(nn.Module):
    """Class 1 where the image is redder than the mean, else class 0; records the input sizes."""

    def __init__(self, tilt: float = 0.0) -> None:
        super().__init__()
        self.tilt = tilt
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        red = images[:, 0] + self.tilt * torch.linspace(-1, 1, images.shape[-1])
        return torch.stack([-red, red], dim=1)


def _sample(height: int, width: int, name: str = "half") -> Sample:
    """The right half is red and of class 1; the last row is void."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 0] = 255
    mask = (image[..., 0] > 0).astype(np.uint8)
    mask[-1] = 255
    return Sample(name, image, mask)


def predict_one(
    model: nn.Module, sample: Sample, config: EvaluationConfig, runtime: Runtime, *size: object
) -> Prediction:
    return next(predict_all(model, [sample], config, runtime, *size))


def predict_logits(model: nn.Module, images: np.ndarray, config: EvaluationConfig, runtime: Runtime) -> Tensor:
    """All logits at the images' own size at once, as evaluation of small images does."""
    height, width = images.shape[1:3]
    pixels = network_input(images, network_size((height, width), config.scale))
    logits = network_logits(model, pixels, config.flip, runtime)
    return functional.interpolate(logits, (height, width), mode="bilinear")


LANDSCAPE, PORTRAIT = _sample(40, 62, "landscape"), _sample(62, 40, "portrait")


@pytest.mark.parametrize("sample", [LANDSCAPE, PORTRAIT], ids=lambda sample: sample.id)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.5, 1.7])
def test_predictions_have_the_images_own_size(sample: Sample, scale: float, flip: bool) -> None:
    config = EvaluationConfig(scale=scale, flip=flip)
    model = RedOrNot()
    prediction = predict_one(model, sample, config, CPU)
    assert prediction.mask.shape == sample.mask.shape
    assert prediction.mask.dtype == np.uint8
    # Scaling blurs the edge between the halves over a few pixels; everything else stays in place.
    wrong = prediction.mask != (sample.image[..., 0] > 0)
    middle = sample.mask.shape[1] // 2
    assert not np.delete(wrong, np.s_[middle - 2 : middle + 2], axis=1).any()
    assert set(model.sizes) == {tuple(round(length * scale) for length in sample.mask.shape)}
    assert len(model.sizes) == 1 + flip


@pytest.mark.parametrize("sample", [LANDSCAPE, PORTRAIT], ids=lambda sample: sample.id)
def test_a_real_network_predicts_at_native_size(sample: Sample) -> None:
    model = build_model(ModelConfig(width=8), 21).eval()
    logits = predict_logits(model, sample.image[None], EvaluationConfig(scale=0.7, flip=True), CPU)
    assert (logits.shape, logits.dtype) == ((1, 21, *sample.mask.shape), torch.float32)


def test_image_size_is_what_the_network_sees_and_scale_is_relative_to_it() -> None:
    model = RedOrNot()
    prediction = predict_one(model, LANDSCAPE, EvaluationConfig(scale=0.5), CPU, (32, 64))
    assert model.sizes == [(16, 32)]
    assert prediction.mask.shape == (40, 62)


def test_at_scale_one_the_network_sees_the_picture_as_it_is() -> None:
    expected = RedOrNot()(normalise(torch.from_numpy(LANDSCAPE.image).permute(2, 0, 1)[None]))
    torch.testing.assert_close(predict_logits(RedOrNot(), LANDSCAPE.image[None], PLAIN, CPU), expected)


def test_flip_averages_both_views() -> None:
    """A gradient from left to right cancels out: the mirrored view has the opposite one."""
    flat = predict_logits(RedOrNot(0.0), LANDSCAPE.image[None], PLAIN, CPU)
    tilted = predict_logits(RedOrNot(0.8), LANDSCAPE.image[None], PLAIN, CPU)
    averaged = predict_logits(RedOrNot(0.8), LANDSCAPE.image[None], EvaluationConfig(flip=True), CPU)
    torch.testing.assert_close(averaged, flat)
    assert not torch.allclose(tilted, flat)


def test_confusion_counts_every_labelled_pixel() -> None:
    prediction = predict_one(RedOrNot(), LANDSCAPE, PLAIN, CPU)
    labelled = 39 * 62
    assert prediction.confusion.tolist() == [[labelled // 2, 0], [0, labelled // 2]]
    np.testing.assert_array_equal(
        prediction.confusion,
        confusion_matrix(torch.from_numpy(LANDSCAPE.mask), torch.from_numpy(prediction.mask), 2),
    )


def test_loss_is_summed_over_labelled_pixels_of_the_native_size() -> None:
    prediction = predict_one(RedOrNot(), LANDSCAPE, PLAIN, CPU)
    logits = predict_logits(RedOrNot(), LANDSCAPE.image[None], PLAIN, CPU)
    target = torch.from_numpy(LANDSCAPE.mask).long()[None]
    expected = functional.cross_entropy(logits, target, ignore_index=255, reduction="sum")
    assert prediction.loss == pytest.approx(expected.item())


def scored(*samples: Sample) -> Score:
    return accumulate(predict_all(RedOrNot(), samples, PLAIN, CPU))


def test_score_sums_counts_and_weighs_the_loss_by_pixels() -> None:
    predictions = [predict_one(RedOrNot(), sample, PLAIN, CPU) for sample in (LANDSCAPE, PORTRAIT)]
    total = accumulate(iter(predictions))
    assert total.confusion.sum() == 39 * 62 + 61 * 40
    np.testing.assert_array_equal(total.confusion, predictions[0].confusion + predictions[1].confusion)
    assert total.loss == pytest.approx((predictions[0].loss + predictions[1].loss) / (39 * 62 + 61 * 40))


def test_an_image_of_void_adds_nothing() -> None:
    void = Sample("void", LANDSCAPE.image, np.full_like(LANDSCAPE.mask, 255))
    with_void, without = (scored(*samples) for samples in ((LANDSCAPE, void), (LANDSCAPE,)))
    np.testing.assert_array_equal(with_void.confusion, without.confusion)
    assert with_void.loss == without.loss
    assert scored(void).loss == 0


def test_an_empty_split_cannot_be_scored(empty_store: SampleStore) -> None:
    with pytest.raises(VocSegError, match="the split has no usable mask"):
        accumulate([])
    with pytest.raises(VocSegError, match="the split has no usable mask"):
        evaluate(RedOrNot(), empty_store, PLAIN, CPU)


def test_images_of_one_size_go_together_and_nothing_is_lost() -> None:
    samples = [_sample(40, 62, f"l{n}") for n in range(5)] + [_sample(62, 40, f"p{n}") for n in range(3)]
    mixed = samples[::2] + samples[1::2]
    groups = list(_group_by_size(mixed, 2 * 40 * 62 + 7))
    assert [len(group) for group in groups] == [2, 2, 2, 1, 1]
    assert all(len({sample.mask.shape for sample in group}) == 1 for group in groups)
    assert sorted(sample.id for group in groups for sample in group) == sorted(sample.id for sample in mixed)
    assert [len(group) for group in _group_by_size(mixed, 0)] == [1] * 8
    assert [len(group) for group in _group_by_size([*mixed, _sample(90, 90)], 3 * 40 * 62)] == [3, 3, 1, 2]


def test_a_batch_gives_what_its_images_give_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [_sample(40, 62, "a"), PORTRAIT, _sample(40, 62, "b"), _sample(40, 62, "c")]
    torch.manual_seed(0)
    model = build_model(ModelConfig(width=8), 21).eval()
    alone = {found.id: found for found in predict_all(model, samples, PLAIN, CPU)}
    monkeypatch.setattr(predicting, "_group_by_size", lambda samples, pixels: _group_by_size(samples, 2 * 40 * 62))
    together = list(predict_all(model, samples, PLAIN, CPU))
    assert [found.id for found in together] == ["a", "b", "portrait", "c"]
    for found in together:
        # Another batch size may choose another kernel: the last bits of a logit differ, and with them a pixel or two.
        assert (found.mask != alone[found.id].mask).mean() < 0.01
        assert found.loss == pytest.approx(alone[found.id].loss, rel=1e-4)


def test_several_processes_predict_each_image_once_in_the_groups_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [_sample(40, 62, "a"), PORTRAIT, _sample(40, 62, "b"), _sample(40, 62, "c")]
    monkeypatch.setattr(predicting, "_group_by_size", lambda samples, pixels: _group_by_size(samples, 2 * 40 * 62))
    parts = [[found.id for found in predict_all(RedOrNot(), samples, PLAIN, CPU, None, rank, 4)] for rank in range(4)]
    assert parts == [["a", "b"], ["portrait"], ["c"], []]


class TestEvaluate:
    def test_rows_masks_and_totals_of_a_split(self, val_store: SampleStore) -> None:
        torch.manual_seed(0)
        model = build_model(ModelConfig(width=8), 21).train()
        result = evaluate(model, val_store, PLAIN, CPU)
        assert not model.training
        ids = [sample.id for sample in val_store]
        assert [row["image_id"] for row in result.images] == list(result.masks) == ids
        total = 0
        for sample, row in zip(val_store, result.images):
            truth, mask = torch.from_numpy(np.array(sample.mask)), torch.from_numpy(result.masks[sample.id])
            confusion = confusion_matrix(truth, mask, 21).numpy()
            assert row["miou"] == mean_iou(confusion)
            assert row["pixel_accuracy"] == pytest.approx(confusion.trace() / confusion.sum())
            assert row["void_fraction"] == pytest.approx((sample.mask == 255).mean())
            total = total + confusion
        np.testing.assert_array_equal(result.score.confusion, total)
        assert total.sum() == sum(int((sample.mask != 255).sum()) for sample in val_store)
        assert result.images_per_second > 0

    def test_scoring_twice_gives_the_same(self, val_store: SampleStore) -> None:
        model = build_model(ModelConfig(width=8), 21)
        first, again = (evaluate(model, val_store, PLAIN, CPU) for _ in range(2))
        assert first.images == again.images
        assert first.score.loss == again.score.loss


class TestStrips:
    """Large images are scored a strip of rows at a time."""

    def _scores(self, channels_last: bool) -> Tensor:
        logits = torch.randn(1, 5, 30, 40, generator=torch.Generator().manual_seed(0))
        return logits.to(memory_format=torch.channels_last) if channels_last else logits

    @pytest.mark.parametrize("channels_last", [True, False])
    @pytest.mark.parametrize("size", [(100, 131), (17, 23), (30, 40), (1, 300), (300, 1)])
    def test_they_are_the_whole(
        self, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], channels_last: bool
    ) -> None:
        logits = self._scores(channels_last)
        expected = functional.interpolate(logits, size, mode="bilinear")
        for rows in (10**6, 7, 1):
            monkeypatch.setattr(scoring, "_WHOLE", rows * size[1])
            monkeypatch.setattr(scoring, "_STRIP", rows * size[1])
            parts = list(upsample_in_strips(logits, *size))
            assert [index for part, _ in parts for index in range(part.start, part.stop)] == list(range(size[0]))
            found = torch.cat([scores for _, scores in parts], dim=2)
            same = rows == 10**6 or size == (30, 40)
            torch.testing.assert_close(found, expected, **({"rtol": 0, "atol": 0} if same else {}))

    @pytest.mark.parametrize("scale", [1.0, 0.3])
    def test_scores_do_not_depend_on_them(self, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
        torch.manual_seed(0)
        model = build_model(ModelConfig(width=8), 21).eval()
        image = np.random.default_rng(0).integers(0, 256, (90, 121, 3), dtype=np.uint8)
        mask = np.random.default_rng(1).integers(0, 23, (90, 121)).astype(np.uint8)
        mask[mask > 20] = 255
        sample, config = Sample("noise", image, mask), EvaluationConfig(scale=scale)
        whole = predict_one(model, sample, config, CPU)
        monkeypatch.setattr(scoring, "_WHOLE", 7 * 121)
        monkeypatch.setattr(scoring, "_STRIP", 7 * 121)
        strips = predict_one(model, sample, config, CPU)
        assert strips.loss == pytest.approx(whole.loss, rel=1e-5)
        assert strips.confusion.sum() == whole.confusion.sum() == (mask != 255).sum()
        assert (strips.mask != whole.mask).mean() < (0.001 if scale < 1 else 1e-9)

    def test_memory_does_not_grow_with_pixels_times_classes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither for a large image nor for a small one with many classes."""
        largest: list[int] = []

        def noted(scores: Tensor) -> Tensor:
            largest.append(max(scores.numel(), 21 * scores[0, 0].numel()))
            return scoring.best_class(scores)

        monkeypatch.setattr(predicting, "best_class", noted)
        for pixels, classes in ((3000 * 1000, 21), (700 * 500, 150)):

            class Many(nn.Module):
                def forward(self, images: Tensor, classes: int = classes) -> Tensor:
                    return images[:, :1].expand(-1, classes, -1, -1)

            side = pixels // 500
            image = np.zeros((side, 500, 3), np.uint8)
            sample = Sample("large", image, np.zeros((side, 500), np.uint8))
            predict_one(Many(), sample, EvaluationConfig(scale=0.02), CPU)
        assert len(largest) > 2
        assert max(largest) <= 21 * 2**20


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2), (3, 3000)])
def test_images_of_any_size_are_scored(size: tuple[int, int], scale: float) -> None:
    model = build_model(ModelConfig(width=8), 3).eval()
    sample = Sample("thin", np.zeros((*size, 3), np.uint8), np.ones(size, np.uint8))
    found = predict_one(model, sample, EvaluationConfig(scale=scale, flip=True), CPU)
    assert found.mask.shape == size
    assert found.confusion.sum() == size[0] * size[1]
    assert np.isfinite(found.loss)
