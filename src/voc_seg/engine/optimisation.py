"""Optimiser, moving average and learning rate."""

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from voc_seg.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from voc_seg.models.segmentation_net import SegmentationNet

logger = logging.getLogger(__name__)


def build_optimizer(
    model: SegmentationNet, config: OptimizerConfig, fused: bool | None = None
) -> torch.optim.Optimizer:
    """Return SGD with momentum, or AdamW, over the parameters that are not frozen; ``factor`` scales a group's rate.

    AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) has torch's betas and epsilon.

    ``fused`` is chosen by the device: one kernel per group instead of several, and a step that is skipped for float16's
    sake needs no word to the host.
    """
    fused = next(model.parameters()).is_cuda if fused is None else fused
    groups = parameter_groups(model, config)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, fused=fused or None)
    optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=fused or None)
    begin_momentum(optimizer)
    return optimizer


def warn_unused(config: TrainingConfig) -> None:
    """Warn about settings that the chosen optimiser or schedule does not use."""
    chosen, usual = config.optimizer, TrainingConfig()
    unused: list[tuple[str, str, str]] = []
    if chosen.name != "sgd" and chosen.momentum != usual.optimizer.momentum:
        unused.append((f"optimizer.momentum={chosen.momentum:g}", "optimizer.name", chosen.name))
    if config.schedule.name != "poly" and config.schedule.power != usual.schedule.power:
        unused.append((f"schedule.power={config.schedule.power:g}", "schedule.name", config.schedule.name))
    for setting, key, name in unused:
        logger.warning("training.%s has no effect, because training.%s is %s.", setting, key, name)


def parameter_groups(model: SegmentationNet, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return two groups, kernels and others, for the encoder and for the rest of the network, without what is frozen.

    With ``layer_decay`` each stage of the encoder has two. Stage i of n learns at ``encoder_factor * layer_decay **
    (n - 1 - i)`` times the rate (after Bao et al., "BEiT", 2022, where the stages are blocks).

    Weight decay acts on kernels only: on biases and normalisation it serves no purpose (He et al., "Bag of Tricks for
    Image Classification", 2019, section 3.1), and embeddings of positions and class tokens, whose names do not end in
    ``weight``, are excluded as in BEiT.
    """
    encoder = dict(model.encoder.named_parameters())
    known = set(map(id, encoder.values()))
    head = {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in known}
    parts = [(encoder, config.encoder_factor), (head, 1.0)]
    if config.layer_decay not in (None, 1.0):
        stages = _by_stage(model, encoder)
        rates = (config.encoder_factor * config.layer_decay**below for below in reversed(range(len(stages))))
        parts = [*zip(stages, rates), (head, 1.0)]
    groups = []
    for part, factor in parts:
        trained = {name: parameter for name, parameter in part.items() if parameter.requires_grad}
        kernels = [parameter for name, parameter in trained.items() if _is_kernel(name, parameter)]
        others = [parameter for name, parameter in trained.items() if not _is_kernel(name, parameter)]
        groups += [
            {"params": kernels, "factor": factor, "weight_decay": config.weight_decay},
            {"params": others, "factor": factor, "weight_decay": 0.0},
        ]
    return groups


def _is_kernel(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and name.endswith("weight")


def _by_stage(model: SegmentationNet, encoder: dict[str, nn.Parameter]) -> list[dict[str, nn.Parameter]]:
    """The encoder's parameters by stage, finest first.

    Of those in no stage, embeddings of positions and tokens, which are added to the first features, belong to the first
    stage, and other ones, such as a final norm, to the last.
    """
    stages = model.encoder.stages()
    numbers = {
        id(parameter): number
        for number, modules in enumerate(stages)
        for module in modules
        for parameter in module.parameters()
    }
    found: list[dict[str, nn.Parameter]] = [{} for _ in stages]
    for name, parameter in encoder.items():
        otherwise = -1 if name.endswith(("weight", "bias")) else 0
        found[numbers.get(id(parameter), otherwise)][name] = parameter
    return found


def begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give fused SGD a momentum of zero where it has none, which changes no step.

    At its first step torch would allocate momentum without a value and let the kernel set it. If that step is skipped,
    because a gradient overflows in float16, the next one would use whatever was in that memory. AdamW's state begins
    with zeros.
    """
    for group in optimizer.param_groups:
        if group["fused"] and group.get("momentum"):
            for parameter in group["params"]:
                optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


class MovingAverage(AveragedModel):
    """Exponential moving average of the weights; batch-norm statistics are those of the newest step.

    The values are ``AveragedModel``'s own. That class reads its counter from the device at every step and copies
    buffers one by one.

    With ``warmup`` the decay after t steps is at most ``(1 + t) / (10 + t)``, as TensorFlow's
    ``ExponentialMovingAverage`` has it: otherwise the first weights have a part of ``decay ** t``, which in a short
    run is large.
    """

    def __init__(self, model: SegmentationNet, decay: float, warmup: bool = False) -> None:
        super().__init__(model)
        self._decay, self._warmup = decay, warmup
        self._steps: int | None = None  # unknown until the first step after construction or loading

    def decay(self, steps: int) -> float:
        """The decay of the step after this many."""
        return min(self._decay, (1 + steps) / (10 + steps)) if self._warmup else self._decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the weights of a step; the first step sets it."""
        if self._steps is None:
            self._steps = int(self.n_averaged)
        averages: list[Tensor] = list(self._changing(self.module))
        weights: list[Tensor] = list(self._changing(model))
        if self._steps == 0:
            torch._foreach_copy_(averages, weights)
        else:
            torch._foreach_lerp_(averages, weights, 1 - self.decay(self._steps))
        torch._foreach_copy_(list(self.module.buffers()), list(model.buffers()))
        self._steps += 1
        self.n_averaged += 1

    def _changing(self, model: nn.Module) -> list[nn.Parameter]:
        """Parameters to average: frozen ones stay what the first step has set."""
        return [parameter for parameter in model.parameters() if self._steps == 0 or parameter.requires_grad]


def learning_rate(step: int, steps: int | None, peak: float, config: ScheduleConfig, steps_per_epoch: int) -> float:
    """Return the decoder's learning rate at a step; it depends only on the step.

    Args:
        step: Zero-based optimiser step.
        steps: Total steps of the run; None while a run of ``training.minutes`` has no plan, and nothing decays.
        peak: Rate after warm-up.
        config: Shape of the decay: constant; poly, ``(1 - t) ** power`` (Chen et al., DeepLab, 2018); cosine,
            ``(1 + cos(pi t)) / 2`` (Loshchilov and Hutter, SGDR, 2017), t the fraction of steps done.
        steps_per_epoch: To turn warm-up epochs into steps.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = min(1.0, step / steps) if steps else 0.0
    decay = {
        "constant": 1.0,
        "poly": (1 - done) ** config.power,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
    }[config.name]
    return peak * rise * decay


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group, scaled by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
