"""Learning rates and losses worked out by hand; parameter groups follow the settings."""

import itertools
import math

import pytest
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from voc_seg.config import ModelConfig, OptimizerConfig, ScheduleConfig
from voc_seg.engine.losses import loss_sum, with_auxiliary
from voc_seg.engine.optimisation import (
    MovingAverage,
    build_optimizer,
    learning_rate,
    parameter_groups,
    set_learning_rate,
)
from voc_seg.models.registry import build_model
from voc_seg.models.segmentation_net import SegmentationNet


@pytest.fixture
def model() -> SegmentationNet:
    torch.manual_seed(0)
    return build_model(ModelConfig(width=8), 21)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, {0: 0.4, 5: 0.4, 9: 0.4}),
        ({"name": "poly", "power": 1.0}, {0: 0.4, 5: 0.2, 9: 0.04}),
        ({"name": "poly", "power": 2.0}, {0: 0.4, 5: 0.1, 9: 0.004}),
        ({"name": "poly", "power": 0.9}, {5: 0.4 * 0.5**0.9}),
        ({"name": "cosine"}, {0: 0.4, 5: 0.2, 9: 0.2 * (1 + math.cos(0.9 * math.pi))}),
        # Two epochs of two steps: quarters of the peak, then all of it.
        ({"name": "constant", "warmup_epochs": 2}, {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.4}),
        ({"name": "constant", "warmup_epochs": 0.5}, {0: 0.4, 1: 0.4}),
        ({"name": "poly", "power": 1.0, "warmup_epochs": 1}, {0: 0.2, 1: 0.4 * 0.9, 2: 0.4 * 0.8}),
    ],
)
def test_learning_rate_by_hand(schedule: dict, expected: dict[int, float]) -> None:
    """Ten steps, two an epoch, peak 0.4."""
    config = ScheduleConfig.model_validate(schedule)
    found = {step: learning_rate(step, 10, 0.4, config, 2) for step in expected}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_decay_falls_all_the_way_and_stays_positive(name: str) -> None:
    rates = [learning_rate(step, 100, 0.1, ScheduleConfig(name=name), 10) for step in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.01 * rates[0] * 3


def test_every_parameter_is_in_one_group_and_only_kernels_decay(model: SegmentationNet) -> None:
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.01, momentum=0.8))
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    for group in optimizer.param_groups:
        assert group["momentum"] == 0.8
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0)


def test_the_encoder_learns_at_its_own_rate() -> None:
    model = build_model(ModelConfig(width=8, auxiliary=0.4), 21)
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1.0, encoder_factor=0.1))
    set_learning_rate(optimizer, 0.5)
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == pytest.approx(0.05 if id(parameter) in encoder else 0.5)


def test_without_layer_decay_the_groups_are_those_of_old_checkpoints(model: SegmentationNet) -> None:
    """Kernels and others of the encoder, then of the decoder, in the order of the modules."""
    for layer_decay in (None, 1.0):
        groups = parameter_groups(model, OptimizerConfig(encoder_factor=0.1, layer_decay=layer_decay))
        expected = []
        for part, factor in ((model.encoder, 0.1), (model.decoder, 1.0)):
            for is_kernel in (True, False):
                expected.append((factor, [id(one) for one in part.parameters() if (one.ndim > 1) is is_kernel]))
        assert [(group["factor"], [*map(id, group["params"])]) for group in groups] == expected


def test_a_module_beside_the_decoder_learns_at_its_rate(model: SegmentationNet) -> None:
    model.auxiliary = torch.nn.Conv2d(4, 3, 1)
    groups = parameter_groups(model, OptimizerConfig(encoder_factor=0.1))
    assert any(one is model.auxiliary.weight for one in groups[2]["params"])
    assert any(one is model.auxiliary.bias for one in groups[3]["params"])


def test_layer_decay_by_hand(model: SegmentationNet) -> None:
    """Five stages: the stem is four stages below the last."""
    groups = parameter_groups(model, OptimizerConfig(encoder_factor=0.5, layer_decay=0.1))
    factors = {id(parameter): group["factor"] for group in groups for parameter in group["params"]}
    assert len(factors) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    encoder = model.encoder
    expected = {encoder.conv1.weight: 0.5e-4, encoder.bn1.bias: 0.5e-4, model.decoder.classify.weight: 1.0}
    for number, stage in enumerate((encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4)):
        expected |= dict.fromkeys(stage.parameters(), 0.5 * 0.1 ** (3 - number))
    assert {name: factors[id(name)] for name in expected} == pytest.approx(expected)


def test_layer_decay_of_a_transformer_is_timms() -> None:
    timm = pytest.importorskip("timm")
    optim = pytest.importorskip("timm.optim")
    network = timm.create_model(
        "vit_tiny_patch16_224", depth=3, img_size=32, num_classes=0, reg_tokens=2, class_token=True
    )
    expected = {
        id(parameter): (group["lr_scale"], group["weight_decay"])
        for group in optim.param_groups_layer_decay(
            network, 0.05, no_weight_decay_list=network.no_weight_decay(), layer_decay=0.7
        )
        for parameter in group["params"]
    }
    # The final norm, positions and tokens are in no stage.
    network.stages = lambda: [[network.patch_embed], *([block] for block in network.blocks)]
    model = torch.nn.Module()
    model.encoder = network
    groups = parameter_groups(model, OptimizerConfig(layer_decay=0.7, weight_decay=0.05))
    found = {id(one): (group["factor"], group["weight_decay"]) for group in groups for one in group["params"]}
    assert found == {key: (pytest.approx(scale), decay) for key, (scale, decay) in expected.items()}


def test_a_step_of_adamw_by_hand(model: SegmentationNet) -> None:
    """The first step moves every value by the rate, against the sign of its gradient; kernels have decayed before."""
    config = OptimizerConfig(name="adamw", learning_rate=0.1, encoder_factor=0.5, layer_decay=0.5, weight_decay=0.2)
    optimizer = build_optimizer(model, config)
    set_learning_rate(optimizer, 0.1)
    kernel, bias, stem = model.decoder.classify.weight, model.decoder.classify.bias, model.encoder.conv1.weight
    before = [parameter.detach().clone() for parameter in (kernel, bias, stem)]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, -3.0)
    optimizer.step()
    torch.testing.assert_close(kernel, before[0] * (1 - 0.1 * 0.2) + 0.1)
    torch.testing.assert_close(bias, before[1] + 0.1)
    rate = 0.1 * 0.5 * 0.5**4
    torch.testing.assert_close(stem, before[2] * (1 - rate * 0.2) + rate)


def test_factor_zero_leaves_the_encoders_weights(model: SegmentationNet) -> None:
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=0.1, encoder_factor=0))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for step in range(2):  # the second step has momentum
        set_learning_rate(optimizer, 0.1 / (step + 1))
        optimizer.zero_grad()
        loss_sum(model(torch.randn(2, 3, 64, 64)), torch.randint(0, 21, (2, 64, 64))).div(8192).backward()
        optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert not any(name.startswith("encoder.") for name in changed)
    assert {"decoder.classify.weight", "decoder.classify.bias"} <= changed


def test_the_moving_average_is_that_of_torch(model: SegmentationNet) -> None:
    """To the bit, over steps and after loading a state; torch's own is the reference."""
    ours = MovingAverage(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(4):
        if step == 2:
            state, ours = ours.state_dict(), MovingAverage(model, 0.9)
            ours.load_state_dict(state)
        with torch.no_grad():
            for value in itertools.chain(model.parameters(), model.buffers()):
                value.add_(step + 1)
        ours.update_parameters(model)
        theirs.update_parameters(model)
        found, expected = ours.state_dict(), theirs.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_loss_of_auxiliary_logits_by_hand() -> None:
    """Cross-entropies of ln 4 and ln 2, weight 0.5."""
    targets = torch.zeros(1, 1, 1, dtype=torch.uint8)
    outputs = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    assert float(with_auxiliary(loss_sum, 0.5)(outputs, targets)) == pytest.approx(math.log(4) + 0.5 * math.log(2))
    assert with_auxiliary(loss_sum, 0.0) is loss_sum


def test_the_warm_up_of_the_average_by_hand(model: SegmentationNet) -> None:
    """TensorFlow's min(decay, (1 + t) / (10 + t)), also after loading a state."""
    average = MovingAverage(model, 0.3, warmup=True)
    assert [average.decay(steps) for steps in (1, 2, 3, 100)] == [2 / 11, 3 / 12, 0.3, 0.3]
    expected = None
    for step, decay in enumerate((0.0, 2 / 11, 3 / 12, 0.3, 0.3)):
        if step == 2:
            state, average = average.state_dict(), MovingAverage(model, 0.3, warmup=True)
            average.load_state_dict(state)
        value = float(step + 1)
        with torch.no_grad():
            model.decoder.classify.bias.fill_(value)
        average.update_parameters(model)
        expected = value if expected is None else decay * expected + (1 - decay) * value
        torch.testing.assert_close(average.module.decoder.classify.bias, torch.full((21,), expected))


class TestLoss:
    logits = torch.randn(2, 21, 5, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(0, 21, (2, 5, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)

    def test_two_pixels_by_hand(self) -> None:
        # Softmax of (0, ln 3) is (1/4, 3/4): minus ln 1/4 for class 0, minus ln 3/4 for class 1; void is free.
        logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
        targets = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
        assert float(loss_sum(logits, targets)) == pytest.approx(math.log(4) + math.log(4 / 3))

    def test_divided_by_labelled_pixels_it_is_torchs_mean(self) -> None:
        targets = self.targets.clone()
        targets[0, :2] = 255
        mean = functional.cross_entropy(self.logits, targets.long(), ignore_index=255)
        labelled = int((targets != 255).sum())
        torch.testing.assert_close(loss_sum(self.logits, targets) / labelled, mean)

    def test_layout_in_memory_does_not_matter(self) -> None:
        """Channels-last logits, the layout of the network's output, take a separate path in torch."""
        found = []
        for layout in (torch.contiguous_format, torch.channels_last):
            logits = self.logits.clone(memory_format=layout).requires_grad_()
            loss = loss_sum(logits, self.targets)
            loss.backward()
            found.append((loss, logits.grad, logits.argmax(1)))
        for one, other in zip(*found):
            torch.testing.assert_close(one, other)
        plain = self.logits.clone().requires_grad_()
        functional.cross_entropy(plain, self.targets.long(), ignore_index=255, reduction="sum").backward()
        torch.testing.assert_close(found[1][1], plain.grad)

    def test_all_void_is_zero_with_zero_gradients(self) -> None:
        logits = self.logits.clone().requires_grad_()
        loss = loss_sum(logits, torch.full_like(self.targets, 255))
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()

    def test_half_precision_logits_are_summed_in_full(self) -> None:
        loss = loss_sum(self.logits.bfloat16(), self.targets)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, loss_sum(self.logits.bfloat16().float(), self.targets))
