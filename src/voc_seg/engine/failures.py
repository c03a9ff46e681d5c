"""Common failures of a run, reported with advice."""

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn.utils import get_total_norm

from voc_seg.config import Parameters
from voc_seg.samples.waiting import shared_memory_advice
from voc_seg.system.errors import NoMemoryError, VocSegError

from .compiling import is_compile_failure
from .device_facts import memory_left
from .distributed import all_gather, explain_lost_rank

DIVERGENCE_ADVICE = (
    "The last checkpoint is untouched. Retrain with half the training.optimizer.learning_rate or with "
    "training.schedule.warmup_epochs=1; if runtime.precision is bf16, resume with fp32 and training.resume=true."
)
EVALUATION_MEMORY_ADVICE = "Lower evaluation.tile or evaluation.scale, or score on the CPU: runtime.device=cpu."

INFERENCE_MEMORY_ADVICE = "Lower inference.tile or inference.longer_side, or segment on the CPU: runtime.device=cpu."


@contextmanager
def explain_failures(memory_advice: str) -> Iterator[None]:
    """Turn exhausted memory, errors and deaths of loader workers and lost ranks into advice.

    Args:
        memory_advice: What to do when memory runs out.

    Raises:
        VocSegError: Replaces torch's error, which stays attached as its cause.
    """
    try:
        with explain_lost_rank():
            yield
    except VocSegError as error:
        text, kind = str(error), type(error).__name__  # maybe one of its subclasses
        if not text.startswith(f"Caught {kind} in DataLoader worker"):
            raise
        # A worker's error arrives with its traceback; the message is at the end.
        raise VocSegError(text.rpartition(f"{kind}: ")[2].strip()) from error
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if "Caught RuntimeError in DataLoader worker" in text and "shared memory" in text:
            raise VocSegError(f"A loader worker could not hand over a batch. {shared_memory_advice()}") from error
        if is_out_of_memory(error):
            raise NoMemoryError(f"Out of memory.{memory_left()} {memory_advice}") from error
        if is_compile_failure(error):
            reason = text.removeprefix("backend='inductor' raised:\n").partition("\n")[0]
            raise VocSegError(
                f"torch.compile failed ({reason}). It needs a C++ compiler such as g++, and Triton on a GPU. Install "
                "what is missing, or train with training.compile=false."
            ) from error
        if "DataLoader worker" in text and "Bus error" in text:
            raise VocSegError(
                f"A loader worker died ({text.splitlines()[0]}). Either a packed file was cut, or its disk was lost, "
                "while it was read: kedro run --pipelines data_processing checks and repairs the packed samples. Or "
                "there is too little shared memory: runtime.workers=0 needs none."
            ) from error
        if "DataLoader worker" in text and ("exited unexpectedly" in text or "killed by signal" in text):
            raise VocSegError(f"A loader worker died ({text.splitlines()[0]}). {shared_memory_advice()}") from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, whichever library has noticed."""
    # cuBLAS and cuDNN end their own lack of memory with CUBLAS_STATUS_ALLOC_FAILED and the like.
    signs = "can't allocate memory", "out of memory", "_status_alloc_failed"
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(sign in str(error).lower() for sign in signs)


def out_of_memory_advice(parameters: Parameters) -> str:
    """Return advice for a training that ran out of memory; only changes that would help are named."""
    training, crop = parameters.training, parameters.augmentation.crop_size
    ways = ["take a smaller model.encoder"]
    if crop > 64:
        ways.insert(0, f"crop smaller: augmentation.crop_size={max(64, crop * 3 // 4)}")
    if training.crops > 1:
        # The largest divisor keeps the effective batch exactly.
        part = next(size for size in range(training.crops // 2, 0, -1) if training.crops % size == 0)
        times = training.accumulation * training.crops // part
        ways.insert(0, f"keep the effective batch with training.batch_size={part},training.accumulation={times}")
    return (
        f"Training had batches of {training.crops} crops of {crop} x {crop}. One of these helps: "
        + "; ".join(ways)
        + ". On a GPU other programs may hold memory (nvidia-smi)."
    )


def validation_memory_advice(parameters: Parameters) -> str:
    """Return advice for a validation that ran out of memory."""
    return (
        f"This happened in validation, whose images go through the network at evaluation.scale="
        f"{parameters.evaluation.scale:g}. Training is saved up to the newest checkpoint: resume with "
        f"training.resume=true,evaluation.scale={parameters.evaluation.scale / 2:g}, or on the CPU: runtime.device=cpu."
    )


def require_finite(loss: float, step: int, rate: float, ids: Iterable[str], advice: str) -> None:
    """Require a finite loss.

    Raises:
        VocSegError: The loss is NaN or infinite; names step, learning rate, image ids and advice.
    """
    if not math.isfinite(loss):
        names = ", ".join(itertools.chain.from_iterable(all_gather(tuple(ids))))
        raise VocSegError(f"The loss is {loss} at step {step} (learning rate {rate:.3g}; images {names}). {advice}")


def require_finite_weights(model: nn.Module, step: int, advice: str) -> None:
    """Require finite weights and batch-norm statistics before they are saved.

    Raises:
        VocSegError: Names the tensor, the step and advice.
    """
    values = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    if math.isfinite(get_total_norm(values.values())):
        return
    for name, value in values.items():  # the norm may also overflow
        if not value.isfinite().all():
            raise VocSegError(f"{name} of the network is not finite after step {step}. {advice}")


def require_gradient_scale(scaler: GradScaler, step: int) -> None:
    """Require that gradients fit into float16; each overflow halves the scale and skips its step.

    Raises:
        VocSegError: They overflow even without scaling, and most steps are skipped.
    """
    if scaler.is_enabled() and scaler.get_scale() < 1:
        raise VocSegError(
            f"The gradients do not fit into float16 (gradient scale {scaler.get_scale():.2g} after step {step}), and "
            "most steps are skipped. Train with runtime.precision=fp32, or with half the "
            "training.optimizer.learning_rate."
        )
