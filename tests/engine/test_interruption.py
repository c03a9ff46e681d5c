"""Signals during training."""

import os
import signal

import pytest

from voc_seg.engine.interruption import Interruption

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")


@pytest.fixture
def hang_up():
    """Send SIGHUP to this process, which would end it without a handler; restores the old handler."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield lambda: os.kill(os.getpid(), signal.SIGHUP)
    signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_gone_asks_for_a_checkpoint(hang_up) -> None:
    with Interruption() as interruption:
        assert signal.getsignal(signal.SIGHUP) != signal.SIG_DFL  # this process would end here
        hang_up()
        assert interruption.signum == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_under_nohup_it_stays_ignored(hang_up) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption() as interruption:
        hang_up()
        assert not interruption
