"""SIGTERM, SIGHUP and Ctrl-C outside training, where there is no checkpoint to write.

They end a run as an error does, so its hooks print the command that resumes it. Training installs handlers of
its own (``engine.interruption``).
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pluggy import PluginManager

from voc_seg.system.errors import InterruptedRunError

_running: dict[str, Any] = {}
"""Arguments of the pipeline hooks for the run in progress."""


def remember_run(run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Keep the arguments that hooks get if this run is interrupted."""
    _running.update(run_params=run_params, pipeline=pipeline, catalog=catalog)


@contextmanager
def report_interrupts(hooks: PluginManager, handle_signals: bool) -> Iterator[None]:
    """Context in which an interruption is reported to the hooks of a run; Kedro reports errors only.

    Args:
        hooks: Kedro's hook manager.
        handle_signals: Have SIGTERM and SIGHUP end the run as Ctrl-C does.
    """
    before = _interrupt_on_signals() if handle_signals else {}
    try:
        yield
    except KeyboardInterrupt as error:
        if _running and not hasattr(sys, "ps1"):
            signum = getattr(error, "signum", signal.SIGINT)
            stopped = InterruptedRunError(f"Interrupted by {signal.Signals(signum).name}.", signum, False)
            hooks.hook.on_pipeline_error(error=stopped, **_running)
        raise
    finally:
        _running.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


class _SignalInterrupt(KeyboardInterrupt):
    """Ctrl-C's exception for another signal."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def _interrupt_on_signals() -> dict[int, Any]:
    """Have SIGTERM and SIGHUP end a run as Ctrl-C does; return the handlers that they had.

    A second signal ends the process.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        raise _SignalInterrupt(signum)

    if threading.current_thread() is not threading.main_thread() or hasattr(sys, "ps1"):
        return {}
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return {
        number: signal.signal(number, interrupt) for number in numbers if signal.getsignal(number) is signal.SIG_DFL
    }
