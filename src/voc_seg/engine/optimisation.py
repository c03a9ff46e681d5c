"""Optimiser, moving average and learning rate."""

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from voc_seg.config import OptimizerConfig, ScheduleConfig
from voc_seg.models.segmentation_net import SegmentationNet


def build_optimizer(model: SegmentationNet, config: OptimizerConfig, fused: bool | None = None) -> torch.optim.SGD:
    """Return SGD with momentum over the parameters that are not frozen; ``factor`` scales the rate of a group.

    Weight decay acts on kernels only: on biases and batch-norm values it serves no purpose
    (He et al., "Bag of Tricks for Image Classification", 2019, section 3.1).

    ``fused`` is chosen by the device: one kernel per group instead of several, and a step that is skipped for float16's
    sake needs no word to the host.
    """
    groups = []
    for part, factor in ((model.encoder.parameters(), config.encoder_factor), (model.head_parameters(), 1.0)):
        trained = [parameter for parameter in part if parameter.requires_grad]
        kernels = [parameter for parameter in trained if parameter.ndim > 1]
        others = [parameter for parameter in trained if parameter.ndim <= 1]
        groups += [
            {"params": kernels, "factor": factor, "weight_decay": config.weight_decay},
            {"params": others, "factor": factor, "weight_decay": 0.0},
        ]
    fused = next(model.parameters()).is_cuda if fused is None else fused
    optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=fused or None)
    begin_momentum(optimizer)
    return optimizer


def begin_momentum(optimizer: torch.optim.SGD) -> None:
    """Give fused SGD a momentum of zero where it has none, which changes no step.

    At its first step torch would allocate momentum without a value and let the kernel set it. If that step is skipped,
    because a gradient overflows in float16, the next one would use whatever was in that memory.
    """
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"]:
            for parameter in group["params"]:
                optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


class MovingAverage(AveragedModel):
    """Exponential moving average of the weights; batch-norm statistics are those of the newest step.

    The values are ``AveragedModel``'s own. That class reads its counter from the device at every step and copies
    buffers one by one.
    """

    def __init__(self, model: SegmentationNet, decay: float) -> None:
        super().__init__(model)
        self._decay = decay
        self._is_first: bool | None = None  # unknown until the first step after construction or loading

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the weights of a step; the first step sets it."""
        if self._is_first is None:
            self._is_first = int(self.n_averaged) == 0
        averages: list[Tensor] = list(self.module.parameters())
        weights: list[Tensor] = list(model.parameters())
        if self._is_first:
            torch._foreach_copy_(averages, weights)
        else:
            torch._foreach_lerp_(averages, weights, 1 - self._decay)
        torch._foreach_copy_(list(self.module.buffers()), list(model.buffers()))
        self._is_first = False
        self.n_averaged += 1


def learning_rate(step: int, steps: int, peak: float, config: ScheduleConfig, steps_per_epoch: int) -> float:
    """Return the decoder's learning rate at a step; it depends only on the step.

    Args:
        step: Zero-based optimiser step.
        steps: Total steps of the run.
        peak: Rate after warm-up.
        config: Shape of the decay: constant; poly, ``(1 - t) ** power`` (Chen et al., DeepLab, 2018); cosine,
            ``(1 + cos(pi t)) / 2`` (Loshchilov and Hutter, SGDR, 2017), t the fraction of steps done.
        steps_per_epoch: To turn warm-up epochs into steps.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = min(1.0, step / steps)
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
