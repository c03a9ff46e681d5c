"""The training loss: each term by hand and against segmentation_models_pytorch, void pixels, sums over parts."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from voc_seg.config import LossConfig, Parameters
from voc_seg.engine.class_pixels import class_pixels_of_run, count_class_pixels
from voc_seg.engine.loss_terms import BOUNDARY_PIXELS, _lovasz_slopes, near_boundary
from voc_seg.engine.losses import Loss, build_loss, loss_sum, scaled_class_weights
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

CPU = torch.device("cpu")
TERMS = ("cross_entropy", "dice", "lovasz", "focal", "boundary")
EVERYTHING: dict[str, Any] = {
    "class_weights": "balanced", "label_smoothing": 0.1, "ohem": 0.3, "dice": 0.5, "lovasz": 0.7, "focal": 0.2,
    "boundary": 0.4,
}  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    *({name: value} for name, value in EVERYTHING.items()), {"cross_entropy": 0.5}, {"class_weights": [1, 2, 3, 4, 5]},
]  # fmt: skip


def make(classes: int = 5, class_pixels: tuple[int, ...] = (), **given: Any) -> Loss:
    """The loss of these settings; of the terms only those given are on."""
    return build_loss(LossConfig(**given), class_pixels or range(1, classes + 1), CPU)


def only(**given: Any) -> Loss:
    return make(**{"cross_entropy": 0, **given})


def example(images: int = 3, classes: int = 5, side: tuple[int, int] = (9, 12)) -> tuple[Tensor, Tensor]:
    """Random logits and targets in blocks; of the second image half is void, and it has few classes."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(images, classes, *side, generator=random)
    targets = torch.randint(0, classes, (images, side[0] // 3, side[1] // 3), generator=random, dtype=torch.uint8)
    targets = targets.repeat_interleave(3, 1).repeat_interleave(3, 2)
    if images > 1:
        targets[1] = targets[1].clamp(max=1)
        targets[1, : side[0] // 2] = 255
    return logits, targets


class TestByHand:
    """Two pixels and a void one with probabilities 1/4 and 3/4 of the two classes; the labels are 0 and 1."""

    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
    targets = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    first, second = math.log(4), math.log(4 / 3)  # cross-entropies

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            ({"cross_entropy": 2.0}, 2 * (first + second)),
            ({"label_smoothing": 0.2}, 0.8 * (first + second) + 0.2 * (first + second)),
            ({"class_weights": [1, 3]}, 2 / 3 * first + 2 * second),  # three pixels of train are 0, one is 1
            ({"class_weights": [0, 1]}, 4 * second),
            ({"ohem": 0.5}, 2 * first),
            ({"ohem": 0.1}, 2 * first),
            ({"ohem": 0.9}, first + second),
            ({"class_weights": [1, 30], "ohem": 0.5}, 2 * 30 / 8.25 * second),
            ({"boundary": 0.5}, 1.5 * (first + second)),
            ({"cross_entropy": 0, "focal": 1}, 9 / 16 * first + 1 / 16 * second),
            # 2 1/4 / (1/2 + 1) = 1/3 and 2 3/4 / (3/2 + 1) = 3/5
            ({"cross_entropy": 0, "dice": 1}, 2 * (1 - (1 / 3 + 3 / 5) / 2)),
            # Class 0: errors 3/4 of its pixel, then 1/4 with no IoU left to lose. Class 1: the other pixel costs half,
            # then its own the rest.
            ({"cross_entropy": 0, "lovasz": 1}, 2 * (3 / 4 + (3 / 4 * 1 / 2 + 1 / 4 * 1 / 2)) / 2),
        ],
    )
    def test_values(self, config: dict[str, Any], expected: float) -> None:
        loss = make(2, (3, 1), **config)
        assert float(loss(self.logits, self.targets)) == pytest.approx(expected, rel=1e-6)

    def test_smoothing_spreads_over_all_classes(self) -> None:
        targets = torch.tensor([[[0, 255, 255]]], dtype=torch.uint8)
        loss = make(2, label_smoothing=0.2)
        assert float(loss(self.logits, targets)) == pytest.approx(0.9 * self.first + 0.1 * self.second)

    @pytest.mark.parametrize("config", [{"dice": 1}, {"lovasz": 1}])
    def test_a_region_term_is_that_of_the_classes_present(self, config: dict[str, Any]) -> None:
        targets = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)
        expected = {"dice": 2 * (1 - 2 * 1 / 2 / (1 / 2 + 2)), "lovasz": 2 * 3 / 4}
        loss = only(classes=2, **config)
        assert float(loss(self.logits, targets)) == pytest.approx(expected[next(iter(config))])

    def test_perfect_logits_cost_nothing(self) -> None:
        _, targets = example()
        logits = 50 * functional.one_hot(targets.long() % 255, 5).movedim(3, 1).float()
        loss = make(**{**EVERYTHING, "label_smoothing": 0})
        assert float(loss(logits, targets)) == pytest.approx(0, abs=1e-4)


class TestAgainstSegmentationModels:
    """Image by image, divided by the labelled pixels."""

    @pytest.fixture
    def smp(self) -> Any:
        return pytest.importorskip("segmentation_models_pytorch").losses

    def compare(self, ours: Loss, theirs: Callable[[Tensor, Tensor], Tensor]) -> None:
        logits, targets = example()
        for image in range(3):
            part = slice(image, image + 1)
            found = ours(logits[part], targets[part]) / (targets[part] != 255).sum()
            torch.testing.assert_close(found, theirs(logits[part], targets[part].long()))

    def test_lovasz(self, smp: Any) -> None:
        self.compare(only(lovasz=1), smp.LovaszLoss("multiclass", per_image=True, ignore_index=255))

    def test_dice(self, smp: Any) -> None:
        """Theirs sums over the present classes, too, but divides by all."""
        dice = smp.DiceLoss("multiclass", ignore_index=255)

        def present(logits: Tensor, targets: Tensor) -> Tensor:
            return dice(logits, targets) * 5 / targets[targets != 255].unique().numel()

        self.compare(only(dice=1), present)

    def test_focal(self, smp: Any) -> None:
        """Theirs has a sigmoid, which for two classes is the softmax of logits 0 and x."""
        focal = smp.FocalLoss("binary", gamma=2.0, ignore_index=255)
        logits, targets = example(classes=2)
        both = torch.cat([torch.zeros_like(logits[:, :1]), logits[:, :1]], 1)
        found = only(classes=2, focal=1)(both, targets) / (targets != 255).sum()
        torch.testing.assert_close(found, focal(logits[:, :1], targets))

    def test_smoothed_cross_entropy(self, smp: Any) -> None:
        """Theirs is the mean over all pixels, void ones included."""
        logits, targets = example()
        smooth = smp.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=255)
        found = make(label_smoothing=0.1)(logits, targets) / targets.numel()
        torch.testing.assert_close(found, smooth(logits, targets.long()))

    def test_torchs_class_weights_and_smoothing(self) -> None:
        logits, targets = example()
        given, weights = [1.0, 2.0, 0.5, 4.0, 0.0], torch.tensor(scaled_class_weights([1, 2, 0.5, 4, 0], range(5)))
        expected = functional.cross_entropy(logits, targets.long(), weights, ignore_index=255, reduction="sum")
        torch.testing.assert_close(make(class_pixels=tuple(range(5)), class_weights=given)(logits, targets), expected)
        expected = functional.cross_entropy(
            logits, targets.long(), ignore_index=255, reduction="sum", label_smoothing=0.2
        )
        torch.testing.assert_close(make(label_smoothing=0.2)(logits, targets), expected)


def test_the_default_is_plain_cross_entropy() -> None:
    assert make() is loss_sum
    logits, targets = example()
    torch.testing.assert_close(make(cross_entropy=2)(logits, targets), 2 * loss_sum(logits, targets))


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_every_option_changes_loss_and_gradient(option: dict[str, Any]) -> None:
    found = []
    for loss in (make(), make(**option)):
        logits, targets = example()
        value = loss(logits.requires_grad_(), targets)
        value.backward()
        found.append((value, logits.grad))
    for plain, changed in zip(*found):
        assert not torch.allclose(plain, changed)


@pytest.mark.parametrize("config", [{name: 1} for name in TERMS] + [{"ohem": 0.3}, EVERYTHING], ids=str)
class TestAnyTerm:
    def loss(self, config: dict[str, Any], classes: int = 5) -> Loss:
        alone = {"cross_entropy": 0} if len(config) == 1 and "ohem" not in config else {}
        return make(classes, **{**alone, **config})

    def test_gradients(self, config: dict[str, Any]) -> None:
        logits, targets = example(side=(3, 6))
        loss = self.loss(config)
        assert torch.autograd.gradcheck(lambda x: loss(x, targets), (logits.double().requires_grad_(),))

    @settings(max_examples=20, deadline=None)
    @given(cuts=st.lists(st.integers(0, 6), max_size=3))
    def test_parts_of_a_batch_add_up(self, config: dict[str, Any], cuts: list[int]) -> None:
        logits, targets = example(images=6)
        edges = [0, *sorted(cuts), 6]
        loss = self.loss(config)
        parts = [loss(logits[a:b].double(), targets[a:b]) for a, b in itertools.pairwise(edges)]  # some are empty
        torch.testing.assert_close(sum(parts), loss(logits.double(), targets))

    def test_void_pixels_change_nothing(self, config: dict[str, Any]) -> None:
        logits, targets = example()
        void = (targets == 255)[:, None]
        loss = self.loss(config)
        other = torch.where(void, 7 * torch.randn_like(logits), logits).requires_grad_()
        value = loss(other, targets)
        value.backward()
        torch.testing.assert_close(value, loss(logits, targets))
        assert not (other.grad * void).any()
        assert other.grad.any()

    @pytest.mark.parametrize("shape", [(2, 1, 40, 30), (2, 255, 9, 7), (0, 5, 8, 8), (1, 5, 1, 1), (1, 5, 64, 40)])
    def test_all_void_is_zero_with_zero_gradients(self, config: dict[str, Any], shape: tuple[int, ...]) -> None:
        logits = (30 * torch.randn(shape)).requires_grad_()
        value = self.loss(config, shape[1])(logits, torch.full((shape[0], *shape[2:]), 255, dtype=torch.uint8))
        value.backward()
        assert value.dtype == torch.float32 and value.shape == () and value.item() == 0
        assert torch.equal(logits.grad, torch.zeros(shape))

    @pytest.mark.parametrize("classes", [1, 2, 255])
    def test_any_number_of_classes_and_sure_mistakes_stay_finite(self, config: dict[str, Any], classes: int) -> None:
        targets = torch.arange(2 * 20 * 20).view(2, 20, 20).remainder(classes).to(torch.uint8)
        for scale in (0.0, 300.0):  # all equal, which is a tie, and wrong without doubt
            logits = scale * functional.one_hot((targets.long() + 1) % classes, classes).movedim(3, 1).float()
            value = self.loss(config, classes)(logits.requires_grad_(), targets)
            value.backward()
            assert value.isfinite() and logits.grad.isfinite().all()
            assert float(value) == 0 if classes == 1 else float(value) > 0

    def test_half_precision_is_computed_in_full(self, config: dict[str, Any]) -> None:
        logits, targets = example()
        value = self.loss(config)(logits.bfloat16(), targets)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, self.loss(config)(logits.bfloat16().float(), targets))

    def test_layout_in_memory_does_not_matter(self, config: dict[str, Any]) -> None:
        logits, targets = example()
        loss = self.loss(config)
        torch.testing.assert_close(
            loss(logits.contiguous(memory_format=torch.channels_last), targets), loss(logits, targets)
        )


def test_lovasz_is_the_same_on_devices_that_do_not_skip_absent_classes() -> None:
    logits, targets = example()
    p, labels = logits.softmax(1).movedim(1, -1).flatten(1, 2), targets.flatten(1).long()
    for one, other in zip(_lovasz_slopes(p, labels, True), _lovasz_slopes(p, labels, False)):
        torch.testing.assert_close(one, other)


def test_pixels_near_a_boundary_are_those_found_by_looking_around() -> None:
    targets = torch.zeros(2, 30, 41, dtype=torch.uint8)
    targets[0, 11:15, 20:24] = 3
    targets[0, 9:11, :] = 255  # a border of void between classes
    targets[1, :, 25:] = 255  # void alone makes no boundary
    found = near_boundary(targets)
    for image, row, column in [(0, 3, 20), (0, 2, 20), (0, 12, 12), (0, 12, 11), (0, 10, 20), (1, 12, 24), (0, 12, 21)]:
        rows, columns = (slice(max(0, at - BOUNDARY_PIXELS), at + BOUNDARY_PIXELS + 1) for at in (row, column))
        seen = set(targets[image, rows, columns].flatten().tolist()) - {255}
        own = int(targets[image, row, column])
        assert bool(found[image, row, column]) == (own != 255 and len(seen) > 1), (image, row, column)
    assert found[0, 3, 20] and not found[0, 2, 20] and not found[1].any()


class TestClassWeights:
    def test_balanced_by_hand(self) -> None:
        raw = [1 / math.log(1.92), 1 / math.log(1.12), 1 / math.log(1.02)]
        mean = 0.9 * raw[0] + 0.1 * raw[1]
        expected = [weight / mean for weight in raw]
        assert scaled_class_weights("balanced", [90, 10, 0]) == pytest.approx(expected)

    def test_a_list_is_scaled_to_mean_one(self) -> None:
        assert scaled_class_weights((1, 3), [30, 10]) == pytest.approx([2 / 3, 2])

    @pytest.mark.parametrize("pixels", [[0, 5], [0, 0]])
    def test_no_weight_for_any_pixel_is_refused(self, pixels: list[int]) -> None:
        with pytest.raises(VocSegError, match="is 0 for every class that has pixels in train"):
            scaled_class_weights((1, 0), pixels)

    def test_pixels_come_from_the_index_or_else_from_the_masks(self, train_store: SampleStore, tmp_path: Path) -> None:
        counted = count_class_pixels(train_store, CLASS_NAMES)
        assert counted == [sum(int((sample.mask == index).sum()) for sample in train_store) for index in range(21)]
        index = pd.DataFrame({name: [position] * 5 for position, name in enumerate(CLASS_NAMES)})
        index["rejected"] = ["", "", "broken", "", ""]
        index["image_id"] = [*train_store.ids[:2], "z", *train_store.ids[2:]]
        for table, expected in (
            (index, [4 * position for position in range(21)]),
            (index.head(3), counted),  # of other samples
            (index.drop(columns="dog"), counted),
            (pd.DataFrame(), counted),
        ):
            store = SampleStore(train_store.path, lambda table=table: table)
            assert count_class_pixels(store, CLASS_NAMES) == expected

    def test_a_resumed_run_keeps_its_weights(self, train_store: SampleStore) -> None:
        config, before = LossConfig(class_weights="balanced"), list(range(21))
        counted = count_class_pixels(train_store, CLASS_NAMES)
        for checkpoint, expected in (
            (None, counted), ({"class_pixels": before}, before), ({}, counted), ({"class_pixels": [1]}, counted),
        ):  # fmt: skip
            assert class_pixels_of_run(train_store, CLASS_NAMES, config, checkpoint) == expected
        assert class_pixels_of_run(train_store, CLASS_NAMES, LossConfig(dice=1), {"class_pixels": before}) == []


@pytest.mark.usefixtures("narrow_encoder")
def test_a_run_with_every_term_resumes_exactly(
    train_store: SampleStore,
    val_store: SampleStore,
    make_parameters: Callable[..., Parameters],
    kept: Callable,
    assert_same_state: Callable,
) -> None:
    parameters = make_parameters(training={"epochs": 2, "loss": EVERYTHING})
    first, *_, last = kept(fit(train_store, val_store, CLASS_NAMES, parameters))
    assert sum(first.checkpoint["class_pixels"]) > 0
    *_, resumed = kept(fit(train_store, val_store, CLASS_NAMES, parameters, first.checkpoint))
    assert_same_state(resumed.checkpoint, last.checkpoint)
    plain = make_parameters(training={"epochs": 2})
    with pytest.raises(VocSegError, match=r"training\.loss\.dice: 0\.5 in the checkpoint, 0\.0 now"):
        list(fit(train_store, val_store, CLASS_NAMES, plain, first.checkpoint))


def test_settings_are_those_of_the_example() -> None:
    assert set(EVERYTHING) | {"cross_entropy"} == set(LossConfig.model_fields), "a new setting needs a test"
