"""``training.frozen_stages: all``: training on stored features equals training with the encoder run live."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine import frozen
from voc_seg.engine.evaluation import Score
from voc_seg.engine.freezing import freeze_stages, train_mode
from voc_seg.engine.optimisation import build_optimizer, learning_rate, set_learning_rate
from voc_seg.engine.prediction import network_input
from voc_seg.engine.run import EpochReport, start_run
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import fit, train_step, validate
from voc_seg.models.registry import restore_model
from voc_seg.samples.batches import Batch, epoch_order
from voc_seg.samples.feature_batches import FeatureWindows, window_of_mask
from voc_seg.samples.feature_cache import FeatureCache
from voc_seg.samples.feature_store import Window
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder")

CLASSES = ("background", "thing", "other")
Make = Callable[..., Parameters]
Pack = Callable[..., SampleStore]


def blocks(**more: Any) -> dict[str, Any]:
    """A head on stored features; no dropout, so that a live run draws nothing else."""
    training = {"frozen_stages": "all", "epochs": 2, "batch_size": 2} | more.pop("training", {})
    settings = {
        "model": {"dropout": 0.0},
        "augmentation": {"crop_size": 128, "flip": 0.0, "scale": [1, 1]},
        "data": {"classes": list(CLASSES)},
    }
    return {**settings, "training": training, **more}


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Packs images with a coloured rectangle each; every name has a folder of its own."""

    def packed(name: str, sizes: list[tuple[int, int]], channels: int = 3, seed: int = 0) -> SampleStore:
        rng, samples = np.random.default_rng(seed), []
        for number, (height, width) in enumerate(sizes):
            image = rng.integers(0, 99, (height, width, channels), dtype=np.uint8)
            mask = np.zeros((height, width), np.uint8)
            image[height // 4 : height // 2, width // 3 :] += 100
            mask[height // 4 : height // 2, width // 3 :] = 1 + number % 2
            mask[: height // 8] = 255
            samples.append(Sample(f"{name} {number}", image, mask))
        statistics = {} if channels == 3 else {"mean": (0.3,) * channels, "std": (0.2,) * channels}
        path = tmp_path / name / "samples.arrow"
        write_store(path, samples, Origin("own", "", CLASSES, channels=channels, **statistics))
        return SampleStore(path)

    return packed


def trained(train: SampleStore, val: SampleStore, parameters: Parameters) -> list[EpochReport]:
    return list(fit(train, val, CLASSES, parameters))


@pytest.mark.parametrize(("precision", "near"), [("fp32", 2e-3), ("bf16", 1e-6)])
@pytest.mark.parametrize("channels", [3, 4])
def test_the_losses_are_those_of_a_live_encoder(
    pack: Pack, make_parameters: Make, precision: str, near: float, channels: int
) -> None:
    """In fp32 the stored maps are rounded to fp16; in bf16 the encoder computes what is stored."""
    train, val = pack("train", [(70, 90)] * 5, channels), pack("val", [(50, 61)], channels)
    parameters = make_parameters(**blocks(runtime={"device": "cpu", "precision": precision}))
    parameters = parameters.model_copy(update={"data": parameters.data.model_copy(update={"channels": channels})})
    history = trained(train, val, parameters)[-1].history

    run = start_run(train, val, CLASSES, parameters, None, "")
    model, model_input = run.model, run.model.model_input
    optimizer, losses = build_optimizer(model, parameters.training.optimizer), []
    whole = Window(0, 0, 70, 90)
    for epoch in range(2):
        train_mode(model, parameters.training)
        order, loss = epoch_order(5, 0, epoch).tolist(), 0.0
        for step in range(3):
            samples = [train[index] for index in order[2 * step : 2 * step + 2]]
            images = network_input(np.stack([sample.image for sample in samples]), (70, 90))
            masks = np.stack([window_of_mask(sample.mask, (70, 90), False, whole) for sample in samples])
            batch = Batch(images, torch.from_numpy(masks), tuple(sample.id for sample in samples))
            config = parameters.training
            rate = learning_rate(3 * epoch + step, 6, config.optimizer.learning_rate, config.schedule, 3)
            set_learning_rate(optimizer, rate)
            loss += float(train_step(model, optimizer, [batch], run.runtime, model_input=model_input))
        losses.append(loss / 3)
    assert losses[0] != pytest.approx(losses[1], rel=10 * near)
    assert [row["train_loss"] for row in history] == pytest.approx(losses, rel=near)
    score = validate(model, val, parameters, run.runtime)
    assert history[-1]["val_loss"] == pytest.approx(score.loss, rel=10 * near)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_validation_is_that_of_the_whole_network(pack: Pack, make_parameters: Make, precision: str) -> None:
    """Odd sizes, mirrored as well, and one that evaluation tiles; only stored maps and batches are rounded."""
    train, val = pack("train", [(70, 90), (33, 120)]), pack("val", [(50, 61), (97, 64), (64, 256), (31, 20)])
    given = blocks(
        evaluation={"scale": 0.9, "flip": True, "tile": 128}, runtime={"device": "cpu", "precision": precision}
    )
    parameters = make_parameters(**given)
    reports = trained(train, val, parameters)
    best = next(report.best_model for report in reversed(reports) if report.best_model)
    row = next(row for row in reversed(reports[-1].history) if row["is_best"])
    live: Score = validate(restore_model(best), val, parameters, choose_runtime(parameters.runtime))
    assert live.loss == pytest.approx(row["val_loss"], rel=1e-3 if precision == "fp32" else 1e-2)


def test_only_the_decoder_changes_and_the_best_model_is_whole(pack: Pack, make_parameters: Make) -> None:
    train, val = pack("train", [(70, 90)] * 3), pack("val", [(50, 61)])
    parameters = make_parameters(**blocks(training={"ema_decay": 0.5}))
    before = start_run(train, val, CLASSES, parameters, None, "").model.state_dict()
    last = trained(train, val, parameters)[-1].checkpoint
    averaged = {key.removeprefix("module."): value for key, value in last["ema"].items()}
    assert last["model"].keys() == before.keys()
    for key, value in before.items():
        if key.startswith("encoder"):
            assert torch.equal(last["model"][key], value) and torch.equal(averaged[key], value), key
    assert any(not torch.equal(last["model"][key], value) for key, value in before.items())
    assert any(not torch.equal(last["model"][key], averaged[key]) for key in before)


class TestReuse:
    @pytest.fixture
    def computed(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The number of images that went through the encoder with each call."""
        counts: list[int] = []
        encode = frozen.encode

        def counted(*given: Any) -> list[torch.Tensor]:
            counts.append(1 + given[2])
            return encode(*given)

        monkeypatch.setattr(frozen, "encode", counted)
        return counts

    def test_experiments_with_the_decoder_begin_at_once(
        self, pack: Pack, make_parameters: Make, computed: list[int], caplog: pytest.LogCaptureFixture
    ) -> None:
        train, val = pack("train", [(70, 90)] * 3), pack("val", [(50, 61)])
        trained(train, val, make_parameters(**blocks(seed=0)))
        assert computed == [1] * 4
        other = {"model": {"dropout": 0.5, "width": 16, "context": "none"}, "training": {"batch_size": 3, "epochs": 1}}
        caplog.set_level(logging.INFO)
        state = torch.get_rng_state()
        parameters = make_parameters(**blocks(**other))
        trained(train, val, parameters)
        # The encoder is random here, and the network's other weights are drawn after its own.
        assert computed == [1] * 4
        assert "Features of train-resnet18: 3 images" in caplog.text and "computed before" in caplog.text
        torch.set_rng_state(state)

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 1},  # other random weights
            {"evaluation": {"scale": 0.8}},
            {"model": {"output_stride": 16, "dropout": 0.0}},
            {"model": {"skips": [4], "dropout": 0.0}},
            {"augmentation": {"crop_size": 128, "flip": 0.5, "scale": [1, 1]}},
            {"augmentation": {"crop_size": 128, "flip": 0.0, "scale": [1, 1], "image_size": [64, 64]}},
            {"runtime": {"device": "cpu", "precision": "bf16"}},
            {"data": {"classes": list(CLASSES), "mean": [0.5] * 3, "std": [0.5] * 3}},
        ],
        ids=lambda change: "-".join(change),
    )
    def test_what_features_depend_on_makes_others(
        self, pack: Pack, make_parameters: Make, computed: list[int], change: dict[str, Any]
    ) -> None:
        train, val = pack("train", [(40, 50)] * 2), pack("val", [(50, 61)])
        training = {"epochs": 1}
        trained(train, val, make_parameters(**blocks(training=training)))
        trained(train, val, make_parameters(**blocks(training=training, **change)))
        assert len(computed) == 6 or (len(computed) == 5 and "augmentation" in change), computed

    def test_other_images_make_other_features(self, pack: Pack, make_parameters: Make, computed: list[int]) -> None:
        val, parameters = pack("val", [(50, 61)]), make_parameters(**blocks(training={"epochs": 1}))
        trained(pack("train", [(40, 50)] * 2), val, parameters)
        trained(pack("train", [(40, 50)] * 2, seed=1), val, parameters)
        assert len(computed) == 5


class TestWindows:
    def test_they_depend_on_seed_epoch_and_index_only(self, pack: Pack, make_parameters: Make, tmp_path: Path) -> None:
        train, val = pack("train", [(170, 90), (60, 200)]), pack("val", [(50, 61)])
        parameters = make_parameters(**blocks(augmentation={"crop_size": 70, "flip": 0.5}))
        run = start_run(train, val, CLASSES, parameters, None, "")
        found = frozen.cache_features(run.model, train, val, parameters, run.runtime, FeatureCache(tmp_path / "f"))
        assert found is not None
        windows = found.train
        assert windows.window == (96, 96)  # 70 rounded up to the encoder's multiple
        seen = {windows[epoch, 0][0][-1].numpy().tobytes() for epoch in range(100)}
        assert len(seen) == 8  # four positions of either view
        again = FeatureWindows(train, windows.features, 70, 0.5, parameters.seed)
        for key in ((0, 0), (3, 1)):
            for one, other in zip((*windows[key][0], windows[key][1]), (*again[key][0], again[key][1])):
                assert torch.equal(one, other)

    def test_they_are_no_larger_than_the_largest_image(self, pack: Pack, make_parameters: Make, tmp_path: Path) -> None:
        train, val = pack("train", [(70, 90), (33, 120)]), pack("val", [(50, 61)])
        parameters = make_parameters(**blocks(augmentation={"crop_size": 4096}))
        run = start_run(train, val, CLASSES, parameters, None, "")
        found = frozen.cache_features(run.model, train, val, parameters, run.runtime, FeatureCache(tmp_path / "f"))
        assert found is not None and found.train.window == (96, 128)


@pytest.mark.parametrize("decoder", ["transposed", "aspp", "linear"])
def test_images_smaller_than_the_coarsest_stride_can_be_learnt(pack: Pack, make_parameters: Make, decoder: str) -> None:
    """Batch norm needs more than one value a channel, also in a batch of one image."""
    given = blocks(model={"decoder": decoder, "dropout": 0.0}, training={"epochs": 1})
    history = trained(pack("train", [(20, 30)]), pack("val", [(50, 61)]), make_parameters(**given))[-1].history
    assert np.isfinite(history[-1]["train_loss"])


def test_settings_without_effect_are_named(pack: Pack, make_parameters: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    augmentation = {"crop_size": 64, "scale": [0.5, 1.2], "colour_jitter": 0.2}
    given = blocks(augmentation=augmentation, training={"epochs": 1, "optimizer": {"encoder_factor": 0.1}})
    trained(pack("train", [(40, 50)]), pack("val", [(50, 61)]), make_parameters(**given))
    augmented = "augmentation.scale=[0.5, 1.2], augmentation.colour_jitter=0.2"
    assert f"no effect: {augmented}, training.optimizer.encoder_factor=0.1" in caplog.text
    assert "the frozen encoder has random weights. Set model.weights=pretrained" in caplog.text


def test_resuming_at_another_scale_is_refused(pack: Pack, make_parameters: Make) -> None:
    train, val = pack("train", [(40, 50)] * 2), pack("val", [(50, 61)])
    last = trained(train, val, make_parameters(**blocks()))[-1].checkpoint
    other = make_parameters(**blocks(evaluation={"scale": 0.5}, training={"epochs": 3}))
    with pytest.raises(VocSegError, match=r"evaluation\.scale is 0\.5, and 1 in the checkpoint"):
        next(fit(train, val, CLASSES, other, last))


def test_every_parameter_of_the_encoder_is_frozen(pack: Pack, make_parameters: Make) -> None:
    parameters = make_parameters(**blocks())
    model = start_run(pack("train", [(40, 50)]), pack("val", [(50, 61)]), CLASSES, parameters, None, "").model
    freeze_stages(model, "all")
    train_mode(model, parameters.training)
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())
    assert not any(module.training for module in model.encoder.modules()) and model.decoder.training
