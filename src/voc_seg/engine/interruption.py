"""SIGTERM and Ctrl-C during training: finish the step, write a checkpoint, say how to go on."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType

from voc_seg.errors import VocSegError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(VocSegError):
    """A run was asked to stop, and has written down where it is.

    Args:
        message: Where it is.
        signum: The signal that asked.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum  # as shells report a process that a signal ended


class Interruption:
    """Context in which the first SIGTERM or Ctrl-C only leaves a note, and the second ends the process at once.

    Outside the main thread, where Python takes no signals, it does nothing, and a signal that the process was
    started to ignore (``nohup``, background jobs) stays ignored.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, signal.Handlers] = {}

    def __bool__(self) -> bool:
        """Whether a signal has come."""
        return self.signum is not None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: a handler that is not Python's
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        for number, handler in self._before.items():
            # The kernel does it: a step may stay in torch for seconds, where Python takes no signals. In a notebook
            # that would take the kernel along, so there it is as it was.
            signal.signal(number, handler if hasattr(sys, "ps1") else signal.SIG_DFL)
        # Not by the logger: the signal may have come while it was writing.
        text = f"{signal.Signals(signum).name}: finishing this step and writing a checkpoint. Once more leaves at once."
        with suppress(OSError):  # whoever read it may have got the same signal
            os.write(2, f"\n{text}\n".encode())
