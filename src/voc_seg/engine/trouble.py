"""The usual troubles of a training run, answered with what to do about them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from voc_seg.config import Parameters
from voc_seg.errors import VocSegError


@contextmanager
def explained(parameters: Parameters) -> Iterator[None]:
    """Turn exhausted memory and dead loader workers into advice.

    Raises:
        VocSegError: In place of torch's error, which stays attached as its cause.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise VocSegError(_out_of_memory(parameters)) from error
    except RuntimeError as error:
        text = str(error)
        if "can't allocate memory" in text or "out of memory" in text.lower():
            raise VocSegError(_out_of_memory(parameters)) from error
        if "DataLoader worker" in text:
            raise VocSegError(
                f"A loader worker died ({text.splitlines()[0]}). With too little shared memory or on Windows, "
                "runtime.workers=0 prepares batches in the main process."
            ) from error
        raise


def _out_of_memory(parameters: Parameters) -> str:
    training, crop = parameters.training, parameters.augmentation.crop_size
    half = max(1, training.batch_size // 2)
    accumulation = training.accumulation * max(1, training.batch_size // half)
    return (
        f"Out of memory with batches of {training.batch_size} crops of {crop} x {crop}. "
        f"training.batch_size={half},training.accumulation={accumulation} keeps the effective batch; "
        f"augmentation.crop_size={max(64, crop * 3 // 4)} or a smaller model.encoder need less; on a GPU other "
        "programs may hold memory (nvidia-smi). For images too large to validate, lower evaluation.scale."
    )
