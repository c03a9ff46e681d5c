"""Numbers computed on a device, read while it is busy with the next step instead of making it wait."""

import torch
from torch import Tensor


class DelayedRead:
    """Tensors of one device whose copies to the host are queued at once and read later.

    A GPU works through a queue. Reading a number waits until the queue is empty, and the GPU then idles until the host
    has queued the next step. A copy that is queued here and read one step later waits for nothing but itself.
    """

    def __init__(self, *values: Tensor, asynchronous: bool) -> None:
        self._event: torch.Event | None = None
        self._values = values
        if asynchronous:
            self._values = tuple(torch.empty(value.shape, dtype=value.dtype, pin_memory=True) for value in values)
            for copy, value in zip(self._values, values):
                copy.copy_(value, non_blocking=True)
            self._event = torch.Event(values[0].device)
            self._event.record()

    def read(self) -> tuple[Tensor, ...]:
        """Return the tensors on the host (or, of devices without such copies, the tensors themselves)."""
        if self._event:
            self._event.synchronize()
        return self._values
