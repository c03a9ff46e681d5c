"""SIGTERM, SIGHUP and Ctrl-C during training: finish the step, write a checkpoint, say how to go on."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType

from voc_seg.system.torchrun import process_info

from .distributed import all_reduce_sum, ignore_sigterm, rank, world_size

# SIGHUP: the terminal is gone, as when ssh is cut off; Windows has none.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruption:
    """Context in which the first SIGTERM, SIGHUP or Ctrl-C only leaves a note, and the second ends the process at once.

    Under torchrun, which has a time-out of its own for processes that do not end, the second does nothing.

    Outside the main thread, where Python takes no signals, it does nothing, and a signal that the process was
    started to ignore (``nohup``, background jobs) stays ignored. Several processes must stop at the same step, so a
    note counts for them once :meth:`synchronize` has told all.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._synchronized: int | None = None
        self._before: dict[int, signal.Handlers] = {}

    @property
    def signum(self) -> int | None:
        """The signal to stop for; None: go on."""
        return self.received if world_size() == 1 else self._synchronized

    def __bool__(self) -> bool:
        """Whether a signal has come."""
        return self.signum is not None

    def synchronize(self, loss: float = 0.0, overdue: bool = False) -> tuple[float, bool]:
        """Tell all processes of a signal that came to any; several of them must call it together.

        Args:
            loss: This process's part.
            overdue: Whether a checkpoint is; rank 0's clock counts.

        Returns:
            The loss of all, and whether a checkpoint is overdue.
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
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: a handler that is not Python's
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before and isinstance(error, Exception) and world_size() > 1:
            ignore_sigterm()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
        here = process_info()
        for number, handler in self._before.items():
            # The kernel does it: a step may stay in torch for seconds, where Python takes no signals. In a notebook
            # that would take the kernel along, so there it is as it was.
            again = handler if hasattr(sys, "ps1") else signal.SIG_DFL
            # Whoever signals all processes gives each of torchrun's two: torchrun hands its own on.
            signal.signal(number, signal.SIG_IGN if here.agent_folder else again)
        if here.rank:  # one of them says it
            return
        # Not by the logger: the signal may have come while it was writing.
        text = f"{signal.Signals(signum).name}: finishing this step and writing a checkpoint."
        text += "" if here.agent_folder else " Once more leaves at once."
        with suppress(OSError):  # whoever read it may have got the same signal
            os.write(2, f"\n{text}\n".encode())
