"""Signals during training."""

import os
import signal

import pytest

from voc_seg.engine.failures import explain_failures
from voc_seg.engine.interruption import Interruption
from voc_seg.system.errors import InterruptedRunError

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


def test_a_signal_that_ends_the_compiler_too_is_an_interruption(hang_up) -> None:
    """A terminal sends Ctrl-C to all processes in the foreground, so g++ ends, and torch.compile with it."""
    from torch._dynamo.exc import TorchDynamoException

    with pytest.raises(TorchDynamoException), Interruption():
        raise TorchDynamoException("CppCompileError: C++ compile error")
    stopped = pytest.raises(InterruptedRunError, match="while the network was compiled")
    with stopped as caught, explain_failures(""), Interruption():
        hang_up()
        raise TorchDynamoException("CppCompileError: C++ compile error")
    assert caught.value.exit_code == 128 + signal.SIGHUP
    assert not caught.value.has_checkpoint
