"""The training loop: what it reports, that it can be repeated and resumed to the bit, and when it stops."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from voc_seg.config import OptimizerConfig, Parameters
from voc_seg.engine import training, validation
from voc_seg.engine.checkpoint import RunState
from voc_seg.engine.evaluation import Score
from voc_seg.engine.freezing import freeze_stages, train_mode
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.resuming import stops_early
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.training import fit, train_step
from voc_seg.models.registry import build_model, restore_model
from voc_seg.samples.batches import Batch
from voc_seg.samples.store import SampleStore
from voc_seg.system import progress
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

CPU = Runtime(torch.device("cpu"), torch.float32)
COLUMNS = [
    "epoch", "step", "train_loss", "val_loss", "val_miou", "val_pixel_accuracy", "learning_rate",
    "images_per_second", "data_seconds", "epoch_seconds", "is_best", "val_scale",
    "gpu_peak_bytes", "gpu_reserved_bytes", "val_monitored",
]  # fmt: skip

Make = Callable[..., Parameters]

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def straight(
    train_store: SampleStore, val_store: SampleStore, parameters: Parameters, kept: Callable
) -> list[EpochReport]:
    """The tiny run: four scenes in batches of two, three epochs, dropout on; a report for each."""
    assert parameters.model.dropout > 0
    first, *epochs = kept(fit(train_store, val_store, CLASS_NAMES, parameters))
    assert (first.checkpoint["position"], first.best_model, first.history) == (4, {}, [])
    return epochs


def test_cudnn_measures_kernels_for_crops_but_not_for_images(
    train_store: SampleStore, val_store: SampleStore, make_parameters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops have one shape, validation images many."""
    found: dict[str, set[bool]] = {"train_step": set(), "score": set()}

    def watch(module: ModuleType, name: str) -> None:
        original = getattr(module, name)

        def watched(*given: Any) -> Any:
            found[name].add(torch.backends.cudnn.benchmark)
            return original(*given)

        monkeypatch.setattr(module, name, watched)

    watch(training, "train_step")
    watch(validation, "score")
    before = torch.backends.cudnn.benchmark
    list(fit(train_store, val_store, CLASS_NAMES, make_parameters(training={"epochs": 2})))
    assert found == {"train_step": {True}, "score": {False}}
    assert torch.backends.cudnn.benchmark is before


class TestReports:
    def test_history_has_one_row_an_epoch_with_the_promised_columns(self, straight: list[EpochReport]) -> None:
        assert [len(report.history) for report in straight] == [1, 2, 3]
        for row in straight[-1].history:
            assert list(row) == COLUMNS
        assert [row["epoch"] for row in straight[-1].history] == [1, 2, 3]
        assert [row["step"] for row in straight[-1].history] == [2, 4, 6]

    def test_numbers_are_plausible(self, straight: list[EpochReport]) -> None:
        for row in straight[-1].history:
            assert 0 < row["train_loss"] < 10
            assert 0 <= row["val_miou"] <= row["val_pixel_accuracy"] <= 1
            assert row["images_per_second"] > 0
            assert 0 <= row["data_seconds"] <= row["epoch_seconds"]

    def test_learning_rate_is_that_of_the_epochs_last_step(self, straight: list[EpochReport]) -> None:
        expected = [0.01 * (1 - step / 6) ** 0.9 for step in (1, 3, 5)]
        assert [row["learning_rate"] for row in straight[-1].history] == pytest.approx(expected)

    def test_best_marks_follow_the_score(self, straight: list[EpochReport]) -> None:
        best = -1.0
        for report in straight:
            row = report.history[-1]
            assert row["is_best"] is (row["val_miou"] > best)
            assert bool(report.best_model) is row["is_best"]
            best = max(best, row["val_miou"])
        assert straight[-1].checkpoint["best_miou"] == best

    def test_the_best_model_is_that_of_its_epoch(
        self, straight: list[EpochReport], val_store: SampleStore, parameters: Parameters
    ) -> None:
        report = next(report for report in reversed(straight) if report.best_model)
        assert report.best_model["epoch"] == report.history[-1]["epoch"]
        score = training.validate(restore_model(report.best_model), val_store, parameters, CPU)
        assert score.loss == report.history[-1]["val_loss"]
        assert training.mean_iou(score.confusion) == report.best_model["val_miou"]

    @pytest.mark.parametrize(
        ("settings", "warning"),
        [
            ({"freeze_batch_norm": True}, "training.freeze_batch_norm=true would keep values"),
            ({"frozen_stages": 2}, "training.frozen_stages=2 would keep values"),
            ({}, ""),
        ],
    )
    def test_what_is_frozen_before_it_was_trained_is_warned_of(
        self,
        settings: dict,
        warning: str,
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Make,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        next(iter(fit(train_store, val_store, CLASS_NAMES, make_parameters(training=settings))))
        assert (warning in caplog.text) if warning else ("random" not in caplog.text)

    def test_settings_of_what_is_not_chosen_are_warned_of(
        self, train_store: SampleStore, val_store: SampleStore, make_parameters: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        unused = {"optimizer": {"name": "adamw", "momentum": 0.5}, "schedule": {"name": "cosine", "power": 2}}
        next(iter(fit(train_store, val_store, CLASS_NAMES, make_parameters(training=unused))))
        assert "training.optimizer.momentum=0.5 has no effect, because training.optimizer.name is adamw." in caplog.text
        assert "training.schedule.power=2 has no effect, because training.schedule.name is cosine." in caplog.text

    def test_a_slow_validation_is_logged_where_there_is_no_bar(
        self,
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Make,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(progress, "FIRST_LOG_SECONDS", 0)
        with caplog.at_level("INFO"):
            list(fit(train_store, val_store, CLASS_NAMES, make_parameters(training={"epochs": 1})))
        assert "validating: 1 of 2 images" in caplog.messages


class TestRepeatability:
    def test_same_seed_same_run_whatever_the_global_random_state(
        self,
        straight: list[EpochReport],
        train_store: SampleStore,
        val_store: SampleStore,
        parameters: Parameters,
        kept: Callable,
        assert_same_state: Callable,
    ) -> None:
        torch.manual_seed(4711)
        np.random.seed(4711)  # noqa: NPY002
        *_, again = kept(fit(train_store, val_store, CLASS_NAMES, parameters))
        assert_same_state(again.checkpoint, straight[-1].checkpoint)

    def test_another_seed_another_run(
        self, straight: list[EpochReport], train_store: SampleStore, val_store: SampleStore, make_parameters: Make
    ) -> None:
        _, report, *_ = fit(train_store, val_store, CLASS_NAMES, make_parameters(seed=1))
        assert report.history[0]["train_loss"] != straight[0].history[0]["train_loss"]

    def test_resuming_with_other_settings_is_refused_by_name(
        self, straight: list[EpochReport], train_store: SampleStore, val_store: SampleStore, make_parameters: Make
    ) -> None:
        parameters = make_parameters(training={"batch_size": 4})
        with pytest.raises(VocSegError, match=r"training\.batch_size: 2 in the checkpoint, 4 now"):
            next(fit(train_store, val_store, CLASS_NAMES, parameters, straight[0].checkpoint))

    def test_resuming_a_finished_run_says_so_and_leaves_everything_as_it_is(
        self,
        straight: list[EpochReport],
        train_store: SampleStore,
        val_store: SampleStore,
        parameters: Parameters,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        (report,) = fit(train_store, val_store, CLASS_NAMES, parameters, straight[-1].checkpoint)
        assert (report.checkpoint, report.best_model) == ({}, {})
        assert report.history == straight[-1].history
        assert "has finished epoch 3, and training.epochs is 3. Raise it to continue" in caplog.text


def test_training_learns(train_store: SampleStore, val_store: SampleStore, make_parameters: Make) -> None:
    parameters = make_parameters(
        training={"epochs": 8, "validate_every": 8, "optimizer": {"learning_rate": 0.05}},
        model={"dropout": 0.0, "width": 16},
    )
    for report in fit(train_store, val_store, CLASS_NAMES, parameters):
        losses = [row["train_loss"] for row in report.history]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [("empty_store", "val_store", "train has 0, val 2"), ("train_store", "empty_store", "train has 4, val 0")],
)
def test_splits_without_images_are_refused(
    request: pytest.FixtureRequest, parameters: Parameters, train: str, val: str, message: str
) -> None:
    with pytest.raises(VocSegError, match=message):
        next(fit(request.getfixturevalue(train), request.getfixturevalue(val), CLASS_NAMES, parameters))


class TestSchedule:
    """Runs with steps and scores by script: when to validate, write and stop."""

    @pytest.fixture
    def run(
        self,
        monkeypatch: pytest.MonkeyPatch,
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Make,
    ) -> Callable[..., list[EpochReport]]:
        def play(mious: Iterable[float], go_on_from: dict | None = None, **options: Any) -> list[EpochReport]:
            script = iter(mious)
            groups: list[list[Batch]] = []
            self.groups = groups
            monkeypatch.setattr(training, "train_step", lambda m, o, group, *_: groups.append(group) or 0.5)
            monkeypatch.setattr(training, "validate", lambda *_: _score(next(script)))
            reports = fit(train_store, val_store, CLASS_NAMES, make_parameters(training=options), go_on_from)
            return [
                EpochReport(r.checkpoint and {**r.checkpoint}, r.best_model, copy.deepcopy(r.history))
                for r in reports
                if not r.checkpoint.get("position")
            ]

        return play

    def test_validation_every_so_many_epochs_and_at_the_end(self, run: Callable) -> None:
        history = run([0.1, 0.2, 0.3], epochs=5, validate_every=2)[-1].history
        assert [row["val_miou"] for row in history] == [None, 0.1, None, 0.2, 0.3]
        assert [row["val_loss"] is None for row in history] == [True, False, True, False, False]
        assert [row["val_pixel_accuracy"] is None for row in history] == [True, False, True, False, False]

    def test_only_a_strictly_better_score_is_best(self, run: Callable) -> None:
        reports = run([0.2, 0.1, 0.2, 0.3], epochs=4)
        assert [row["is_best"] for row in reports[-1].history] == [True, False, False, True]
        assert [report.best_model.get("epoch") for report in reports] == [1, None, None, 4]
        assert (reports[-1].checkpoint["best_epoch"], reports[-1].checkpoint["best_miou"]) == (4, 0.3)

    def test_a_first_score_of_zero_is_still_the_best_so_far(self, run: Callable) -> None:
        assert run([0.0], epochs=1)[0].best_model["epoch"] == 1

    def test_checkpoints_every_so_many_epochs_and_at_the_end(self, run: Callable) -> None:
        reports = run([0.1] * 5, epochs=5, checkpoint={"every_epochs": 2})
        assert [report.checkpoint.get("epoch") for report in reports] == [None, 2, None, 4, 5]

    def test_early_stopping_counts_validations_without_a_better_score(self, run: Callable) -> None:
        reports = run(
            [0.1, 0.3, 0.2, 0.3], epochs=20, validate_every=2, early_stopping=2, checkpoint={"every_epochs": 20}
        )
        assert len(reports) == 8  # best at epoch 4, then 6 and 8 are no better
        assert reports[-1].checkpoint["epoch"] == 8, "the last epoch has a checkpoint, however a run ends"

    def test_early_stopping_goes_on_counting_after_a_resume(self, run: Callable) -> None:
        first = run([0.3, 0.2, 0.2], epochs=3)[-1].checkpoint
        assert len(run([0.1, 0.1], go_on_from=first, epochs=20, early_stopping=3)) == 1

    @pytest.mark.parametrize(
        ("options", "sizes"),
        [
            ({"batch_size": 3}, [[3], [1]]),
            ({"batch_size": 1, "accumulation": 2}, [[1, 1], [1, 1]]),
            ({"batch_size": 1, "accumulation": 3}, [[1, 1, 1], [1]]),
            ({"batch_size": 9}, [[4]]),
        ],
    )
    def test_steps_take_every_sample_once(self, run: Callable, options: dict, sizes: list[list[int]]) -> None:
        reports = run([0.1, 0.1], epochs=2, **options)
        assert [[len(batch.ids) for batch in group] for group in self.groups] == sizes * 2
        assert reports[-1].history[-1]["step"] == 2 * len(sizes)
        for groups in (self.groups[: len(sizes)], self.groups[len(sizes) :]):
            ids = [name for group in groups for batch in group for name in batch.ids]
            assert len(ids) == len(set(ids)) == 4

    @pytest.mark.parametrize("loss", [math.nan, math.inf])
    def test_a_loss_that_is_not_finite_stops_with_step_and_images(
        self,
        monkeypatch: pytest.MonkeyPatch,
        train_store: SampleStore,
        val_store: SampleStore,
        parameters: Parameters,
        loss: float,
    ) -> None:
        losses, seen = iter([0.5, 0.5, 0.5, loss]), []
        monkeypatch.setattr(training, "train_step", lambda m, o, group, *_: seen.append(group) or next(losses))
        monkeypatch.setattr(training, "validate", lambda *_: _score(0.1))
        reports = fit(train_store, val_store, CLASS_NAMES, parameters)
        assert [next(reports).checkpoint["epoch"] for _ in range(2)] == [0, 1]
        with pytest.raises(VocSegError, match=f"The loss is {loss} at step 3") as caught:
            next(reports)
        assert ", ".join(seen[-1][0].ids) in str(caught.value)
        assert "training.optimizer.learning_rate" in str(caught.value)

    def test_exhausted_memory_becomes_advice(
        self, monkeypatch: pytest.MonkeyPatch, train_store: SampleStore, val_store: SampleStore, parameters: Parameters
    ) -> None:
        def exhaust(*_: object) -> float:
            raise torch.OutOfMemoryError

        monkeypatch.setattr(training, "train_step", exhaust)
        with pytest.raises(VocSegError, match=r"training\.batch_size=1,training\.accumulation=2"):
            next(fit(train_store, val_store, CLASS_NAMES, parameters))


def _score(miou: float) -> Score:
    """A score of this mIoU: class 0 with an IoU of twice as much, class 1 predicted but never true."""
    hits = round(2000 * miou)
    score = Score(np.array([[hits, 1000 - hits], [0, 0]]), 1.0)
    assert training.mean_iou(score.confusion) == miou
    return score


def test_early_stopping_off_never_stops() -> None:
    rows = [{"epoch": epoch, "val_miou": 0.1} for epoch in range(1, 50)]
    assert not stops_early(RunState(epoch=49, best_epoch=1, best_miou=0.1, history=rows), None, 1.0)


class TestFirstValidation:
    """Its images may be far larger than crops: what was trained is saved before it."""

    @pytest.fixture
    def exhausted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def exhaust(*_: object) -> Score:
            raise MemoryError

        monkeypatch.setattr(training, "validate", exhaust)

    def test_a_run_that_dies_in_it_can_be_resumed(
        self,
        exhausted: None,
        monkeypatch: pytest.MonkeyPatch,
        straight: list[EpochReport],
        train_store: SampleStore,
        val_store: SampleStore,
        parameters: Parameters,
        kept: Callable,
        assert_same_state: Callable,
    ) -> None:
        reports = kept(fit(train_store, val_store, CLASS_NAMES, parameters))
        checkpoint = next(reports).checkpoint
        advice = r"validation, .* evaluation\.scale=1\. .* training\.resume=true,evaluation\.scale=0\.5"
        with pytest.raises(VocSegError, match=advice):
            next(reports)
        monkeypatch.undo()
        *_, last = kept(fit(train_store, val_store, CLASS_NAMES, parameters, checkpoint))
        assert_same_state(last.checkpoint, straight[-1].checkpoint)

    @pytest.mark.parametrize("options", [{"validate_every": 2}, {"checkpoint": {"every_minutes": 1e-9}}])
    def test_nothing_is_written_twice(
        self, train_store: SampleStore, val_store: SampleStore, make_parameters: Make, kept: Callable, options: dict
    ) -> None:
        parameters = make_parameters(training={"epochs": 2, **options})
        steps = [r.checkpoint["step"] for r in kept(fit(train_store, val_store, CLASS_NAMES, parameters))]
        assert steps == ([2, 4] if "validate_every" in options else [1, 2, 2, 3, 4, 4])


class TestAnotherScale:
    """``evaluation.scale`` may change on resuming; scores of two scales are never compared."""

    @pytest.fixture
    def scored(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        def script(*mious: float) -> None:
            rest = iter(mious)
            monkeypatch.setattr(training, "validate", lambda *_: _score(next(rest)))

        monkeypatch.setattr(training, "train_step", lambda *_: 0.5)
        return script

    def test_the_best_epoch_is_chosen_afresh_and_the_history_says_why(
        self,
        scored: Callable[..., None],
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Make,
        kept: Callable,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        patient = {"epochs": 9, "early_stopping": 2}
        parts = (train_store, val_store, CLASS_NAMES)
        scored(0.3, 0.2)
        reports = kept(fit(*parts, make_parameters(training=patient)))
        checkpoint = [next(reports) for _ in range(3)][-1].checkpoint
        for row in checkpoint["history"]:
            del row["val_scale"]  # as earlier versions wrote it
        smaller = make_parameters(training=patient, evaluation={"scale": 0.5})
        scored(0.1, 0.05, 0.05)
        resumed = list(kept(fit(*parts, smaller, checkpoint)))
        assert "were at evaluation.scale=1, from here on it is 0.5" in caplog.text
        assert "The best model, of epoch 1, is replaced" in caplog.text
        history = resumed[-1].history
        assert [row["val_scale"] for row in history] == [1.0, 1.0, 0.5, 0.5, 0.5]
        assert [row["is_best"] for row in history] == [True, False, True, False, False]
        assert resumed[0].best_model["val_miou"] == 0.1
        assert resumed[0].best_model["config"]["evaluation"]["scale"] == 0.5
        assert len(resumed) == 3, "stopped early by the two that came after the best at this scale"


class TestStep:
    """One optimiser step, batch statistics and dropout off so that only the arithmetic of the loss is seen."""

    @pytest.fixture
    def batch(self) -> Batch:
        """Four crops: no void, a quarter, almost all, all."""
        generator = torch.Generator().manual_seed(0)
        targets = torch.randint(0, 21, (4, 64, 64), generator=generator, dtype=torch.uint8)
        targets[1, :16] = 255
        targets[2, 1:] = 255
        targets[3] = 255
        images = torch.randint(0, 256, (4, 3, 64, 64), generator=generator, dtype=torch.uint8)
        return Batch(images, targets, ("a", "b", "c", "d"))

    def _step(self, parameters: Parameters, group: list[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        model = build_model(parameters.model, 21).eval()
        loss = float(train_step(model, build_optimizer(model, OptimizerConfig()), group, CPU))
        return loss, {name: parameter.grad for name, parameter in model.named_parameters()}

    @pytest.mark.parametrize("cuts", [(0, 1, 4), (0, 2, 4), (0, 1, 2, 3, 4)])
    def test_accumulation_gives_the_gradient_of_one_large_batch(
        self, parameters: Parameters, batch: Batch, cuts: tuple[int, ...]
    ) -> None:
        parts = [Batch(batch.images[a:b], batch.targets[a:b], batch.ids[a:b]) for a, b in itertools.pairwise(cuts)]
        whole_loss, whole = self._step(parameters, [batch])
        loss, gradients = self._step(parameters, parts)
        assert loss == pytest.approx(whole_loss, rel=1e-5)
        for name, gradient in gradients.items():
            scale = float(whole[name].abs().max())
            torch.testing.assert_close(gradient, whole[name], rtol=1e-3, atol=1e-4 * scale + 1e-9, msg=name)

    def test_a_batch_of_void_changes_nothing(self, parameters: Parameters, batch: Batch) -> None:
        void = Batch(batch.images[3:], batch.targets[3:], batch.ids[3:])
        loss, gradients = self._step(parameters, [void])
        assert loss == 0
        assert not any(gradient.any() for gradient in gradients.values())

    def test_gradients_of_the_step_before_are_forgotten(self, parameters: Parameters, batch: Batch) -> None:
        torch.manual_seed(0)
        model = build_model(parameters.model, 21).eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        train_step(model, optimizer, [batch], CPU)
        first = model.encoder.conv1.weight.grad.clone()
        train_step(model, optimizer, [batch], CPU)
        assert torch.equal(model.encoder.conv1.weight.grad, first)

    def test_frozen_stages_keep_weights_and_statistics(self, parameters: Parameters, batch: Batch) -> None:
        config = parameters.training.model_copy(update={"frozen_stages": 2})
        model = build_model(parameters.model, 21)
        freeze_stages(model, config.frozen_stages)
        optimizer = build_optimizer(model, config.optimizer)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        train_mode(model, config)
        train_step(model, optimizer, [batch], CPU)
        frozen = ("encoder.conv1", "encoder.bn1", "encoder.layer1")
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]) is name.startswith(frozen), name


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_keeps_the_encoders_statistics_only(parameters: Parameters, frozen: bool) -> None:
    model = build_model(parameters.model, 21)
    train_mode(model.eval(), parameters.training.model_copy(update={"freeze_batch_norm": frozen}))
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64))
    for name, norm in norms.items():
        kept = frozen and name.startswith("encoder.")
        assert torch.equal(norm.running_mean, before[name]) is kept, name
    assert model.decoder.dropout.training
