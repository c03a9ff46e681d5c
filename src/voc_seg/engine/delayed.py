"""Numbers computed on a device, read while it is busy with the next step instead of making it wait."""

import torch
from torch import Tensor


class DelayedRead:
    """A tensor whose copy to the host is queued at once and read later.

    A GPU works through a queue. Reading a number waits until the queue is empty, and the GPU then idles until the host
    has queued the next step. A copy that is queued here and read one step later waits for nothing but itself.
    """

    def __init__(self, value: Tensor, asynchronous: bool) -> None:
        self._event: torch.Event | None = None
        self._value = value
        if asynchronous:
            self._value = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.Event(value.device)
            self._event.record()

    def read(self) -> Tensor:
        """Return the tensor on the host (or, of devices without such copies, the tensor itself)."""
        if self._event:
            self._event.synchronize()
        return self._value
