"""An interruption outside training reaches the hooks of the run, which print the command that resumes it."""

import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from voc_seg.hooks import interrupts
from voc_seg.hooks.interrupts import remember_run, report_interrupts
from voc_seg.system.errors import InterruptedRunError


@pytest.fixture
def reported() -> list[dict[str, Any]]:
    """Arguments of the calls of ``on_pipeline_error``."""
    return []


@pytest.fixture
def hooks(reported: list[dict[str, Any]]) -> Any:
    """A hook manager."""
    return SimpleNamespace(hook=SimpleNamespace(on_pipeline_error=lambda **given: reported.append(given)))


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_hooks_are_told_of_the_signal(hooks: Any, reported: list[dict[str, Any]], name: str) -> None:
    before = signal.getsignal(signal.Signals[name])
    with pytest.raises(KeyboardInterrupt), report_interrupts(hooks, handle_signals=True):
        remember_run({"pipeline_names": None}, "pipeline", "catalog")
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(5)
    (given,) = reported
    error = given.pop("error")
    assert isinstance(error, InterruptedRunError) and error.exit_code == 128 + signal.Signals[name]
    assert given == {"run_params": {"pipeline_names": None}, "pipeline": "pipeline", "catalog": "catalog"}
    assert signal.getsignal(signal.Signals[name]) == before
    assert not interrupts._running


def test_before_a_run_has_begun_nothing_is_reported(hooks: Any, reported: list[dict[str, Any]]) -> None:
    with pytest.raises(KeyboardInterrupt), report_interrupts(hooks, handle_signals=False):
        raise KeyboardInterrupt
    assert reported == []


def test_in_an_interactive_session_it_is_an_ordinary_interrupt(
    hooks: Any, reported: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), report_interrupts(hooks, handle_signals=True):
        assert signal.getsignal(signal.SIGTERM) is before
        remember_run({}, None, None)
        raise KeyboardInterrupt
    assert reported == []
