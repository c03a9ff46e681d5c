"""Every family of encoders passes the same checks; those on a simulated GPU are in tests/simulated_gpu."""

import copy
import functools
import importlib.util
import itertools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig, Parameters, TrainingConfig
from voc_seg.config.model_input import ModelInput
from voc_seg.engine import data_parallel
from voc_seg.engine.freezing import freeze_stages, train_mode
from voc_seg.engine.training import fit
from voc_seg.models.onnx_export import missing_packages, to_onnx
from voc_seg.models.registry import restore_model
from voc_seg.models.saved import FORMAT_VERSION
from voc_seg.models.segmentation_net import SegmentationNet, bare_model
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

timm = pytest.importorskip("timm")

pytestmark = pytest.mark.usefixtures("narrow_encoder", "small_transformers")

_spec = importlib.util.spec_from_file_location("families", Path(__file__).parents[1] / "families.py")
families = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = families  # timm looks up where a network comes from
_spec.loader.exec_module(families)

CLASSES = 5
QUICKEST = ("timm:tf_mobilenetv3_small_minimal_100",)
MARKS = {name: [pytest.mark.long] for name in families.FAMILIES if name not in QUICKEST}  # an export takes ten seconds
MARKS["timm:small_dinov3"].append(
    pytest.mark.xfail(reason="timm computes rotary positions from numbers, which fixes the size of an export")
)
IN_TURN = [pytest.param(name, marks=MARKS.get(name, ())) for name in families.FAMILIES]


@pytest.fixture(scope="module")
def small_transformers() -> None:
    families.register_small_transformers()


def _build(encoder: str, **options: Any) -> SegmentationNet:
    torch.manual_seed(0)
    channels = options.pop("channels", 3)
    config = ModelConfig.model_validate({"encoder": encoder, "width": 8, **options})
    return bare_model(config, CLASSES, ModelInput((0.5,) * channels, (0.25,) * channels))


@functools.lru_cache
def _built(encoder: str) -> SegmentationNet:
    return _build(encoder)


@pytest.fixture
def network(request: pytest.FixtureRequest) -> SegmentationNet:
    """A network of its own for each test; building one takes longer than a copy."""
    return copy.deepcopy(_built(request.param))


def _images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _step(network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """A training step on a batch whose left half is class 1."""
    targets = torch.zeros(2, 64, 96, dtype=torch.long)
    targets[..., :48] = 1
    images = _images(2, 3, 64, 96)
    images[..., :48] += 1
    loss = functional.cross_entropy(network(images), targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("network", families.FAMILIES, indirect=True)
class TestEveryFamily:
    def test_maps_are_what_the_encoder_announces(self, network: SegmentationNet) -> None:
        encoder, images = network.encoder.eval(), _images(1, 3, 96, 160)
        with torch.inference_mode():
            maps = encoder(images)
        assert [tuple(one.shape) for one in maps] == [
            (1, channels, 96 // stride, 160 // stride) for channels, stride in zip(encoder.channels, encoder.strides)
        ]
        assert encoder.strides == tuple(2**stage for stage in range(encoder.first_stage, 6))

    def test_any_size_goes_in_and_comes_out(self, network: SegmentationNet) -> None:
        for size in ((1, 1), (33, 95), (130, 7)):
            with torch.inference_mode():
                logits = network.eval()(_images(2, 3, *size))
            assert logits.shape == (2, CLASSES, *size)
            assert logits.isfinite().all()

    def test_training_lowers_the_loss_and_reaches_every_weight(self, network: SegmentationNet) -> None:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
        losses = [_step(network.train(), optimizer) for _ in range(5)]
        assert losses[-1] < losses[0]
        assert [name for name, weight in network.named_parameters() if weight.grad is None] == []

    def test_stages_hold_every_weight_once(self, network: SegmentationNet) -> None:
        stages = network.encoder.stages()
        found = [weight for module in itertools.chain(*stages) for weight in module.parameters()]
        assert len(found) == len(set(found))
        assert set(found) == set(network.encoder.parameters())
        assert all(any(True for module in stage for _ in module.parameters()) for stage in stages)

    def test_frozen_stages_keep_their_weights(self, network: SegmentationNet) -> None:
        freeze_stages(network, 2)
        before = copy.deepcopy(network.encoder.stages())
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        train_mode(network, TrainingConfig(frozen_stages=2))
        _step(network, torch.optim.SGD(trained, lr=0.1))
        for number, (was, now) in enumerate(zip(before, network.encoder.stages())):
            states = [[value for module in stage for value in module.state_dict().values()] for stage in (was, now)]
            assert all(map(torch.equal, *states)) == (number < 2), number

    def test_freezing_more_stages_than_there_are_is_refused(self, network: SegmentationNet) -> None:
        count = len(network.encoder.stages())
        with pytest.raises(VocSegError, match=rf"frozen_stages is {count + 1}, but the encoder has {count} stages"):
            freeze_stages(network, count + 1)

    def test_channels_last_gives_the_logits_of_the_plain_layout(self, network: SegmentationNet) -> None:
        images = _images(2, 3, 64, 96)
        with torch.inference_mode():
            logits = network.eval()(images.to(memory_format=torch.channels_last))
            plain = network.to(memory_format=torch.contiguous_format)(images)
        torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-4)

    def test_a_saved_model_is_restored(self, network: SegmentationNet, request: pytest.FixtureRequest) -> None:
        encoder = request.node.callspec.params["network"]
        saved = {
            "format_version": FORMAT_VERSION,
            "model": network.state_dict(),
            "model_config": ModelConfig(encoder=encoder, width=8).model_dump(mode="json"),
            "class_names": [f"class {number}" for number in range(CLASSES)],
        }
        images = _images(1, 3, 33, 40)
        with torch.inference_mode():
            assert torch.equal(restore_model(saved)(images), network.eval()(images))

    def test_there_is_nothing_random_in_it(self, network: SegmentationNet) -> None:
        """Ranks of a distributed run would draw different values."""
        encoder, images = network.encoder.train(), _images(2, 3, 64, 64)
        with torch.no_grad():
            first, second = encoder(images), encoder(images)
        assert all(map(torch.equal, first, second))

    def test_images_of_other_channels(self, request: pytest.FixtureRequest, network: SegmentationNet) -> None:
        encoder = request.node.callspec.params["network"]
        with torch.inference_mode():
            assert _build(encoder, channels=5).eval()(_images(1, 5, 40, 40)).shape == (1, CLASSES, 40, 40)

    @pytest.mark.slow
    def test_a_run_resumes_to_the_bit(
        self,
        network: SegmentationNet,
        request: pytest.FixtureRequest,
        train_store: SampleStore,
        val_store: SampleStore,
        make_parameters: Callable[..., Parameters],
        tmp_path: Path,
    ) -> None:
        model = {"encoder": request.node.callspec.params["network"], "dropout": 0.5}
        parameters = make_parameters(model=model, training={"epochs": 2, "checkpoint": {"every_minutes": 1e-9}})
        middle, last = None, {}
        for report in fit(train_store, val_store, CLASS_NAMES, parameters):
            last = report.checkpoint
            if report.checkpoint.get("position") and report.checkpoint["epoch"] == 1:
                torch.save(report.checkpoint, tmp_path / "middle.pth")
                middle = torch.load(tmp_path / "middle.pth", weights_only=True)
        expected = copy.deepcopy(last)
        torch.manual_seed(4711)
        *_, resumed = fit(train_store, val_store, CLASS_NAMES, parameters, middle)
        assert middle is not None
        for key, value in expected["model"].items():
            assert torch.equal(resumed.checkpoint["model"][key], value), key
        losses = [[row["train_loss"] for row in history] for history in (resumed.history, expected["history"])]
        assert losses[0] == losses[1]


@pytest.mark.parametrize("network", families.BATCH_NORM, indirect=True)
class TestBatchNorm:
    def test_frozen_statistics_stay(self, network: SegmentationNet) -> None:
        before = {key: value.clone() for key, value in network.encoder.state_dict().items() if "running" in key}
        train_mode(network, TrainingConfig(freeze_batch_norm=True))
        _step(network, torch.optim.SGD(network.parameters(), lr=0.01))
        now = network.encoder.state_dict()
        assert before and all(torch.equal(now[key], value) for key, value in before.items())

    def test_over_all_ranks_it_keeps_the_activation(
        self, network: SegmentationNet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a second rank that has no crops, its results are those of a single process."""
        monkeypatch.setattr(data_parallel, "world_size", lambda: 2)
        monkeypatch.setattr(data_parallel._AllReduceSum, "apply", lambda part: part)
        network.decoder.dropout.p = 0
        alone = copy.deepcopy(network)
        together = data_parallel.convert_sync_layers(network, True)
        assert any(isinstance(layer, data_parallel.SyncBatchNorm2d) for layer in together.encoder.modules())
        for mode in (True, False):
            with torch.no_grad():
                logits = [one.train(mode)(_images(2, 3, 64, 64)) for one in (alone, together)]
            torch.testing.assert_close(logits[1], logits[0], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_packages()), reason="needs the extra onnx")
@pytest.mark.parametrize("network", IN_TURN, indirect=True)
def test_onnx_gives_torchs_logits_at_any_size(network: SegmentationNet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    assert to_onnx(network.eval(), {}).content
