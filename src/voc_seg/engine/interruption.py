"""SIGTERM, SIGHUP and Ctrl-C during training: finish the step, write a checkpoint, print the command that resumes."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from voc_seg.system.errors import InterruptedRunError
from voc_seg.system.torchrun import process_info

from .compiling import is_compile_failure
from .distributed import all_reduce_sum, ignore_sigterm, rank, world_size

# SIGHUP: the terminal is gone, as when ssh is cut off; Windows has none.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruption:
    """Context in which the first SIGTERM, SIGHUP or Ctrl-C is only recorded; the second ends the process at once.

    Under torchrun the second does nothing: torchrun has its own timeout for processes that do not end.

    Outside the main thread, where Python receives no signals, the context has no effect. A signal that the process
    was started to ignore (``nohup``, background jobs) stays ignored. All ranks must stop at the same step, so a
    signal takes effect once :meth:`synchronize` has shared it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._synchronized: int | None = None
        self._before: dict[int, Any] = {}  # handlers, as signal.signal gives them

    @property
    def signum(self) -> int | None:
        """The signal to stop for, or None to continue."""
        return self.received if world_size() == 1 else self._synchronized

    def __bool__(self) -> bool:
        """Whether to stop."""
        return self.signum is not None

    def synchronize(self, loss: float = 0.0, overdue: bool = False) -> tuple[float, bool]:
        """Share a signal received by any rank with all; every rank must call this at the same point.

        Args:
            loss: This rank's part of the loss.
            overdue: Whether a checkpoint is overdue; only rank 0's clock counts.

        Returns:
            The loss summed over the ranks, and whether a checkpoint is overdue.
        """
        if world_size() == 1:
            return loss, overdue
        notes = [self.received == number for number in _SIGNALS]
        loss, late, *came = all_reduce_sum(loss, overdue and rank() == 0, *notes)
        self._synchronized = next((number for number, count in zip(_SIGNALS, came) if count), self._synchronized)
        return loss, bool(late)

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not a Python handler
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before and isinstance(error, Exception) and world_size() > 1:
            ignore_sigterm()
        if self.received is not None and is_compile_failure(error):  # Ctrl-C ends the compiler too
            stopped = "Stopped while the network was compiled."
            raise InterruptedRunError(stopped, self.received, has_checkpoint=False) from error

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
        process = process_info()
        for number, handler in self._before.items():
            # SIG_DFL acts even while a step is in torch for seconds, where Python runs no handlers. In a notebook it
            # would end the kernel, so the previous handler is restored there.
            again = handler if hasattr(sys, "ps1") else signal.SIG_DFL
            # A signal sent to all processes arrives twice under torchrun, which forwards its own.
            signal.signal(number, signal.SIG_IGN if process.agent_folder else again)
        if process.rank:  # rank 0 prints
            return
        # Not through the logger, which the signal may have interrupted.
        text = f"{signal.Signals(signum).name}: finishing this step and writing a checkpoint."
        text += "" if process.agent_folder else " Send it again to stop at once."
        with suppress(OSError):  # the reader of a pipe may have received the same signal
            os.write(2, f"\n{text}\n".encode())
