"""``training.compile``: full batches of training go through torch.compile."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from voc_seg.config import TrainingConfig
from voc_seg.system.errors import VocSegError

from .distributed import world_size
from .runtime import Runtime

logger = logging.getLogger(__name__)


class CompiledNetwork(nn.Module):
    """A network whose full batches run compiled; the last batch of an epoch is smaller and runs as it is.

    Compiling again for that size would take a minute. This wrapper is for training steps only: the network inside is
    the one that is averaged, validated and saved, and its tensors keep their names.
    """

    def __init__(self, network: nn.Module, crops: int, cuda_graphs: bool) -> None:
        super().__init__()
        self.network, self.crops = network, crops
        self.full = True  # set for each batch, alike on all ranks
        # Dropout draws the same random numbers as without compiling. mode="reduce-overhead" is "triton.cudagraphs", but
        # torch takes either a mode or options.
        options: dict[str, Any] = {"fallback_random": True, "triton.cudagraphs": cuda_graphs}
        self.compiled = torch.compile(network, dynamic=False, options=options)

    def forward(self, inputs: Tensor | list[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Return what the network returns for images ``float (N, C, h, w)``, or for stored feature maps."""
        if not self.full:
            return self.network(inputs)
        torch.compiler.cudagraph_mark_step_begin()  # nothing of the step before is needed: its loss is a copy
        return self.compiled(inputs)


def compile_network(network: nn.Module, config: TrainingConfig, runtime: Runtime) -> nn.Module:
    """Return what training steps call: the network itself, or with ``training.compile`` a :class:`CompiledNetwork`.

    CUDA graphs are replayed into the same memory. Gradients that accumulate over several batches, or that ranks sum,
    would be overwritten there (github.com/pytorch/pytorch/issues/169545), so such runs are compiled without them.

    Raises:
        VocSegError: The device is an Apple GPU.
    """
    if not config.compile:
        return network
    if runtime.device.type == "mps":
        raise VocSegError("training.compile=true needs an NVIDIA GPU or a CPU. Set training.compile=false on a Mac.")
    logger.info("training.compile=true: the first step compiles the network, which takes a minute or two")
    cuda_graphs = runtime.device.type == "cuda" and config.accumulation == 1 and world_size() == 1
    return CompiledNetwork(network, config.crops, cuda_graphs)


def is_compile_failure(error: BaseException | None) -> bool:
    """Whether torch.compile raised an error. Its packages are not imported for this: that takes a second."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
