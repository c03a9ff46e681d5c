"""What ``training.batch_size: auto`` means on this machine."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from voc_seg.config import Parameters
from voc_seg.models.head import Head, used_maps
from voc_seg.models.segmentation_net import bare_model
from voc_seg.samples.batches import normalise
from voc_seg.system.errors import VocSegError

from .distributed import all_gather, world_size
from .failures import is_out_of_memory
from .losses import build_loss, with_auxiliary
from .optimisation import MovingAverage, build_optimizer
from .runtime import Runtime

logger = logging.getLogger(__name__)

_CROPS = 4
"""The default of ``training.batch_size``: with ``auto``, a step has as many crops as with the default."""


def settle_batch_size(
    parameters: Parameters, classes: int, runtime: Runtime, checkpoint: dict[str, Any] | None
) -> Parameters:
    """Replace ``training.batch_size: auto`` by a number, and adjust ``training.accumulation`` to it.

    The number of crops in a step is the same on every device. A GPU computes the largest power of two that divides it
    and fits into memory at a time. Other devices compute batches of four. A resumed run keeps what it began with.

    Raises:
        VocSegError: Not even one crop per rank fits.
    """
    training = parameters.training
    if training.batch_size != "auto":
        return parameters
    effective = _CROPS * training.accumulation
    if checkpoint:
        try:
            before = checkpoint["config"]["training"]
            crops, accumulation = int(before["batch_size"]), int(before["accumulation"])
        except (KeyError, TypeError, ValueError):
            crops, accumulation = 0, 0
        if crops * accumulation != effective:
            # The checks of the checkpoint then say what differs or is missing.
            crops, accumulation = _CROPS, training.accumulation
    else:
        crops = min(all_gather(_largest_that_fits(parameters, classes, runtime, effective)))
        accumulation = effective // crops
        logger.info(
            "training.batch_size=auto: %d crops at a time, training.accumulation=%d, %d crops in a step",
            crops, accumulation, effective,
        )  # fmt: skip
    settled = training.model_copy(update={"batch_size": crops, "accumulation": accumulation})
    return parameters.model_copy(update={"training": settled})


def _largest_that_fits(parameters: Parameters, classes: int, runtime: Runtime, effective: int) -> int:
    """Return the largest power of two that divides the effective batch and fits into a GPU; four on other devices."""
    if not runtime.asynchronous:
        return _CROPS
    sizes = [size for size in _powers_of_two(effective) if size >= world_size()]
    if not sizes:
        raise VocSegError(
            f"training.batch_size=auto makes steps of {effective} crops (4 x training.accumulation), in batches of a "
            f"power of two, and {world_size()} processes need at least one crop each. Set training.accumulation to "
            f"{2 ** (-(-world_size() // _CROPS) - 1).bit_length()}, or training.batch_size to a number."
        )
    for size in sizes:
        try:
            _try_steps(parameters, classes, runtime, -(-size // world_size()))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            logger.debug("A batch of %d crops does not fit into memory", size)
        else:
            return size
        finally:
            torch.accelerator.empty_cache()
    raise VocSegError(
        "training.batch_size is auto, but not even one crop fits into the memory of the GPU. Take a smaller "
        "augmentation.crop_size or model.encoder; nvidia-smi shows whether other programs hold memory."
    )


def _powers_of_two(effective: int) -> list[int]:
    """Return the powers of two that divide a number, largest first."""
    return [2**power for power in range(effective.bit_length(), -1, -1) if effective % 2**power == 0]


def _try_steps(parameters: Parameters, classes: int, runtime: Runtime, crops: int) -> None:
    """Take two training steps with black images, or with features of 0 where the encoder is frozen.

    The second step holds momentum and the moving average as well. ``train_step`` would wait for the other ranks, but
    one of them may run out of memory alone.
    """
    training, side = parameters.training, parameters.augmentation.crop_size
    model_input = parameters.data.model_input
    model = runtime.place(bare_model(parameters.model, classes, model_input)).train()
    optimizer, scaler = build_optimizer(model, training.optimizer), runtime.gradient_scaler()
    average = MovingAverage(model, training.ema_decay) if training.ema_decay else None
    loss = with_auxiliary(build_loss(training.loss, [1] * classes, runtime.device), parameters.model.auxiliary)
    network: nn.Module = model
    if training.frozen_stages == "all":
        network = Head(model, used_maps(model))
        side = -(-side // model.encoder.multiple) * model.encoder.multiple
        features = network.empty_maps(crops, side, side, runtime.dtype)
        inputs: Tensor | list[Tensor] = [one.contiguous(memory_format=runtime.memory_format) for one in features]
    else:
        images = torch.zeros(crops, model_input.channels, side, side, dtype=torch.uint8, device=runtime.device)
        inputs = normalise(images, model_input).contiguous(memory_format=runtime.memory_format)
    targets = torch.zeros(crops, side, side, dtype=torch.uint8, device=runtime.device)
    for _ in range(2):
        with runtime.autocast():
            outputs = network(inputs)
        scaler.scale(loss(outputs, targets) / targets.numel()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if average:
            average.update_parameters(model)
